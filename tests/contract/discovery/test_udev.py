"""The handler `udev` with real events of this kernel: tap interfaces, loop devices, and `uevent` files."""

import asyncio
import fcntl
import os
import struct
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from secrets import token_hex

import pytest
import pyudev

from ashore.bus.nats import NatsBus
from ashore.bus.server import EmbeddedServer
from ashore_discovery.handlers.udev.details import UdevDetails, UdevSettings
from ashore_discovery.handlers.udev.handler import Udev
from tests.bus_kit import until
from tests.contract.discovery.agents import agent, ask, hearing
from tests.discovery_kit import listening

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not Path("/dev/net/tun").exists(), reason="making kernel devices needs root and /dev/net/tun"
)
_TUNSETIFF, _TUNSETPERSIST, _TAP = 0x400454CA, 0x400454CB, 0x1002
NET = UdevDetails(udev_rules=['SUBSYSTEM=="net"'])


@contextmanager
def tap(name: str) -> Iterator[str]:
    """A real network device for the length of the block; the answer is its path."""
    handle = os.open("/dev/net/tun", os.O_RDWR)
    try:
        fcntl.ioctl(handle, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _TAP))
        yield f"/devices/virtual/net/{name}"
    finally:
        os.close(handle)


async def run(*command: str) -> str:
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    out, _ = await process.communicate()
    return out.decode().strip()


def new_name() -> str:
    return f"t{token_hex(4)}"


async def test_everything_that_is_there_is_said_first() -> None:
    with tap(new_name()) as path:
        async with listening(Udev, NET) as heard:
            await heard.swept()
        assert path in {one.id for one in heard.sightings}


async def test_a_device_that_comes_and_goes_is_said_at_once() -> None:
    async with listening(Udev, NET) as heard:
        await heard.swept()
        with tap(new_name()) as path:
            found = await heard.until("seen", path)
            assert found.cause == "add"
            assert found.facts["subsystem"] == "net"
        gone = await heard.until("gone", path)
        assert gone.cause == "remove"
    assert heard.modes[-1][0] in ("events", "degraded")


@pytest.mark.parametrize("milliseconds", [0, 10, 100, 500])
async def test_a_blip_loses_nothing(milliseconds: int) -> None:
    name = new_name()
    async with listening(Udev, NET) as heard:
        await heard.swept()
        for _ in range(3):
            with tap(name) as path:
                await heard.until("seen", path, after=len(heard.sightings))
            await asyncio.sleep(milliseconds / 1000)
        with tap(name) as path:
            await heard.until("seen", path, after=len(heard.sightings) - 1)
        kinds = [one.kind for one in heard.sightings if one.id == path]
        assert kinds.count("seen") >= 4


async def test_a_uevent_file_makes_an_event() -> None:
    path = next(iter(pyudev.Context().list_devices(subsystem="mem"))).device_path
    async with listening(Udev, NET) as heard:
        await heard.swept()
        before = len(heard.sightings)
        Path(f"/sys{path}/uevent").write_text("change")  # noqa: ASYNC240 - sysfs is memory
        found = await heard.until("seen", path, after=before)
        assert found.cause == "change"


async def test_a_renamed_interface_is_gone_under_its_old_name() -> None:
    name, other = new_name(), new_name()
    async with listening(Udev, NET) as heard:
        await heard.swept()
        with tap(name) as path:
            await heard.until("seen", path)
            await run("ip", "link", "set", name, "name", other)
            await heard.until("gone", path)
            await heard.until("seen", f"/devices/virtual/net/{other}")


async def test_a_loop_device_gets_its_file_and_loses_it(tmp_path: Path) -> None:
    image = tmp_path / "image"
    image.write_bytes(bytes(1024 * 1024))
    block = UdevDetails(udev_rules=['SUBSYSTEM=="block", ATTR{loop/backing_file}=="*/image"'])
    async with listening(Udev, block) as heard:
        await heard.swept()
        before = len(heard.sightings)
        node = await run("losetup", "--find", "--show", str(image))
        if not node:
            pytest.skip("there is no loop device here")
        try:
            found = await heard.until("seen", f"/devices/virtual/block/{Path(node).name}", after=before)
            assert found.facts["devnode"] == node
        finally:
            await run("losetup", "--detach", node)


async def test_without_events_it_looks_around_and_says_so() -> None:
    async with listening(Udev, NET, settings=UdevSettings(source="poll", poll_seconds=0.1)) as heard:
        await heard.swept()
        with tap(new_name()) as path:
            await heard.until("seen", path)
        await heard.swept(len(heard.sweeps) + 1)
        before = len(heard.sightings)
        await heard.swept(len(heard.sweeps) + 1)
        assert path not in {one.id for one in heard.sightings[before:]}
    assert heard.modes[-1] == ("polling", "as it was told to")


async def test_a_kernel_event_reaches_the_bus(nats_bus: NatsBus, nats_server: EmbeddedServer, tmp_path: Path) -> None:
    name = new_name()
    look_for = {"name": "taps", "handler": "udev", "details": {"udevRules": [f'KERNEL=="{name}"']}}
    async with hearing(nats_bus) as ear, agent(nats_server, tmp_path, look_for):
        while (await ask(nats_bus, "health"))["complete"] == 0:  # noqa: ASYNC110 - the agent looks around
            await asyncio.sleep(0.05)
        for _ in range(3):
            told = len(ear.devices())
            with tap(name):
                appeared = await ear.until("appeared", name, after=told)
                assert appeared.matches[0].properties == {"UDEV_DEVPATH": f"/devices/virtual/net/{name}"}
            await ear.until("disappeared", name, after=told)
        health = await ask(nats_bus, "health")
    assert ear.changes(name) == ["appeared", "disappeared"] * 3
    [source] = health["sources"]
    assert source["p50_ms"] > 0
    assert source["dropped"] == 0


async def test_a_hundred_devices_at_once_all_arrive(
    nats_bus: NatsBus, nats_server: EmbeddedServer, tmp_path: Path
) -> None:
    stem = f"h{token_hex(2)}"
    look_for = {"name": "taps", "handler": "udev", "details": {"udevRules": [f'KERNEL=="{stem}*"']}}
    async with hearing(nats_bus) as ear, agent(nats_server, tmp_path, look_for):
        with ExitStack() as stack, suppress(OSError):
            for number in range(100):
                stack.enter_context(tap(f"{stem}-{number}"))
            await until(lambda: ear.changes(stem).count("appeared") == 100)
        await until(lambda: ear.changes(stem).count("disappeared") == 100)
