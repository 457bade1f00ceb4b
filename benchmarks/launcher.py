"""From a device that is seen to a Pod in a real API server, in milliseconds; bursts, restarts, memory.

usage: python benchmarks/launcher.py [--devices N] [--burst N] [--instances N] [--rounds R]

Everything is real: etcd, kube-apiserver, a NATS server that syncs always, the launcher as a process of its own. Nothing
plays a kubelet, so a Pod that is deleted goes at once. Akri's figures were measured once, on two cores, with its
release 0.13.26, a handler that pushes at once, and a real API server.
BENCH_LOG names a file for what the launcher says.
"""

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
import time
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from secrets import token_hex
from typing import Final

sys.path.insert(0, str(Path(__file__).parent.parent))

from ashore.bus.nats import NatsBus, connect
from ashore.bus.server import EmbeddedServer
from ashore_broker_launcher.cluster import CONFIGURATION, INSTANCE, POD, Change
from ashore_broker_launcher.crds.install import ensure
from ashore_broker_launcher.launchers.kubernetes.access import from_files
from ashore_broker_launcher.launchers.kubernetes.cluster import KubernetesCluster
from benchmarks.onboarding import cpu_ms, memory_mb
from tests.bus_kit import publish
from tests.kube import binaries
from tests.kube.api import Api
from tests.kube.control_plane import ControlPlane, free_ports
from tests.kube.users import namespace
from tests.launcher_kit import configuration
from tests.unit.launcher.kit import alive, seen

_SECONDS: Final = 300.0
_AT_ONCE: Final = 64
_NEW_KIND_SECONDS: Final = 2.5
AKRI: Final = {"seen to Pod": (21.0, 66.0), "gone to Pod deleted": (923.0, 1192.0), "burst": 37.0}


class Target:
    """A launcher at work, and who watches what it does."""

    def __init__(self, bus: NatsBus, cluster: KubernetesCluster, place: str, environment: dict[str, str]) -> None:
        self.bus, self.cluster, self.place = bus, cluster, place
        self._environment = environment
        self._process: asyncio.subprocess.Process | None = None
        self._revision = 0
        self.pods: dict[str, float] = {}
        self.gone: dict[str, float] = {}
        self.changed = asyncio.Event()

    @property
    def pid(self) -> int:
        return self._process.pid if self._process else 0

    async def start(self) -> float:
        """Start the launcher; the answer is when."""
        began = time.monotonic()
        with Path(os.environ.get("BENCH_LOG", os.devnull)).open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "ashore_broker_launcher", env=self._environment, stdout=log, stderr=log
            )
        return began

    async def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            await self._process.wait()

    async def number(self, name: str) -> float:
        """The sum of one of its metrics; below nothing while it does not answer."""
        try:
            text = await asyncio.to_thread(self._metrics)
        except OSError:
            return -1.0
        return sum(float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(name))

    async def settled(self, at_least: float) -> None:
        """Wait until it has looked at so much, and nothing is left."""
        async with asyncio.timeout(_SECONDS):
            while await self.number("ashore_passes_total") < at_least or await self.number("ashore_waiting"):
                await asyncio.sleep(0.05)

    def _metrics(self) -> str:
        with urllib.request.urlopen(
            f"http://127.0.0.1:{self._environment['ASHORE_PORT']}/metrics", timeout=5
        ) as answer:
            return answer.read().decode()

    async def tell(self, key: str, change: str = "appeared") -> float:
        """Say that a device is there, or not; the answer is when."""
        self._revision += 1
        event = seen(key, revision=self._revision, change=change, shared=True, configurations=(f"{self.place}.cams",))
        began = time.monotonic()
        await publish(self.bus, event, token_hex(8))
        return began

    async def live(self) -> None:
        await publish(self.bus, alive(), token_hex(8))

    async def watch(self) -> None:
        await self.cluster.reflect(POD, namespace=self.place).run(self._note)

    def _note(self, change: Change) -> None:
        now = time.monotonic()
        body = change.now or change.before or {}
        device = body["metadata"]["labels"]["akri.sh/instance"]
        if change.now is None:
            self.gone[device] = now
        else:
            self.pods.setdefault(device, now)
        self.changed.set()

    async def until(self, pods: int = 0, gone: int = 0) -> None:
        async with asyncio.timeout(_SECONDS):
            while len(self.pods) < pods or len(self.gone) < gone:
                self.changed.clear()
                await self.changed.wait()


@asynccontextmanager
async def target(folder: Path) -> AsyncIterator[Target]:
    """A control plane, a bus, a launcher."""
    with ControlPlane(binaries.find(), folder) as plane:
        plane.run_controllers()
        config = plane.access.write(folder / "kubeconfig")
        server = EmbeddedServer(folder / "nats", port=free_ports(1)[0], monitor_port=free_ports(1)[0])
        server.start()
        bus = await connect(server.url, name="admin", seed_file=str(server.seed_file("admin")))
        async with (
            Api(plane.access) as api,
            namespace(api) as place,
            KubernetesCluster(from_files([config])) as cluster,
        ):
            await bus.declare()
            await ensure(cluster, install=True)
            # The API server holds up whatever is created of a kind that it has known for less than this.
            await asyncio.sleep(_NEW_KIND_SECONDS)
            await cluster.apply(CONFIGURATION, configuration(place, capacity=1), manager="user")
            made = Target(bus, cluster, place, _environment(folder, server, config, place))
            watching = asyncio.create_task(made.watch())
            await made.start()
            try:
                await made.settled(1)
                await made.live()
                yield made
            finally:
                await made.stop()
                watching.cancel()
                await bus.close()
                server.stop()


def _environment(folder: Path, server: EmbeddedServer, config: Path, place: str) -> dict[str, str]:
    return {
        **os.environ,
        "ASHORE_PORT": str(free_ports(1)[0]),
        "ASHORE_HOST": "127.0.0.1",
        "ASHORE_DATA_DIR": str(folder / "launcher"),
        "ASHORE_NATS_URL": server.url,
        "ASHORE_NATS_SEED_FILE": str(server.seed_file("admin")),
        "ASHORE_LAUNCHER": "kubernetes",
        "ASHORE_KUBECONFIG": str(config),
        "ASHORE_NAMESPACE": place,
        "ASHORE_LEASE_NAMESPACE": place,
        "ASHORE_LOG_LEVEL": "warning",
    }


async def one_at_a_time(made: Target, count: int) -> tuple[list[float], list[float]]:
    """Milliseconds from a sighting to its Pod, and from a departure to no Pod."""
    came, went = [], []
    for number in range(count):
        made.pods.clear()
        made.gone.clear()
        began = await made.tell(f"serial-one-{number}")
        await made.until(pods=1)
        came.append(1000 * (next(iter(made.pods.values())) - began))
        await asyncio.sleep(0.05)
        began = await made.tell(f"serial-one-{number}", "disappeared")
        await made.until(gone=1)
        went.append(1000 * (next(iter(made.gone.values())) - began))
        await asyncio.sleep(0.05)
    return came, went


async def burst(made: Target, first: int, count: int) -> float:
    """Instances with their Pods in a second."""
    before = len(made.pods)
    room = asyncio.Semaphore(_AT_ONCE)

    async def tell(number: int) -> None:
        async with room:
            await made.tell(f"serial-many-{number}")

    began = time.monotonic()
    telling = asyncio.gather(*(tell(first + number) for number in range(count)))
    await made.until(pods=before + count)
    await telling
    return count / (max(made.pods.values()) - began)


async def restart(made: Target, instances: int) -> tuple[float, float, float]:
    """Seconds until a new launcher has looked at everything, its writes meanwhile, its CPU in ms."""
    await made.stop()
    began = await made.start()
    await made.settled(2 * instances)
    return time.monotonic() - began, max(0.0, await made.number("ashore_writes_total")), cpu_ms(made.pid)


async def measure(devices: int, many: int, instances: int, rounds: int) -> None:
    """Measure all, and print each as it is there."""
    with tempfile.TemporaryDirectory() as folder:
        async with target(Path(folder)) as made:
            idle = memory_mb(made.pid)
            show("memory, idle", f"{idle:.0f} MB", "<= 60", "13 MiB")
            found = [await one_at_a_time(made, devices) for _ in range(rounds)]
            for name, times in zip(("seen to Pod", "gone to Pod deleted"), zip(*found, strict=True), strict=True):
                middle = statistics.median(statistics.median(one) for one in times)
                high = statistics.median(percentile(one, 99) for one in times)
                show(name, f"{middle:.1f} / {high:.1f} ms", "<= 20 / 80" if "seen" in name else "<= 25", shown(name))
            made.pods.clear()
            before = cpu_ms(made.pid)
            rate = await burst(made, 0, many)
            await made.settled(0)
            spent = (cpu_ms(made.pid) - before) / many
            show(f"burst of {many}", f"{rate:.0f} instances/s with a Pod", ">= 150", f"{AKRI['burst']:.0f}")
            show("CPU of the launcher for each", f"{spent:.2f} ms", "", "")
            await many_and_a_restart(made, many, instances)


async def many_and_a_restart(made: Target, many: int, instances: int) -> None:
    """Memory with so many instances, and what a new launcher does with them."""
    if instances > many:
        await burst(made, many, instances - many)
        await made.settled(0)
    show(f"memory, {instances} instances", f"{memory_mb(made.pid):.0f} MB", "<= 150", "")
    await asyncio.sleep(3)
    versions = await _versions(made)
    seconds, writes, cpu = await restart(made, instances)
    same = await _versions(made) == versions
    writes_text = f"{writes:.0f} writes, {'nothing' if same else 'SOMETHING'} changed"
    show(f"restart with {instances}", f"{seconds:.1f} s ({cpu / 1000:.1f} s CPU), {writes_text}", "< 10 s, 0", "")


async def _versions(made: Target) -> dict[str, str]:
    objects = [await made.cluster.list(kind, namespace=made.place) for kind in (INSTANCE, POD)]
    return {one["metadata"]["uid"]: one["metadata"]["resourceVersion"] for found in objects for one in found}


def percentile(values: list[float], part: int) -> float:
    """The value below which so many of a hundred are."""
    return sorted(values)[min(len(values) - 1, len(values) * part // 100)]


def shown(name: str) -> str:
    """Akri's figures."""
    middle, high = AKRI[name]
    return f"{middle:.0f} / {high:.0f} ms"


def show(what: str, seen_: str, asked: str, akri: str) -> None:
    """One line of the table."""
    print(f"{what:32} {seen_:44} {asked:12} {akri}", flush=True)


def main() -> None:
    """Read the arguments, and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--devices", type=int, default=40, help="one after the other")
    parser.add_argument("--burst", type=int, default=2000, help="at once")
    parser.add_argument("--instances", type=int, default=5000, help="for memory and the restart")
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    print(f"{'':32} {'seen here (p50 / p99)':44} {'asked':12} Akri")
    asyncio.run(measure(chosen.devices, chosen.burst, chosen.instances, chosen.rounds))


if __name__ == "__main__":
    main()
