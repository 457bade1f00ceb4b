"""Programs: where they run, what comes back, and how they end."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from ashore.fdo.serviceinfo.host import HostError, Progress
from ashore_device.fetching import Fetcher
from ashore_device.host import FolderHost, Limits
from ashore_device.programs import PIECE, Program


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def start(folder: Path, script: str, *, lifetime: float = 60.0, output: int = 1 << 20) -> Program:
    host = FolderHost(folder, Fetcher(), limits=Limits(output=output), environment={"GIVEN": "given"})
    process = await host.run(["sh", "-c", script], lifetime=lifetime)
    assert isinstance(process, Program)
    return process


async def finish(program: Program) -> Progress:
    stdout = stderr = b""
    while True:
        progress = await program.wait(10)
        assert len(progress.stdout) <= PIECE
        stdout, stderr = stdout + progress.stdout, stderr + progress.stderr
        if progress.exit_code is not None:
            return Progress(stdout=stdout, stderr=stderr, exit_code=progress.exit_code)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def gone(pid: int) -> bool:
    for _ in range(200):
        if not alive(pid):
            return True
        await asyncio.sleep(0.01)
    return False


async def test_both_streams_and_the_exit_code_come_back(tmp_path: Path) -> None:
    result = await finish(await start(tmp_path, "pwd; echo warning >&2; exit 3"))
    assert result == Progress(stdout=f"{tmp_path}\n".encode(), stderr=b"warning\n", exit_code=3)


async def test_a_program_that_dies_of_a_signal_says_so_as_shells_do(tmp_path: Path) -> None:
    assert (await finish(await start(tmp_path, "kill -TERM $$"))).exit_code == 128 + signal.SIGTERM


async def test_a_program_gets_what_it_is_given_and_no_secrets_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASHORE_TOKEN", "secret")
    result = await finish(await start(tmp_path, "env; cat"))
    assert b"GIVEN=given\n" in result.stdout
    assert b"PATH=" in result.stdout
    assert b"secret" not in result.stdout


@pytest.mark.parametrize("name", ["no-such-program", "./no-such-script", "", "a\0b", "/"])
async def test_a_program_that_cannot_be_started_is_explained(tmp_path: Path, name: str) -> None:
    before = descriptors()
    with pytest.raises(HostError, match="cannot be started"):
        await FolderHost(tmp_path, Fetcher()).run([name], lifetime=1)
    await asyncio.sleep(0)
    assert descriptors() <= before


async def test_a_script_of_the_folder_is_found_by_its_relative_name(tmp_path: Path) -> None:
    (tmp_path / "run.sh").write_text("#!/bin/sh\necho here\n")
    (tmp_path / "run.sh").chmod(0o700)
    process = await FolderHost(tmp_path, Fetcher()).run(["./run.sh"], lifetime=10)
    assert isinstance(process, Program)
    assert (await finish(process)).stdout == b"here\n"


async def test_waiting_ends_before_the_program_does(tmp_path: Path) -> None:
    program = await start(tmp_path, "echo early; sleep 30")
    progress = Progress()
    while not progress.stdout:
        progress = await program.wait(0.05)
    assert progress == Progress(stdout=b"early\n")
    await program.kill()


async def test_much_output_comes_in_pieces_and_none_is_lost(tmp_path: Path) -> None:
    result = await finish(await start(tmp_path, "head -c 700000 /dev/zero"))
    assert len(result.stdout) == 700_000
    assert result.exit_code == 0


async def test_output_beyond_the_limit_is_thrown_away_and_does_not_block(tmp_path: Path) -> None:
    result = await finish(await start(tmp_path, "head -c 3000000 /dev/zero; echo end >&2", output=100_000))
    assert (len(result.stdout), result.stderr, result.exit_code) == (100_000, b"end\n", 0)


async def test_a_program_that_lives_too_long_is_killed_with_its_children(tmp_path: Path) -> None:
    program = await start(tmp_path, "sleep 60 & echo $! > child; wait", lifetime=0.3)
    result = await finish(program)
    assert result.exit_code == 128 + signal.SIGKILL
    assert b"killed, as it ran for more than 0.3 seconds" in result.stderr
    assert await gone(int((tmp_path / "child").read_text()))


async def test_kill_takes_the_children_along_and_may_be_repeated(tmp_path: Path) -> None:
    program = await start(tmp_path, "sleep 60 & echo $! > child; echo ready; wait")
    while not (await program.wait(0.05)).stdout:
        pass
    await program.kill()
    await program.kill()
    await program.signal(signal.SIGTERM)
    assert await gone(int((tmp_path / "child").read_text()))


async def test_a_signal_reaches_the_program(tmp_path: Path) -> None:
    program = await start(tmp_path, "trap 'echo caught; exit 7' USR1; echo ready; while :; do sleep 0.02; done")
    while not (await program.wait(0.05)).stdout:
        pass
    await program.signal(signal.SIGUSR1)
    result = await finish(program)
    assert (result.stdout, result.exit_code) == (b"caught\n", 7)


async def test_a_service_that_a_script_leaves_running_is_left_alone_and_not_waited_for(tmp_path: Path) -> None:
    result = await finish(await start(tmp_path, "sleep 60 & echo $! > child; echo started"))
    child = int((tmp_path / "child").read_text())
    try:
        assert (result.stdout, result.exit_code) == (b"started\n", 0)
        assert alive(child)
    finally:
        os.kill(child, signal.SIGKILL)


async def test_descriptors_are_closed(tmp_path: Path) -> None:
    await finish(await start(tmp_path, "true"))
    before = descriptors()
    for _ in range(5):
        await finish(await start(tmp_path, "echo x; echo y >&2"))
    await asyncio.sleep(0.01)
    assert descriptors() <= before
