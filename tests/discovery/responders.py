"""What the tests of `mdns` share: avahi and zeroconf as responders on other hosts, forgers, and a handler to watch."""

import asyncio
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ashore_discovery.handlers.mdns.details import MdnsDetails
from ashore_discovery.handlers.mdns.handler import Mdns
from ashore_discovery.model import Facet, Offer
from tests.bus_kit import until
from tests.discovery.namespaces import Host, running

NEEDS_AVAHI = pytest.mark.skipif(
    any(shutil.which(one) is None for one in ("avahi-daemon", "avahi-publish", "dbus-daemon")),
    reason="it announces with avahi: needs avahi-daemon, avahi-utils and dbus",
)
HTTP = {"services": ["_http._tcp"]}
PIPES: Any = {"stdin": asyncio.subprocess.PIPE, "stdout": asyncio.subprocess.PIPE}
_BUS = """<busconfig><type>session</type><listen>unix:path={socket}</listen><auth>EXTERNAL</auth>
<policy context="default"><allow user="*"/><allow own="*"/><allow send_destination="*"/><allow receive_sender="*"/>
<allow eavesdrop="true"/></policy></busconfig>"""
_AVAHI = """[server]
host-name={name}
use-ipv4=yes
use-ipv6=no
enable-dbus=yes
disallow-other-stacks=no
ratelimit-interval-usec=0
[publish]
publish-hinfo=no
publish-workstation=no
[rlimits]
"""
_ZEROCONF = """
import asyncio, socket, sys
from zeroconf import ServiceInfo
from zeroconf.asyncio import AsyncZeroconf

async def main(address, count, kind):
    made = AsyncZeroconf(interfaces=[address])
    work = []
    for number in range(count):
        name = f"thing-{number}.{kind}.local."
        packed = socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)
        info = ServiceInfo(f"{kind}.local.", name, port=80 + number, addresses=[packed],
                           properties={"n": str(number)}, server="things.local.")
        work.append(made.async_register_service(info, cooperating_responders=True, strict=False))
    await asyncio.gather(*work)
    print("ready", flush=True)
    await asyncio.Event().wait()

asyncio.run(main(sys.argv[1], int(sys.argv[2]), sys.argv[3]))
"""

_SOCKET = """
import random, socket, sys, time
group = ("224.0.0.251", 5353)
out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
out.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(sys.argv[1]))
out.bind((sys.argv[1], 5353))
def name(*labels):
    return b"".join(bytes([len(one)]) + one for one in labels) + b"\\0"
def record(number):
    alias = name(b"forged %d" % number, b"_http", b"_tcp", b"local")
    head = b"\\0\\0\\x84\\0\\0\\0\\0\\1\\0\\0\\0\\0" + name(b"_http", b"_tcp", b"local")
    return head + b"\\0\\x0c\\0\\1\\0\\0\\x11\\x94" + len(alias).to_bytes(2, "big") + alias
"""
FLOOD = (
    _SOCKET
    + """
for number in range(3000):
    out.sendto(record(number), group)
    time.sleep(0.0003)
"""
)
GARBAGE = (
    _SOCKET
    + """
chance = random.Random(4)
for number in range(2000):
    body = bytearray(record(number))
    for _ in range(chance.randrange(1, 12)):
        body[chance.randrange(4, len(body))] = chance.randrange(256)
    out.sendto(bytes(body) if number % 3 else chance.randbytes(chance.randrange(1, 1400)), group)
    time.sleep(0.0005)
"""
)


class Watched:
    """What the handler says, on the agent's host."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.lines: list[dict[str, Any]] = []
        self._process = process
        self._more = asyncio.Event()

    async def read(self) -> None:
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            self.lines.append(msgspec.json.decode(line))
            self._more.set()

    async def until(self, *, after: int = 0, seconds: float = 15, **fields: Any) -> dict[str, Any]:
        async with asyncio.timeout(seconds):
            while True:
                for line in self.lines[after:]:
                    if all(line.get(name) == value for name, value in fields.items()):
                        return line
                self._more.clear()
                await self._more.wait()

    async def whole(self, name: str) -> dict[str, Any]:
        """The first sighting that says everything."""
        async with asyncio.timeout(15):
            while True:
                for line in self.said(what="Sighting", kind="seen", id=name):
                    if "ip" in line["facts"] and any(fact.startswith("txt.") for fact in line["facts"]):
                        return line
                self._more.clear()
                await self._more.wait()

    def said(self, **fields: Any) -> list[dict[str, Any]]:
        return [line for line in self.lines if all(line.get(name) == value for name, value in fields.items())]

    async def scan(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(b"scan\n")
        await self._process.stdin.drain()


@asynccontextmanager
async def watching(host: Host, *details: dict[str, Any], **order: Any) -> AsyncIterator[Watched]:
    body = msgspec.json.encode({"details": details, "interface": "eth0", **order}).decode()
    async with running(await host.python("tests.discovery.watch", "mdns", body, **PIPES)) as process:
        watched = Watched(process)
        task = asyncio.create_task(watched.read())
        try:
            await watched.until(what="Swept")
            yield watched
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def accepts(path: Path) -> bool:
    """Whether somebody listens at the socket."""
    with socket.socket(socket.AF_UNIX) as tried, suppress(OSError):
        tried.connect(str(path))
        return True
    return False


@asynccontextmanager
async def avahi(host: Host) -> AsyncIterator[dict[str, str]]:
    """A daemon there, on a bus of its own; the answer is the environment of its clients."""
    folder = Path("/run") / f"ash-{host.name}"
    folder.mkdir(mode=0o755)
    address, bus, conf = folder / "bus", folder / "bus.conf", folder / "avahi.conf"
    bus.write_text(_BUS.format(socket=address))
    conf.write_text(_AVAHI.format(name=re.sub(r"[^a-z0-9]", "", host.name)))
    environment = {**os.environ, "DBUS_SYSTEM_BUS_ADDRESS": f"unix:path={address}"}
    quiet: Any = {"env": environment, "stdout": asyncio.subprocess.DEVNULL, "stderr": asyncio.subprocess.DEVNULL}
    # A daemon for each: its runtime folder is where it looks for another one.
    mount = "mount -t tmpfs none /run/avahi-daemon"
    daemon = f"{mount} && exec avahi-daemon --no-drop-root --no-chroot --no-rlimits -f {conf}"
    os.makedirs("/run/avahi-daemon", exist_ok=True)  # noqa: PTH103 - at once, in a coroutine
    try:
        async with running(await host.start("dbus-daemon", "--config-file", str(bus), "--nofork", **quiet)):
            # avahi looks for the bus once, and then not for ten seconds.
            await until(lambda: accepts(address))
            async with running(await host.start("unshare", "--mount", "sh", "-c", daemon, **quiet)):
                yield environment
    finally:
        shutil.rmtree(folder)


async def publish(host: Host, environment: dict[str, str], *words: str) -> asyncio.subprocess.Process:
    """Announce a service there, as soon as the daemon is ready."""
    silent = asyncio.subprocess.DEVNULL
    options: Any = {"env": environment, "stdout": silent, "stderr": asyncio.subprocess.PIPE}
    return await host.start("avahi-publish", "-f", "-s", *words, **options)


async def established(process: asyncio.subprocess.Process) -> None:
    """Wait until avahi has made sure of the name."""
    assert process.stderr is not None
    async with asyncio.timeout(30):
        while b"Established" not in await process.stderr.readline():
            assert process.returncode is None


async def zeroconf(
    host: Host, count: int = 1, kind: str = "_http._tcp", address: str = ""
) -> asyncio.subprocess.Process:
    return await host.start(
        sys.executable, "-c", _ZEROCONF, address or host.address, str(count), kind, stdout=asyncio.subprocess.DEVNULL
    )


def link_local(host: Host) -> str:
    """Its IPv6 address on eth0, when that is proven to be free."""
    for _ in range(100):
        command = ["ip", "-n", host.name, "-6", "-o", "address", "show", "dev", "eth0", "scope", "link", "-tentative"]
        text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        if text:
            return text.split()[3].partition("/")[0]
        time.sleep(0.1)
    pytest.fail("no link-local address")


def offered(line: dict[str, Any], **details: Any) -> bool:
    """Whether a configuration with these details would want it."""
    wanted = msgspec.convert({**HTTP, **details}, MdnsDetails)
    facet = Facet(source="mdns/eth0", handler="mdns", id=line["id"], facts=line["facts"])
    return isinstance(Mdns.offer(wanted, facet, list), Offer)


def ids(lines: Sequence[dict[str, Any]]) -> set[str]:
    return {str(line["id"]) for line in lines}


def ip(words: str) -> None:
    subprocess.run(["ip", *words.split()], check=True, capture_output=True)


@contextmanager
def cable(there: Host) -> Iterator[str]:
    """Join this machine to the network of that host; the answer is our interface. Both get addresses of it."""
    tag = secrets.token_hex(3)
    network = f"10.{secrets.randbelow(100) + 100}.{secrets.randbelow(256)}"
    name, switch = f"ash{tag}", there.name.rpartition("-")[0] + "-sw"
    try:
        for words in (
            f"link add {name} type veth peer name up{tag} netns {switch}",
            f"-n {switch} link set up{tag} master br0 up",
            f"address add {network}.250/24 dev {name}",
            f"link set {name} up",
            f"-n {there.name} address add {network}.1/24 dev eth0",
        ):
            ip(words)
        yield name
    finally:
        subprocess.run(["ip", "link", "delete", name], check=False, capture_output=True)
