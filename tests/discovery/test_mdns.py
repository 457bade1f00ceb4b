"""The handler `mdns` with real responders in other network namespaces: avahi, and zeroconf as a second one."""

import asyncio
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ashore.bus.nats import NatsBus
from ashore.bus.server import EmbeddedServer
from ashore_discovery.handlers.mdns.details import MdnsDetails
from ashore_discovery.handlers.mdns.handler import Mdns
from ashore_discovery.handlers.mdns.presets import Preset
from ashore_discovery.model import Facet, Offer
from tests.bus_kit import until
from tests.contract.discovery.agents import agent, hearing
from tests.discovery.namespaces import NEEDS_NAMESPACES, Host, lan, running
from tests.discovery_kit import listening

NEEDS_AVAHI = pytest.mark.skipif(
    any(shutil.which(one) is None for one in ("avahi-daemon", "avahi-publish", "dbus-daemon")),
    reason="it announces with avahi: needs avahi-daemon, avahi-utils and dbus",
)
pytestmark = [NEEDS_NAMESPACES]
HTTP = {"services": ["_http._tcp"]}
_PIPES: Any = {"stdin": asyncio.subprocess.PIPE, "stdout": asyncio.subprocess.PIPE}
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
_FLOOD = (
    _SOCKET
    + """
for number in range(3000):
    out.sendto(record(number), group)
    time.sleep(0.0003)
"""
)
_GARBAGE = (
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
    async with running(await host.python("tests.discovery.watch", "mdns", body, **_PIPES)) as process:
        watched = Watched(process)
        task = asyncio.create_task(watched.read())
        try:
            await watched.until(what="Swept")
            yield watched
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


@asynccontextmanager
async def avahi(host: Host) -> AsyncIterator[dict[str, str]]:
    """A daemon there, on a bus of its own; the answer is the environment of its clients."""
    folder = Path("/run") / f"ash-{host.name}"
    folder.mkdir(mode=0o755)
    socket, bus, conf = folder / "bus", folder / "bus.conf", folder / "avahi.conf"
    bus.write_text(_BUS.format(socket=socket))
    conf.write_text(_AVAHI.format(name=re.sub(r"[^a-z0-9]", "", host.name)))
    environment = {**os.environ, "DBUS_SYSTEM_BUS_ADDRESS": f"unix:path={socket}"}
    quiet: Any = {"env": environment, "stdout": asyncio.subprocess.DEVNULL, "stderr": asyncio.subprocess.DEVNULL}
    # A daemon for each: its runtime folder is where it looks for another one.
    mount = "mount -t tmpfs none /run/avahi-daemon"
    daemon = f"{mount} && exec avahi-daemon --no-drop-root --no-chroot --no-rlimits -f {conf}"
    os.makedirs("/run/avahi-daemon", exist_ok=True)  # noqa: PTH103 - at once, in a coroutine
    try:
        async with (
            running(await host.start("dbus-daemon", "--config-file", str(bus), "--nofork", **quiet)),
            running(await host.start("unshare", "--mount", "sh", "-c", daemon, **quiet)),
        ):
            await _answering(environment, host)
            yield environment
    finally:
        shutil.rmtree(folder)


async def _answering(environment: dict[str, str], host: Host) -> None:
    quiet: Any = {"env": environment, "stdout": asyncio.subprocess.DEVNULL, "stderr": asyncio.subprocess.DEVNULL}
    async with asyncio.timeout(15):
        while True:
            process = await host.start("avahi-resolve", "-n", f"{re.sub(r'[^a-z0-9]', '', host.name)}.local", **quiet)
            if await process.wait() == 0:
                return
            await asyncio.sleep(0.1)


async def publish(host: Host, environment: dict[str, str], *words: str) -> asyncio.subprocess.Process:
    quiet: Any = {"env": environment, "stdout": asyncio.subprocess.DEVNULL, "stderr": asyncio.subprocess.DEVNULL}
    return await host.start("avahi-publish", "-s", *words, **quiet)


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


@NEEDS_AVAHI
async def test_a_service_appears_with_all_that_it_says_and_says_goodbye() -> None:
    async with lan(2) as (here, there), avahi(there) as environment, watching(here, HTTP, enrich=True) as watched:
        words = ("Gate Camera", "_http._tcp", "8080", "model=M 1", "path=/view")
        async with running(await publish(there, environment, *words)) as peer:
            name = "gate camera._http._tcp.local"
            seen = await watched.until(what="Sighting", kind="seen", id=name)
            print(f"wire to sighting {1000 * (seen['at'] - seen['wire_at']):.1f} ms")
            # avahi says at once that there is a service, and where it is when it has made sure that the name is free.
            whole = await watched.whole(name)
            assert whole["facts"]["ip"] == there.address
            assert whole["facts"]["port"] == 8080
            assert f"http://{there.address}:8080/view" in whole["endpoints"]
            assert offered(whole, txt=[{"key": "Model", "equals": "m 1"}, {"key": "secure", "present": False}])
            assert offered(whole, txt=[{"key": "model", "glob": "M *"}], names=["gate *"])
            assert not offered(whole, txt=[{"key": "model", "equals": "M 2"}])
            assert not offered(whole, exclude_names=["gate*"])
            ended = time.time()
            peer.send_signal(signal.SIGTERM)
            bye = await watched.until(what="Sighting", kind="bye", id=seen["id"])
            print(f"SIGTERM to goodbye {1000 * (bye['at'] - ended):.1f} ms")


@NEEDS_AVAHI
async def test_a_service_of_another_type_is_not_seen() -> None:
    async with lan(2) as (here, there), avahi(there) as environment, watching(here, HTTP) as watched:
        async with (
            running(await publish(there, environment, "Printer", "_ipp._tcp", "631")),
            running(await publish(there, environment, "Page", "_http._tcp", "80")),
        ):
            await watched.until(what="Sighting", id="page._http._tcp.local")
        assert ids(watched.said(what="Sighting")) == {"page._http._tcp.local"}


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


@NEEDS_AVAHI
async def test_an_agent_finds_a_pulled_plug_within_five_seconds(
    nats_server: EmbeddedServer, nats_bus: NatsBus, tmp_path: Path
) -> None:
    async with lan(1) as (there,):
        with cable(there) as interface:
            look: dict[str, Any] = {"name": "pages", "handler": "mdns", "details": HTTP}
            handlers = {"mdns": {"interfaces": [interface]}}
            async with (
                avahi(there) as environment,
                agent(nats_server, tmp_path, look, handlers=handlers),
                hearing(nats_bus) as ear,
                running(await publish(there, environment, "Cam", "_http._tcp", "80")),
            ):
                appeared = await ear.until("appeared", "cam._http._tcp.local")
                print(f"wire to event {appeared.seen_at - appeared.wire_at} ms")
                await until(lambda: any("ip" in one.facts for one in ear.devices()), seconds=10)
                await asyncio.sleep(4)
                assert {one.state for one in ear.devices()} == {"present"}
                for _ in range(2):
                    pulled, count = time.time(), len(ear.devices())
                    there.unplug()
                    await ear.until("disappeared", after=count)
                    print(f"pulled plug to disappeared {time.time() - pulled:.2f} s")
                    plugged, count = time.time(), len(ear.devices())
                    there.plug()
                    await ear.until("appeared", after=count)
                    print(f"plug to appeared {time.time() - plugged:.2f} s")
                    await asyncio.sleep(5)


@NEEDS_AVAHI
async def test_what_was_there_before_is_found_at_the_first_look() -> None:
    async with (
        lan(2) as (here, there),
        avahi(there) as environment,
        running(await publish(there, environment, "Old", "_http._tcp", "80")),
    ):
        await asyncio.sleep(2)
        async with watching(here, HTTP) as watched:
            assert ids(watched.said(what="Sighting")) == {"old._http._tcp.local"}


@NEEDS_AVAHI
async def test_a_pulled_plug_is_found_and_a_return_as_well() -> None:
    async with lan(2) as (here, there), avahi(there) as environment:
        peer = await publish(there, environment, "Cam", "_http._tcp", "80")
        async with running(peer), watching(here, HTTP, probe=0.7) as watched:
            await watched.until(what="Sighting", cause="answered", id="cam._http._tcp.local")
            alive = await watched.until(what="probe", answer=True)
            assert alive["id"] == "cam._http._tcp.local"
            pulled, count = time.time(), len(watched.lines)
            there.unplug()
            missed = await watched.until(after=count, what="Sighting", kind="missed")
            print(f"pulled plug to missed {missed['at'] - pulled:.2f} s")
            await watched.until(after=watched.lines.index(missed), what="probe", answer=False)
            plugged, count = time.time(), len(watched.lines)
            there.plug()
            back = await watched.until(after=count, what="Sighting", kind="seen")
            print(f"plug to seen {back['at'] - plugged:.2f} s")
            await watched.until(after=count, what="probe", answer=True)


async def test_hundred_and_fifty_services_at_once_are_all_seen() -> None:
    async with lan(2) as (here, there), watching(here, HTTP) as watched:
        async with running(await zeroconf(there, 150)):
            await until(lambda: len(ids(watched.said(what="Sighting", kind="seen"))) == 150, seconds=60)
            first, *_ = watched.said(what="Sighting", kind="seen")
            last = next(one for one in reversed(watched.lines) if one.get("cause") == "found")
            print(f"first to last of 150: {last['at'] - first['wire_at']:.2f} s")
            await watched.until(what="Sighting", cause="answered")
        # Killed, it says no goodbye: its host answers no more.
        await watched.until(what="Sighting", kind="missed")


async def test_a_device_with_nothing_but_ipv6_is_seen_and_asked() -> None:
    async with lan(2) as (here, there):
        address = link_local(there)
        async with running(await zeroconf(there, address=address)), watching(here, HTTP) as watched:
            found = await watched.until(what="Sighting", cause="answered")
            assert found["facts"]["ip"] == f"{address}%eth0"


async def test_a_flood_of_forged_services_ends_at_the_limit() -> None:
    async with (
        lan(2) as (here, there),
        watching(here, HTTP, settings={"most_services": 100}) as watched,
        running(await there.start(sys.executable, "-c", _FLOOD, there.address, **_PIPES)) as flood,
    ):
        await watched.until(what="health", mode="degraded")
        await flood.wait()
        await asyncio.sleep(1)
        assert len(ids(watched.said(what="Sighting"))) == 100


async def test_what_is_no_mdns_at_all_harms_nobody() -> None:
    async with lan(2) as (here, there), watching(here, HTTP) as watched:
        async with running(await there.start(sys.executable, "-c", _GARBAGE, there.address, **_PIPES)) as garbage:
            await garbage.wait()
        async with running(await zeroconf(there)):
            await watched.until(what="Sighting", id="thing-0._http._tcp.local")


async def test_each_interface_hears_only_its_own_network() -> None:
    # The first of each has the same address, so it is the second that is far away.
    async with lan(1) as (here,), lan(2) as (_, far):
        switch = far.name.rpartition("-")[0] + "-sw"
        for words in (
            f"-n {here.name} link add eth1 type veth peer name second netns {switch}",
            f"-n {switch} link set second master br0 up",
            f"-n {here.name} address add 10.99.0.9/24 dev eth1",
            f"-n {here.name} link set eth1 up",
        ):
            ip(words)
        async with (
            watching(here, HTTP) as watched,
            watching(here, HTTP, interface="eth1") as other,
            running(await zeroconf(far)),
        ):
            await other.until(what="Sighting", kind="seen")
            await asyncio.sleep(1)
            assert not watched.said(what="Sighting")


@NEEDS_AVAHI
async def test_other_types_are_taken_over_without_a_restart() -> None:
    async with lan(1) as (there,), avahi(there) as environment:
        with cable(there) as interface:
            details = MdnsDetails(services=["_http._tcp"])
            async with (
                running(await publish(there, environment, "Page", "_http._tcp", "80")),
                running(await publish(there, environment, "Paper", "_ipp._tcp", "631")),
                listening(Mdns, details, interface=interface) as heard,
            ):
                await heard.until("seen", "page._http._tcp.local")
                assert heard.handler.replan(Mdns.plan([MdnsDetails(presets=[Preset.PRINTERS])]))
                await heard.until("gone", "page._http._tcp.local")
                await heard.until("seen", "paper._ipp._tcp.local")
                count = len(heard.sightings)
                assert heard.handler.replan(Mdns.plan([details]))
                await heard.until("seen", "page._http._tcp.local", after=count)
                await heard.handler.scan()
                found = await heard.until("seen", "page._http._tcp.local", after=len(heard.sightings))
                assert found.cause in ("answered", "announced")


@NEEDS_AVAHI
async def test_all_types_can_be_browsed_for_the_inventory() -> None:
    async with (
        lan(2) as (here, there),
        avahi(there) as environment,
        running(await publish(there, environment, "Odd", "_odd-thing._udp", "5")),
        watching(here, HTTP, settings={"all_types": True}) as watched,
    ):
        await watched.until(what="Sighting", id="odd._odd-thing._udp.local", seconds=30)


async def test_a_second_responder_on_the_host_of_another_is_not_taken_for_dead() -> None:
    details = {"services": ["_http._tcp", "_ipp._tcp"]}
    async with (
        lan(2) as (here, there),
        running(await zeroconf(there)),
        running(await zeroconf(there, kind="_ipp._tcp")),
        watching(here, details) as watched,
    ):
        await watched.until(what="Sighting", cause="answered")
        await asyncio.sleep(6)
        assert not watched.said(kind="missed")
        assert len(ids(watched.said(what="Sighting", kind="seen"))) == 2
