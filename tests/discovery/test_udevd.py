"""The handler `udev` with a real udevd, which has a network namespace, a /run and a /dev of its own.

Its rules add what this machine's devices do not say. The kernel tells of network interfaces only where they are, and of
all else everywhere, so udevd must not have the real /dev: it would change what lies there.
"""

import asyncio
import json
import os
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.bus_kit import until
from tests.discovery.namespaces import NEEDS_NAMESPACES, running
from tests.discovery.watched import Watched

UDEVD = shutil.which("systemd-udevd", path=f"{os.environ.get('PATH', '')}:/lib/systemd:/usr/lib/systemd")
pytestmark = [
    pytest.mark.interop,
    NEEDS_NAMESPACES,
    pytest.mark.skipif(UDEVD is None, reason="there is no systemd-udevd (Debian: udev)"),
]

_MOUNT_FAILED = 32
RULES = """\
SUBSYSTEM=="net", KERNEL=="port*", ENV{ID_VENDOR}="Acme", ENV{ID_SERIAL_SHORT}="SN-4711-$number"
SUBSYSTEM=="net", KERNEL=="late*", PROGRAM="/bin/sleep 0.3", ENV{ID_VENDOR}="Acme"
"""
ROOM = """\
set -e
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /dev
mount -t sysfs sysfs /sys
mknod -m 666 /dev/null c 1 3
mknod -m 666 /dev/urandom c 1 9
mkdir -p /run/udev/rules.d
printf %s "$RULES" >/run/udev/rules.d/10-ports.rules
ip link set lo up
exec "$UDEVD"
"""
LOOK_FOR = {
    "configurations": [
        {"name": "ports", "handler": "udev", "details": {"udevRules": ['SUBSYSTEM=="net", ENV{ID_VENDOR}=="Acme"']}}
    ]
}


class Room(NamedTuple):
    """Where udevd is."""

    pid: int

    def inside(self, *command: str) -> list[str]:
        return ["nsenter", "--target", str(self.pid), "--net", "--mount", *command]

    async def run(self, *command: str) -> int:
        process = await asyncio.create_subprocess_exec(*self.inside(*command))
        return await process.wait()


@asynccontextmanager
async def room() -> AsyncIterator[Room]:
    assert UDEVD is not None
    env = {**os.environ, "RULES": RULES, "UDEVD": UDEVD}
    command = ("unshare", "--net", "--mount", "--propagation", "private", "sh", "-c", ROOM)
    async with running(await asyncio.create_subprocess_exec(*command, env=env)) as process:
        made = Room(process.pid)
        control = Path(f"/proc/{process.pid}/root/run/udev/control")
        await until(lambda: control.exists() or process.returncode is not None)
        if process.returncode == _MOUNT_FAILED:
            pytest.skip("this container may not mount")
        yield made


@asynccontextmanager
async def agent(made: Room, folder: Path) -> AsyncIterator[Watched]:
    command = made.inside(
        "env", "-C", str(Path.cwd()), sys.executable, "-m", "tests.discovery.whole", str(folder), json.dumps(LOOK_FOR)
    )
    started = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, limit=2**24)
    async with running(started) as process:
        watched = Watched(process)
        listening = asyncio.create_task(watched.listen())
        try:
            alive = await watched.until("alive", lambda one: bool(one["handlers"]) and one["epoch"] > 0)
            assert [(one["mode"], one["reason"]) for one in alive["handlers"]] == [("events", "")]
            yield watched
        finally:
            listening.cancel()


async def test_what_udevd_adds_is_there_when_the_device_appears(tmp_path: Path) -> None:
    async with room() as made, agent(made, tmp_path) as watched:
        assert await made.run("ip", "link", "add", "port7", "type", "veth", "peer", "name", "other7") == 0
        seen = await watched.until("appeared")
        assert seen["matches"] == ["ports"]
        assert seen["cause"] == "add"
        assert (seen["facts"]["vendor"], seen["facts"]["serial"]) == ("Acme", "SN-4711-7")
        assert await made.run("ip", "link", "delete", "port7") == 0
        gone = await watched.until("disappeared")
        assert (gone["key"], gone["cause"]) == (seen["key"], "remove")
        assert len(watched.all("appeared")) == 1


async def test_a_rule_that_takes_its_time_is_waited_for(tmp_path: Path) -> None:
    async with room() as made, agent(made, tmp_path) as watched:
        assert await made.run("ip", "link", "add", "late7", "type", "veth", "peer", "name", "other7") == 0
        seen = await watched.until("appeared")
        assert (seen["facts"]["kernel"], seen["facts"]["vendor"]) == ("late7", "Acme")


async def test_what_was_there_before_is_known_from_udevds_database(tmp_path: Path) -> None:
    async with room() as made:
        assert await made.run("ip", "link", "add", "port8", "type", "veth", "peer", "name", "other8") == 0
        data = Path(f"/proc/{made.pid}/root/run/udev/data")
        await until(lambda: data.exists() and any("SN-4711-8" in one.read_text() for one in data.glob("n*")))
        async with agent(made, tmp_path) as watched:
            seen = await watched.until("appeared")
            assert (seen["facts"]["serial"], seen["cause"]) == ("SN-4711-8", "found")
