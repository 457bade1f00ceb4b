"""The handler `udev` with devices that this machine has not, by umockdev: a serial adapter and a camera at USB ports.

What udevd adds to devices, and its own events, are there only in the mock; libudev and pyudev are the real ones.
"""

import asyncio
import json
import os
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.discovery.namespaces import running
from tests.discovery.watched import Watched

WRAPPER = shutil.which("umockdev-wrapper")
pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(WRAPPER is None, reason="there is no umockdev-wrapper (Debian: umockdev)"),
]

PORTS = "/devices/pci0000:00/0000:00:14.0/usb1"
BY_ID = "/dev/serial/by-id/usb-FTDI_FT232R_USB_UART_A6008isP-if00-port0"
ADAPTER = f"""\
P: {PORTS}/1-2
E: SUBSYSTEM=usb
E: DEVTYPE=usb_device
A: idVendor=0403
A: idProduct=6001
A: manufacturer=FTDI
A: product=FT232R USB UART
A: serial=A6008isP

P: {PORTS}/1-2/1-2:1.0
E: SUBSYSTEM=usb
E: DEVTYPE=usb_interface
A: bInterfaceNumber=00
"""
SERIAL = f"""\
P: {PORTS}/1-2/1-2:1.0/ttyUSB7/tty/ttyUSB7
N: ttyUSB7
E: SUBSYSTEM=tty
E: DEVNAME=/dev/ttyUSB7
E: DEVLINKS={BY_ID} /dev/serial/by-path/pci-0000:00:14.0-usb-0:2:1.0
E: ID_BUS=usb
E: ID_MODEL=FT232R_USB_UART
E: ID_SERIAL_SHORT=A6008isP
E: ID_USB_INTERFACE_NUM=00
E: ID_VENDOR=FTDI
E: ID_VENDOR_ID=0403
E: ID_MODEL_ID=6001
"""
CAMERA = f"""\
P: {PORTS}/1-5
E: SUBSYSTEM=usb
E: DEVTYPE=usb_device
A: idVendor=046d
A: idProduct=082d
A: manufacturer=Logitech
A: product=HD Pro Webcam C920
A: serial=9C5E2B6F

P: {PORTS}/1-5/1-5:1.0/video4linux/video7
N: video7
E: SUBSYSTEM=video4linux
E: DEVNAME=/dev/video7
E: ID_V4L_CAPABILITIES=:capture:
E: ID_V4L_PRODUCT=HD Pro Webcam C920
E: ID_BUS=usb
E: ID_SERIAL_SHORT=9C5E2B6F
A: index=0
A: name=HD Pro Webcam C920

P: {PORTS}/1-5/1-5:1.0/video4linux/video8
N: video8
E: SUBSYSTEM=video4linux
E: DEVNAME=/dev/video8
E: ID_V4L_CAPABILITIES=:
E: ID_BUS=usb
A: index=1
A: name=HD Pro Webcam C920
"""
LOOK_FOR = {
    "configurations": [
        {"name": "adapters", "handler": "udev", "details": {"udevRules": ['SUBSYSTEM=="tty", ENV{ID_BUS}=="usb"']}},
        {
            "name": "cameras",
            "handler": "udev",
            "details": {"udevRules": ['KERNEL=="video[0-9]*", ENV{ID_V4L_CAPABILITIES}=="*:capture:*"']},
        },
    ],
    "handlers": {"udev": {"source": "udev"}},
}


class Bench:
    """A /sys with devices that are only described."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.folder = ""

    async def begin(self) -> None:
        assert self._process.stdout is not None
        self.folder = (await self._process.stdout.readline()).decode().strip()

    async def order(self, verb: str, text: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([verb, text]).encode() + b"\n")
        await self._process.stdin.drain()


async def start(module: str, *words: str, **env: str) -> asyncio.subprocess.Process:
    assert WRAPPER is not None
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(
        WRAPPER, sys.executable, "-m", module, *words, stdin=pipe, stdout=pipe, env={**os.environ, **env}, limit=2**24
    )


@asynccontextmanager
async def bench() -> AsyncIterator[Bench]:
    async with running(await start("tests.discovery.mocked_devices")) as process:
        made = Bench(process)
        await made.begin()
        yield made


@asynccontextmanager
async def agent(made: Bench, folder: Path) -> AsyncIterator[Watched]:
    """A whole agent that sees this /sys, and no other, and what its bus is told."""
    started = await start("tests.discovery.whole", str(folder), json.dumps(LOOK_FOR), UMOCKDEV_DIR=made.folder)
    async with running(started) as process:
        watched = Watched(process)
        listening = asyncio.create_task(watched.listen())
        try:
            alive = await watched.until("alive", lambda one: bool(one["handlers"]) and one["epoch"] > 0)
            assert [one["mode"] for one in alive["handlers"]] == ["events"]
            yield watched
        finally:
            listening.cancel()


async def test_a_serial_adapter_is_seen_with_all_that_udevd_says_and_gone_when_it_is_pulled(tmp_path: Path) -> None:
    async with bench() as made, agent(made, tmp_path) as watched:
        await made.order("add", ADAPTER + "\n" + SERIAL)
        seen = await watched.until("appeared")
        assert seen["matches"] == ["adapters"]
        assert seen["cause"] == "add"
        facts = seen["facts"]
        assert (facts["devnode"], facts["vendor"], facts["serial"]) == ("/dev/ttyUSB7", "FTDI", "A6008isP")
        assert BY_ID in facts["links"]
        assert seen["key"].startswith("serial-")
        await made.order("remove", f"/sys{PORTS}/1-2/1-2:1.0/ttyUSB7/tty/ttyUSB7")
        gone = await watched.until("disappeared")
        assert (gone["key"], gone["cause"]) == (seen["key"], "remove")
        # At another name it is the same one.
        await made.order("add", SERIAL.replace("ttyUSB7", "ttyUSB8"))
        back = await watched.until("appeared", lambda one: one["facts"]["devnode"] == "/dev/ttyUSB8")
        assert back["key"] == seen["key"]


async def test_of_a_camera_only_the_node_that_captures_is_wanted(tmp_path: Path) -> None:
    async with bench() as made:
        await made.order("add", CAMERA)
        async with agent(made, tmp_path) as watched:
            seen = await watched.until("appeared")
            assert (seen["matches"], seen["cause"]) == (["cameras"], "found")
            assert seen["facts"]["devnode"] == "/dev/video7"
            assert seen["facts"]["model"] == "HD Pro Webcam C920"
            await made.order("remove", f"/sys{PORTS}/1-5/1-5:1.0/video4linux/video7")
            gone = await watched.until("disappeared")
            assert gone["key"] == seen["key"]
        assert [one["facts"]["devnode"] for one in watched.all("appeared")] == ["/dev/video7"]
