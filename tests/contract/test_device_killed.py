"""True deaths: the device is a process, and SIGKILL comes while the owner holds its message."""

import asyncio
import contextlib
import random
import signal
import sys
from pathlib import Path

import pytest

from ashore.fdo import rvinfo
from ashore.fdo.serviceinfo.command import RunCommand
from ashore.fdo.serviceinfo.fdo_sys import WriteFile
from ashore.fdo.serviceinfo.modules import OwnerModule
from ashore.fdo.types import To2Address, Transport
from ashore_device.credential_file import CredentialFile, Record
from tests.contract.device_world import World, serve

ROOT = Path(__file__).parents[2]


class Victim:
    """One device whose process may be killed again and again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.process: asyncio.subprocess.Process | None = None

    async def live(self, port: int) -> int:
        url = f"http://127.0.0.1:{port}"
        arguments = ("-m", "tests.contract.device_process", str(self.folder), url)
        self.process = await asyncio.create_subprocess_exec(sys.executable, *arguments, cwd=ROOT)
        return await self.process.wait()

    def kill(self) -> None:
        assert self.process
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGKILL)

    def record(self) -> Record | None:
        return CredentialFile(self.folder / "credential.json").load()


def steps() -> list[OwnerModule]:
    return [WriteFile("hello.txt", b"hello"), RunCommand(["sh", "-c", "echo ran >> log.txt"])]


def lead_to(world: World, port: int) -> None:
    """All addresses are known only once the server has its port."""
    world.directives = [rvinfo.Directive(ip="127.0.0.1", protocol="http", device_port=port)]
    world.addresses = [To2Address(bytes([127, 0, 0, 1]), None, port, Transport.HTTP)]


@pytest.mark.parametrize("serves_again", [True, False])
@pytest.mark.parametrize(
    ("number", "moment"), [(12, "after"), (64, "before"), (68, "after"), (70, "before"), (70, "after")]
)
async def test_a_device_killed_by_sigkill_comes_ashore(
    tmp_path: Path, number: int, moment: str, serves_again: bool
) -> None:
    victim = Victim(tmp_path / "device")
    armed = [True]

    async def strike(given: int) -> None:
        if given == number and armed:
            armed.pop()
            victim.kill()
            if moment == "before":
                raise ConnectionResetError

    world = World(steps=steps, serves_again=serves_again)
    async with serve(world, **{moment: strike}) as port:
        lead_to(world, port)
        assert await victim.live(port) == -signal.SIGKILL
        assert await victim.live(port) == 0
    record = victim.record()
    assert record is not None
    assert record.state == "onboarded"
    assert bytes.fromhex(record.guid) == world.commits[-1][1]
    assert bytes.fromhex(record.guid) in world.vouchers
    assert len(world.commits) == (2 if (number, moment) == (70, "after") and serves_again else 1)
    assert (victim.folder / "files" / "hello.txt").read_bytes() == b"hello"


async def test_a_device_killed_at_random_moments_is_never_bricked(tmp_path: Path) -> None:
    """Killed a few times at whatever it does, disk included; each time the owner has a voucher for what is on disk."""
    victim = Victim(tmp_path / "device")
    chance = random.Random(70)
    world = World(steps=steps)
    async with serve(world) as port:
        lead_to(world, port)
        for _ in range(6):
            life = asyncio.create_task(victim.live(port))
            await asyncio.wait((life,), timeout=0.35 + chance.random() * 0.5)
            if not life.done():
                victim.kill()
            await life
            record = victim.record()
            if record is not None and record.state != "initialising":
                assert any(candidate.credential.guid in world.vouchers for candidate in record.candidates)
        await victim.live(port)
    record = victim.record()
    assert record is not None
    assert record.state == "onboarded"
    assert record.candidates[0].credential.guid in world.vouchers
