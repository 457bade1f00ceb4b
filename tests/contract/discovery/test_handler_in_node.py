"""examples/handler-in-node, as it is: registered, configured, heard, and again with an agent that was restarted."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from ashore.bus.nats import NatsBus
from ashore.bus.server import EmbeddedServer
from tests.contract.discovery.agents import agent, hearing
from tests.discovery.namespaces import running
from tests.discovery.peers import modules_with

EXAMPLE = Path(__file__).parents[3] / "examples/handler-in-node"

pytestmark = pytest.mark.interop


@asynccontextmanager
async def example(server: EmbeddedServer, folder: Path) -> AsyncIterator[None]:
    """The example, beside the packages that it imports."""
    shutil.copy(EXAMPLE / "handler.mjs", folder)
    (folder / "node_modules").symlink_to(modules_with("nats"))
    environment = {
        "PATH": os.environ["PATH"],
        "ASHORE_NATS_URL": server.url,
        "ASHORE_NATS_SEED_FILE": str(server.seed_file("admin")),
        "ASHORE_SITE": "s1",
        "ASHORE_NODE": "n1",
    }
    process = await asyncio.create_subprocess_exec("node", str(folder / "handler.mjs"), env=environment)
    async with running(process):
        yield


async def test_the_example_sees_files_come_and_go(
    nats_bus: NatsBus, nats_server: EmbeddedServer, tmp_path: Path
) -> None:
    tools, program = tmp_path / "tools", tmp_path / "program"
    tools.mkdir()
    program.mkdir()
    (tools / "drill").write_text("8 mm")
    look_for = {"name": "tools", "handler": "folder", "details": {"folder": str(tools)}}
    async with hearing(nats_bus) as ear, example(nats_server, program):
        async with agent(nats_server, tmp_path, look_for):
            drill = await ear.until("appeared", "drill")
            (tools / "saw").write_text("60 teeth")
            await ear.until("appeared", "saw")
            (tools / "saw").unlink()
            await ear.until("disappeared", "saw")
        async with agent(nats_server, tmp_path, look_for):
            (tools / "hammer").write_text("2 kg")
            await ear.until("appeared", "hammer", seconds=30)
    assert drill.matches[0].properties["TEXT"] == "8 mm"
    assert ear.changes("drill").count("appeared") == 1
    assert "disappeared" not in ear.changes("drill")
