"""From a burst of instances on the bus to a kubelet that knows them all, in seconds; and what the plugin takes.

usage: python benchmarks/device_plugin.py [--instances N] [--rounds R] [--few N]

The device plugin is a process of its own beside a NATS server that syncs always, and a lean kubelet that asks back
within each registration and listens to each resource, as kubelets do. Akri's agent 0.13.26 was measured once, on two
cores, with a fake kubelet: 196 s for 200 resources.
"""

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, NamedTuple

sys.path.insert(0, str(Path(__file__).parent.parent))

import msgspec

from ashore.bus.nats import NatsBus, connect
from ashore.bus.server import EmbeddedServer
from ashore.events import InstanceAdded, InstanceNode
from benchmarks.onboarding import cpu_ms, memory_mb
from tests.bus_kit import publish

_SECONDS: Final = 120.0
_SETTLED_SECONDS: Final = 5.0


class Round(NamedTuple):
    """What one burst has shown."""

    published: float
    registered: float
    listed: float
    cpu: float
    full: float


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


@asynccontextmanager
async def plugin(server: EmbeddedServer, root: Path) -> AsyncIterator["subprocess.Popen[bytes]"]:
    """The device plugin, as it runs in production."""
    environ = {
        "PATH": os.environ["PATH"],
        "ASHORE_NATS_URL": server.url,
        "ASHORE_NATS_SEED_FILE": str(server.seed_file("device-plugin")),
        "ASHORE_NODE": "n1",
        "ASHORE_DATA_DIR": str(root / "data"),
        "ASHORE_HOST": "127.0.0.1",
        "ASHORE_PORT": "0",
        "ASHORE_LOG_LEVEL": "warning",
        "ASHORE_KUBELET_DIR": str(root / "device-plugins"),
        "ASHORE_POD_RESOURCES_SOCKET": str(root / "pod-resources" / "kubelet.sock"),
    }
    process = await asyncio.to_thread(
        subprocess.Popen, [sys.executable, "-m", "ashore_device_plugin"], env=environ, stdout=subprocess.DEVNULL
    )
    try:
        yield process
    finally:
        process.terminate()
        await asyncio.to_thread(process.wait)


class Kubelet:
    """The kubelet's process; `asked` says when it knew so many resources."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def line(self) -> bytes:
        """What it says next."""
        assert self._process.stdout is not None
        async with asyncio.timeout(_SECONDS):
            return await self._process.stdout.readline()

    async def asked(self, count: int) -> dict[str, float]:
        """Wait for it."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{count}\n".encode())
        return msgspec.json.decode(await self.line(), type=dict[str, float])


@asynccontextmanager
async def kubelet(root: Path) -> AsyncIterator[Kubelet]:
    """The lean kubelet."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.kubelet_target", str(root), cwd=Path(__file__).parent.parent,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        found = Kubelet(process)
        await found.line()
        yield found
    finally:
        process.terminate()
        await process.wait()


async def burst(bus: NatsBus, node: Kubelet, pid: int, numbers: range) -> Round:
    """Publish so many instances at once, and wait for the kubelet."""
    before, at = cpu_ms(pid), time.time()
    waiting = asyncio.create_task(node.asked(numbers.stop + 1))
    await asyncio.gather(*(publish(bus, instance(number)) for number in numbers))
    published, knew = time.time(), await waiting
    return Round(published - at, knew["registered"] - at, knew["listed"] - at, cpu_ms(pid) - before, memory_mb(pid))


async def one_round(few: int, many: int) -> tuple[float, Round]:
    """Memory with a few instances, and a burst."""
    with tempfile.TemporaryDirectory(prefix="dp-") as name:
        server = EmbeddedServer(Path(name) / "nats", port=0, monitor_port=0)
        await asyncio.to_thread(server.start)
        bus = await connect(server.url, name="admin", seed_file=str(server.seed_file("admin")))
        try:
            await bus.declare()
            async with kubelet(Path(name)) as node, plugin(server, Path(name)) as process:
                await burst(bus, node, process.pid, range(few))
                await asyncio.sleep(_SETTLED_SECONDS)
                idle = memory_mb(process.pid)
                return idle, await burst(bus, node, process.pid, range(few, few + many))
        finally:
            await bus.close()
            await asyncio.to_thread(server.stop)


def line(name: str, value: str, unit: str = "", other: str = "") -> None:
    """One figure, and Akri's."""
    print(f"{name:34} {value:>18} {unit:4} {other}".rstrip())


async def main(arguments: argparse.Namespace) -> None:
    """Print what there is to say."""
    rounds = [await one_round(arguments.few, arguments.instances) for _ in range(arguments.rounds)]
    bursts = [one for _, one in rounds]
    count = arguments.instances

    def median(values: Iterable[float]) -> float:
        return statistics.median(list(values))

    line("", "", "", "Akri 0.13.26")
    line(f"{count} instances on the bus", f"{median(one.published for one in bursts):.2f}", "s")
    line(f"{count} resources registered", f"{median(one.registered for one in bursts):.2f}", "s", "196 s for 200")
    line(f"{count} resources listed", f"{median(one.listed for one in bursts):.2f}", "s")
    line("CPU of the plugin for them", f"{median(one.cpu for one in bursts) / 1000:.2f}", "s")
    line(f"memory with {arguments.few} instances", f"{median(idle for idle, _ in rounds):.1f}", "MB", "13 to 14 MiB")
    line(f"memory with {count}", f"{median(one.full for one in bursts):.0f}", "MB")


if __name__ == "__main__":
    _parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    _parser.add_argument("--instances", type=int, default=2000, help="how many come at once")
    _parser.add_argument("--few", type=int, default=5, help="how many are there before, when memory is looked at")
    _parser.add_argument("--rounds", type=int, default=3, help="bursts, each with a new plugin")
    asyncio.run(main(_parser.parse_args()))
