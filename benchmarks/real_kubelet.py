"""A real kubelet without an API server, on containerd, for `benchmarks/device_plugin.py`.

It is the kubelet of `tests.kube.node`, so it needs root, containerd and runc, and that kubelet, built before. Of its
devices it tells three times: when the plugin had an answer to each registration, when it counted all devices as
allocatable (`GetAllocatableResources`), which is what the next status of its node says, and when it had written its
checkpoint for the last time. With each list that it hears it writes all ids of all resources, one after another, and
whoever asks for a device waits in that line.
"""

import asyncio
import os
import time
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Final

from ashore.grpc import CallError, Messages
from ashore_device_plugin.kubelet.calls import Line, ask
from ashore_device_plugin.kubelet.containers import LARGEST
from tests.kube.binaries import home
from tests.kube.node import containerd
from tests.kube.node.kubelet import kubelet_alone
from tests.kube.node.place import Place
from tests.kube.processes import Program

SECONDS: Final = 180.0
_LOOK_SECONDS: Final = 0.25
_QUIET_SECONDS: Final = 3.0
_ALLOCATABLE: Final = "/v1.PodResourcesLister/GetAllocatableResources"
_PODS: Final = Messages(
    "bench.v1",
    """
Allocatable devices:1:Devices*
Devices resource_name:1:string ids:2:string*
""",
)


def missing() -> str:
    """Why there is none here; an empty text where there is one."""
    if os.geteuid() != 0:
        return "a kubelet can only be run by root"
    if not (home() / "kubelet").exists():
        return "there is no kubelet: python -m tests.kube.node.kubelet builds it"
    try:
        containerd.check()
    except containerd.ToolMissingError as error:
        return str(error)
    return ""


class RealKubelet:
    """The kubelet within a place."""

    def __init__(self, place: Place, program: Program) -> None:
        self.root = place.root / "kubelet"
        self.program = program
        self._line = Line(self.root / "pod-resources" / "kubelet.sock")
        self._checkpoint = self.root / "device-plugins" / "kubelet_internal_checkpoint"

    @property
    def pid(self) -> int:
        """Its process."""
        return self.program.pid

    def close(self) -> None:
        """Ask no more."""
        self._line.close()

    async def asked(self, count: int, numbers: str) -> dict[str, float]:
        """When it knew so many, a configuration's among them; `numbers` is where the plugin counts its own."""
        async with asyncio.timeout(SECONDS):
            registered, allocatable = await asyncio.gather(self._registered(count, numbers), self._allocatable(count))
            return {"registered": registered, "listed": allocatable, "settled": await self._settled()}

    async def _registered(self, count: int, numbers: str) -> float:
        while True:
            told = await asyncio.to_thread(_numbers, numbers)
            if told.get("ashore_device_plugin_resources") == count and told["ashore_device_plugin_unregistered"] == 0:
                return time.time()
            await asyncio.sleep(_LOOK_SECONDS)

    async def _allocatable(self, count: int) -> float:
        while await self._sizes() != (count, 2 * (count - 1)):
            await asyncio.sleep(_LOOK_SECONDS)
        return time.time()

    async def _sizes(self) -> tuple[int, int]:
        """How many resources it has, and how many ids there are in all of them."""
        try:
            body = await ask(self._line, _ALLOCATABLE, b"", largest=LARGEST)
        except CallError:
            return 0, 0
        found = [one for one in _PODS.read("Allocatable", body).devices if one.resource_name.startswith("akri.sh/")]
        return len({one.resource_name for one in found}), sum(len(one.ids) for one in found)

    async def _settled(self) -> float:
        while time.time() - (written := self._checkpoint.stat().st_mtime) < _QUIET_SECONDS:
            await asyncio.sleep(_LOOK_SECONDS)
        return written


@asynccontextmanager
async def real_kubelet(_: Path) -> AsyncIterator[RealKubelet]:
    """Run one, with a containerd of its own."""
    place = Place()
    await asyncio.to_thread(place.__enter__)
    runtime = containerd.Containerd(place)
    program = kubelet_alone(place, runtime.socket)
    try:
        await asyncio.to_thread(runtime.start)
        program.start()
        await asyncio.to_thread(program.wait, (place.root / "kubelet" / "device-plugins" / "kubelet.sock").exists)
        with closing(RealKubelet(place, program)) as found:
            yield found
    finally:
        await asyncio.to_thread(program.stop)
        await asyncio.to_thread(runtime.program.stop)
        await asyncio.to_thread(place.__exit__)


def _numbers(url: str) -> dict[str, float]:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            lines = answer.read().decode().splitlines()
    except OSError:
        return {}
    pairs = (line.split() for line in lines if line.startswith("ashore_device_plugin_") and "{" not in line)
    return {name: float(value) for name, value in pairs}
