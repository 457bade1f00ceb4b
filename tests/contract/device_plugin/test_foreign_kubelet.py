"""The same bytes, with a kubelet that nobody here wrote a codec for: grpcio's C core and generated classes."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from ashore.bus.server import EmbeddedServer
from ashore.events import DeviceNode, InstanceNode, Mount
from tests.bus_kit import until
from tests.contract.device_plugin.node import CAM, CAMS, Launcher, plugin
from tests.discovery.namespaces import running
from tests.discovery.peers import python_with

pytestmark = pytest.mark.interop

PROGRAM = Path(__file__).with_name("foreign_kubelet.py")
SLOT = "cams-4294ea-0"


class Foreign:
    """The kubelet, seen from outside."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.said: list[dict[str, Any]] = []

    async def listen(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            self.said.append(json.loads(line))

    async def send(self, **command: object) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(command).encode() + b"\n")
        await self.process.stdin.drain()

    async def until(self, key: str, value: object = None) -> dict[str, Any]:
        def found() -> list[dict[str, Any]]:
            return [one for one in self.said if key in one and value in (None, one[key])]

        await until(lambda: bool(found()), seconds=30)
        return found()[-1]

    async def asked(self, answer: str, **command: object) -> dict[str, Any]:
        self.said = [one for one in self.said if answer not in one]
        await self.send(**command)
        return await self.until(answer)


@asynccontextmanager
async def foreign(root: Path) -> AsyncIterator[Foreign]:
    for name in ("device-plugins", "pod-resources"):
        (root / name).mkdir()
    pods = root / "pod-resources" / "kubelet.sock"
    process = await asyncio.create_subprocess_exec(
        str(python_with("grpcio")), str(PROGRAM), str(root / "device-plugins"), str(pods),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    found = Foreign(process)
    listening = asyncio.create_task(found.listen())
    try:
        async with running(process):
            await found.until("ready")
            yield found
    finally:
        listening.cancel()
        with suppress(asyncio.CancelledError):
            await listening


async def test_a_foreign_kubelet_takes_everything_from_registration_to_the_last_list(
    nats_server: EmbeddedServer, root: Path, slots: Launcher
) -> None:
    here = InstanceNode(
        node="n1",
        device_nodes=[DeviceNode(host_path="/dev/video3", container_path="/dev/cam", permissions="rw")],
        mounts=[Mount(host_path="/opt/cal", container_path="/etc/cal", read_only=False)],
    )
    async with foreign(root) as kubelet, plugin(nats_server, root, cdi_dir=root / "cdi"):
        await slots.add(nodes=[here, "n2"], capacity=2, shared=True, properties={"URL": "http://käm"})
        registered = await kubelet.until("registered", CAM)
        assert registered == {"registered": CAM, "version": "v1beta1", "said": True, "answered": True}
        await kubelet.until("registered", CAMS)
        await kubelet.until("devices", {SLOT: "Healthy", "cams-4294ea-1": "Healthy"})
        got = await kubelet.asked("allocated", allocate=CAM, containers=[[SLOT], []])
        assert got["allocated"] == [
            {
                "env": {"URL": "http://käm", "URL_4294EA": "http://käm"},
                "mounts": [["/opt/cal", "/etc/cal", False]],
                "devices": [["/dev/video3", "/dev/cam", "rw"]],
                "cdi": ["akri.sh/cams=4294ea"],
            },
            {"env": {}, "mounts": [], "devices": [], "cdi": []},
        ]
        await kubelet.asked("started", start=CAM, ids=[SLOT])
        got = await kubelet.asked("preferred", prefer=CAM, available=["cams-4294ea-1", SLOT], must=[], size=1)
        assert got["preferred"] == [SLOT]
        await slots.change(usage={"cams-4294ea-1": "n2", SLOT: "n1"})
        await kubelet.until("devices", {SLOT: "Healthy", "cams-4294ea-1": "Unhealthy"})
        got = await kubelet.asked("refused", allocate=CAM, containers=[["cams-4294ea-7"]])
        assert got == {"refused": "cams-4294ea-7 is no slot of cams-4294ea, which has 2", "code": "FAILED_PRECONDITION"}
        await slots.remove()
        await kubelet.until("devices", {})
        assert (await kubelet.until("ended", CAM))["why"] == "OK"


async def test_what_a_foreign_kubelet_says_of_its_containers_keeps_slots_and_gives_them_back(
    nats_server: EmbeddedServer, root: Path, slots: Launcher
) -> None:
    async with foreign(root) as kubelet, plugin(nats_server, root, unused_seconds=0.2):
        await slots.add(shared=True)
        await kubelet.until("devices", {"cams-0": "Healthy"})
        await kubelet.send(use={CAMS: ["cams-0"]})
        await kubelet.asked("allocated", allocate=CAMS, containers=[["cams-0"]])
        looks = slots.asked.count("usage")
        await until(lambda: slots.asked.count("usage") > looks + 6)
        assert slots.usage() == {SLOT: "C:cams-0:n1"}
        await kubelet.send(use={})
        await until(lambda: slots.usage() == {})
