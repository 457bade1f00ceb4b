"""The device plugin as a process: how it begins and ends."""

import asyncio
import os
import signal
import sys
from pathlib import Path

from ashore.bus.server import EmbeddedServer
from tests.bus_kit import until
from tests.contract.device_plugin.fake_kubelet import FakeKubelet
from tests.contract.device_plugin.node import CAM, Launcher


async def started(**environ: str) -> asyncio.subprocess.Process:
    given = {"PATH": os.environ["PATH"], "ASHORE_HOST": "127.0.0.1", "ASHORE_PORT": "0", "ASHORE_NODE": "n1"}
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "ashore_device_plugin", env={**given, **environ},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip


def loaded(pid: int, *libraries: str) -> list[str]:
    """Those whose compiled parts the process has in its memory."""
    mapped = Path(f"/proc/{pid}/maps").read_text()
    return [name for name in libraries if f"/{name}/" in mapped]


async def test_wrong_settings_are_told_all_together() -> None:
    process = await started(ASHORE_NODE="Not A Token", ASHORE_CHECK_SECONDS="never")
    _, told = await process.communicate()
    assert process.returncode == 2
    assert b"ASHORE_NODE is" in told
    assert b"ASHORE_CHECK_SECONDS is" in told


async def test_it_offers_until_it_is_told_to_stop_and_loads_nothing_that_a_node_need_not_have(
    nats_server: EmbeddedServer, root: Path, node: FakeKubelet, slots: Launcher
) -> None:
    await slots.add()
    process = await started(
        ASHORE_NATS_URL=nats_server.url,
        ASHORE_NATS_SEED_FILE=str(nats_server.seed_file("device-plugin")),
        ASHORE_DATA_DIR=str(root / "data"),
        ASHORE_KUBELET_DIR=str(node.folder),
        ASHORE_POD_RESOURCES_SOCKET=str(node.pods),
    )
    try:
        await until(lambda: node.healthy(CAM) == {"cams-4294ea-0"}, seconds=40)
        assert not loaded(process.pid, "cryptography", "sqlalchemy", "httptools", "uvloop")
    finally:
        process.send_signal(signal.SIGTERM)
        out, told = await process.communicate()
    assert (process.returncode, told) == (0, b"")
    assert b"stopped" in out
    assert not list(node.folder.glob("ashore-*.sock"))
