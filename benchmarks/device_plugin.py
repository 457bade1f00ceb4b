"""From a burst of instances on the bus to a kubelet that knows them all, in seconds; and what the plugin takes.

usage: python benchmarks/device_plugin.py [--instances N] [--rounds R] [--few N] [--kubelet lean|real]

The device plugin is a process of its own beside a NATS server that syncs always, and two kubelets, one after another: a
lean one that asks back within each registration and listens to each resource, as kubelets do, and a real one where
there is one (`benchmarks/real_kubelet.py`), which says what its part takes. Akri's agent 0.13.26 was measured once, on
two cores, with a fake kubelet: 196 s for 200 resources.

Where TMPDIR is on ext4 a round is slower when the one before has ended within the last minute: that file system looks
through what was deleted lately for each file that is made. `TMPDIR=/dev/shm` leaves the disk out.
"""

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Final, NamedTuple, Protocol

sys.path.insert(0, str(Path(__file__).parent.parent))

import msgspec

from ashore.bus.nats import NatsBus, connect
from ashore.bus.server import EmbeddedServer
from ashore.events import InstanceAdded, InstanceNode
from benchmarks.onboarding import cpu_ms, memory_mb
from benchmarks.ports import free_port
from benchmarks.real_kubelet import missing, real_kubelet
from tests.bus_kit import publish
from tests.kube.binaries import home

_SECONDS: Final = 120.0
_SETTLED_SECONDS: Final = 5.0


class Kubelet(Protocol):
    """Whoever plays the kubelet."""

    root: Path
    """Its folder."""

    @property
    def pid(self) -> int:
        """Its process."""
        ...

    async def asked(self, count: int, numbers: str) -> dict[str, float]:
        """When so many resources were registered, listed, and all work for them was done."""
        ...


MakeKubelet = Callable[[Path], AbstractAsyncContextManager[Kubelet]]


class Round(NamedTuple):
    """What one burst has shown."""

    published: float
    registered: float
    listed: float
    settled: float
    cpu: float
    full: float
    kubelet_cpu: float
    kubelet_full: float


def instance(number: int) -> InstanceAdded:
    """A device that only this node sees."""
    name = f"bench-{number:06x}"
    return InstanceAdded(
        site="site",
        namespace="default",
        configuration="bench",
        instance=name,
        uid=f"uid-{number}",
        device=name,
        nodes=[InstanceNode(node="n1")],
        properties={"DEVICE_PATH": f"/dev/video{number}", "SERIAL": f"{number:012}"},
    )


class Plugin(NamedTuple):
    """The device plugin."""

    pid: int
    numbers: str
    """Where it tells them."""


@asynccontextmanager
async def plugin(server: EmbeddedServer, data: Path, root: Path) -> AsyncIterator[Plugin]:
    """The device plugin, as it runs in production."""
    port = free_port()
    environ = {
        "PATH": os.environ["PATH"],
        "ASHORE_NATS_URL": server.url,
        "ASHORE_NATS_SEED_FILE": str(server.seed_file("device-plugin")),
        "ASHORE_NODE": "n1",
        "ASHORE_DATA_DIR": str(data),
        "ASHORE_HOST": "127.0.0.1",
        "ASHORE_PORT": str(port),
        "ASHORE_LOG_LEVEL": "warning",
        "ASHORE_KUBELET_DIR": str(root / "device-plugins"),
        "ASHORE_POD_RESOURCES_SOCKET": str(root / "pod-resources" / "kubelet.sock"),
    }
    process = await asyncio.to_thread(
        subprocess.Popen, [sys.executable, "-m", "ashore_device_plugin"], env=environ, stdout=subprocess.DEVNULL
    )
    try:
        yield Plugin(process.pid, f"http://127.0.0.1:{port}/metrics")
    finally:
        process.terminate()
        await asyncio.to_thread(process.wait)


class LeanKubelet:
    """The lean kubelet's process."""

    def __init__(self, root: Path, process: asyncio.subprocess.Process) -> None:
        self.root = root
        self._process = process

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    async def line(self) -> bytes:
        """What it says next."""
        assert self._process.stdout is not None
        async with asyncio.timeout(_SECONDS):
            return await self._process.stdout.readline()

    async def asked(self, count: int, _: str) -> dict[str, float]:
        """Wait for it; it does nothing after it has the lists."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{count}\n".encode())
        knew = msgspec.json.decode(await self.line(), type=dict[str, float])
        return {**knew, "settled": knew["listed"]}


@asynccontextmanager
async def lean_kubelet(root: Path) -> AsyncIterator[LeanKubelet]:
    """The lean kubelet."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.kubelet_target", str(root), cwd=Path(__file__).parent.parent,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        found = LeanKubelet(root, process)
        await found.line()
        yield found
    finally:
        process.terminate()
        await process.wait()


async def burst(bus: NatsBus, node: Kubelet, device_plugin: Plugin, numbers: range) -> Round:
    """Publish so many instances at once, and wait for the kubelet."""
    before, kubelet_before, at = cpu_ms(device_plugin.pid), cpu_ms(node.pid), time.time()
    waiting = asyncio.create_task(node.asked(numbers.stop + 1, device_plugin.numbers))
    await asyncio.gather(*(publish(bus, instance(number)) for number in numbers))
    published, knew = time.time(), await waiting
    return Round(
        published - at,
        *(knew[what] - at for what in ("registered", "listed", "settled")),
        cpu_ms(device_plugin.pid) - before,
        memory_mb(device_plugin.pid),
        cpu_ms(node.pid) - kubelet_before,
        memory_mb(node.pid),
    )


async def one_round(kubelet: MakeKubelet, few: int, many: int) -> tuple[float, Round]:
    """Memory with a few instances, and a burst."""
    with tempfile.TemporaryDirectory(prefix="dp-") as name:
        root = Path(name)
        server = EmbeddedServer(root / "nats", port=0, monitor_port=0)
        await asyncio.to_thread(server.start)
        bus = await connect(server.url, name="admin", seed_file=str(server.seed_file("admin")))
        try:
            await bus.declare()
            async with kubelet(root) as node, plugin(server, root / "data", node.root) as made:
                await burst(bus, node, made, range(few))
                await asyncio.sleep(_SETTLED_SECONDS)
                idle = memory_mb(made.pid)
                return idle, await burst(bus, node, made, range(few, few + many))
        finally:
            await bus.close()
            await asyncio.to_thread(server.stop)


def line(name: str, value: str, unit: str = "", other: str = "") -> None:
    """One figure, and Akri's."""
    print(f"{name:34} {value:>18} {unit:4} {other}".rstrip())


async def measure(title: str, kubelet: MakeKubelet, arguments: argparse.Namespace) -> None:
    """Print what there is to say with one kubelet."""
    rounds = [await one_round(kubelet, arguments.few, arguments.instances) for _ in range(arguments.rounds)]
    bursts = [one for _, one in rounds]
    count = arguments.instances

    def median(values: Iterable[float]) -> float:
        return statistics.median(list(values))

    line(title, "", "", "Akri 0.13.26")
    line(f"{count} instances on the bus", f"{median(one.published for one in bursts):.2f}", "s")
    line(f"{count} resources registered", f"{median(one.registered for one in bursts):.2f}", "s", "196 s for 200")
    line(f"{count} resources allocatable", f"{median(one.listed for one in bursts):.2f}", "s")
    line("the kubelet is at rest again", f"{median(one.settled for one in bursts):.2f}", "s")
    line("CPU of the plugin for them", f"{median(one.cpu for one in bursts) / 1000:.2f}", "s")
    line("CPU of the kubelet for them", f"{median(one.kubelet_cpu for one in bursts) / 1000:.2f}", "s")
    line(f"memory with {arguments.few} instances", f"{median(idle for idle, _ in rounds):.1f}", "MB", "13 to 14 MiB")
    line(f"memory with {count}", f"{median(one.full for one in bursts):.0f}", "MB")
    line("memory of the kubelet then", f"{median(one.kubelet_full for one in bursts):.0f}", "MB")
    print()


async def main(arguments: argparse.Namespace) -> None:
    """Measure with both kubelets."""
    print(f"the load of this machine before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores\n")
    if "lean" in arguments.kubelet:
        await measure("with a lean kubelet", lean_kubelet, arguments)
    if "real" not in arguments.kubelet:
        return
    if why := missing():
        print(f"not measured with a real kubelet: {why}")
    else:
        await measure(f"with a real kubelet, {home().name}", real_kubelet, arguments)


if __name__ == "__main__":
    _parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    _parser.add_argument("--instances", type=int, default=2000, help="how many come at once")
    _parser.add_argument("--few", type=int, default=5, help="how many are there before, when memory is looked at")
    _parser.add_argument("--kubelet", choices=("lean", "real"), nargs="*", default=["lean", "real"], help="with which")
    _parser.add_argument("--rounds", type=int, default=3, help="bursts, each with a new plugin")
    asyncio.run(main(_parser.parse_args()))
