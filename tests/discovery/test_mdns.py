"""The handler `mdns` with real responders in other network namespaces: avahi, and zeroconf as a second one."""

import asyncio
import os
import re
import shutil
import signal
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ashore_discovery.handlers.mdns.details import MdnsDetails
from ashore_discovery.handlers.mdns.handler import Mdns
from ashore_discovery.model import Facet, Offer
from tests.discovery.namespaces import NEEDS_NAMESPACES, Host, lan, running

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
    for number in range(count):
        name = f"thing-{number}.{kind}.local."
        info = ServiceInfo(f"{kind}.local.", name, port=80 + number, addresses=[socket.inet_aton(address)],
                           properties={"n": str(number)}, server="things.local.")
        await made.async_register_service(info, cooperating_responders=True, strict=False)
    print("ready", flush=True)
    await asyncio.Event().wait()

asyncio.run(main(sys.argv[1], int(sys.argv[2]), sys.argv[3]))
"""


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
    daemon = (
        f"mount -t tmpfs none /run/avahi-daemon && exec avahi-daemon --no-drop-root --no-chroot --no-rlimits -f {conf}"
    )
    Path("/run/avahi-daemon").mkdir(exist_ok=True)
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


async def zeroconf(host: Host, count: int = 1, kind: str = "_http._tcp") -> asyncio.subprocess.Process:
    process = await host.start(sys.executable, "-c", _ZEROCONF, host.address, str(count), kind, **_PIPES)
    assert process.stdout is not None
    return process


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
            await watched.until(what="Sighting", kind="seen", id="thing-149._http._tcp.local", seconds=60)
            assert len(ids(watched.said(what="Sighting", kind="seen"))) == 150
        # At its end it says goodbye only where it is asked to: their host answers no more.
        await watched.until(what="Sighting", kind="missed")


async def test_a_second_responder_on_the_host_of_another_is_not_taken_for_dead() -> None:
    async with lan(2) as (here, there):
        async with running(await zeroconf(there)), running(await zeroconf(there, kind="_ipp._tcp")):
            details = {"services": ["_http._tcp", "_ipp._tcp"]}
            async with watching(here, details) as watched:
                await watched.until(what="Sighting", cause="answered")
                await asyncio.sleep(6)
                assert not watched.said(kind="missed")
                assert len(ids(watched.said(what="Sighting", kind="seen"))) == 2
