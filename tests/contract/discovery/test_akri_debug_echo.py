"""Akri's own debugEcho handler, unmodified, where ASHORE_AKRI_HANDLER names its binary (debug-echo-discovery-handler).

It looks every ten seconds at a file below /tmp, so it gets a /tmp of its own, which only root can give.
"""

import asyncio
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from ashore.bus.nats import NatsBus
from ashore.bus.server import EmbeddedServer
from tests.bus_kit import until
from tests.contract.discovery.agents import agent, ask, hearing
from tests.contract.discovery.akri_peers import until_reads
from tests.discovery.namespaces import running

BINARY = os.environ.get("ASHORE_AKRI_HANDLER", "")
LOOK_FOR = {
    "name": "words",
    "handler": "akri-debugEcho",
    "details": {"discoveryDetails": "descriptions:\n- foo\n- bar\n"},
}

pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(not BINARY, reason="ASHORE_AKRI_HANDLER names no binary of Akri's debugEcho handler"),
    pytest.mark.skipif(
        os.geteuid() != 0 or shutil.which("unshare") is None, reason="Akri's handler gets a /tmp of its own: needs root"
    ),
]


@pytest.fixture
def folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="akri-", dir="/var/tmp"))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@asynccontextmanager
async def debug_echo(folder: Path, **environment: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Akri's handler; `offline` writes the file that it looks at."""
    given = {"DISCOVERY_HANDLERS_DIRECTORY": str(folder), "DEBUG_ECHO_INSTANCES_SHARED": "false", "RUST_LOG": "info"}
    process = await asyncio.create_subprocess_exec(
        "unshare",
        "--mount",
        "sh",
        "-c",
        'exec 3<"$0" && mount -t tmpfs none /tmp && exec /proc/self/fd/3',
        BINARY,
        env=given | environment,
    )
    async with running(process):
        yield process


def offline(process: asyncio.subprocess.Process, *, really: bool) -> None:
    file = Path(f"/proc/{process.pid}/root/tmp/debug-echo-availability.txt")
    file.write_text("OFFLINE" if really else "")


async def test_akris_debug_echo_comes_goes_is_killed_and_returns(
    nats_bus: NatsBus, nats_server: EmbeddedServer, tmp_path: Path, folder: Path
) -> None:
    async with hearing(nats_bus) as ear, agent(nats_server, tmp_path, LOOK_FOR, akri_dir=folder):
        async with debug_echo(folder) as process:
            foo = await ear.until("appeared", "akri-debug-echo:foo")
            assert foo.matches[0].properties == {"DEBUG_ECHO_DESCRIPTION": "foo"}
            offline(process, really=True)
            await ear.until("disappeared", "akri-debug-echo:foo", seconds=25)
            offline(process, really=False)
            await until(lambda: ear.changes("debug-echo:foo").count("appeared") == 2, seconds=25)
            process.kill()
        await ear.until("unknown", "akri-debug-echo:bar")
        async with debug_echo(folder):
            await until(lambda: ear.states().get("bar") == "present", seconds=25)
    assert ear.changes("debug-echo:foo").count("disappeared") == 1


async def test_akris_debug_echo_outlives_an_agent_and_nothing_flaps(
    nats_bus: NatsBus, nats_server: EmbeddedServer, tmp_path: Path, folder: Path
) -> None:
    async with hearing(nats_bus) as ear, debug_echo(folder):
        for _ in range(3):
            async with agent(nats_server, tmp_path, LOOK_FOR, akri_dir=folder):
                await until_reads(lambda: ask(nats_bus, "health"), "akri-debug-echo", "events", "2 devices")
                await until(lambda: ear.states().get("foo") == "present")
    assert ear.changes("debug-echo:foo").count("appeared") == 1
    assert "disappeared" not in ear.changes("debug-echo:foo")


async def test_details_that_akris_handler_cannot_read_are_told(
    nats_bus: NatsBus, nats_server: EmbeddedServer, tmp_path: Path, folder: Path
) -> None:
    wrong = {**LOOK_FOR, "details": {"discoveryDetails": "descriptionz: []"}}
    async with agent(nats_server, tmp_path, wrong, akri_dir=folder), debug_echo(folder):
        await until_reads(lambda: ask(nats_bus, "health"), "akri-debug-echo", "degraded", "missing field")


async def test_akris_handler_serves_over_a_network_as_well(
    nats_bus: NatsBus, nats_server: EmbeddedServer, tmp_path: Path, folder: Path
) -> None:
    async with (
        hearing(nats_bus) as ear,
        agent(nats_server, tmp_path, LOOK_FOR, akri_dir=folder),
        debug_echo(folder, POD_IP="127.0.0.1", DEBUG_ECHO_INSTANCES_SHARED="true"),
    ):
        foo = await ear.until("appeared", "akri-debug-echo:foo")
        assert foo.shared
