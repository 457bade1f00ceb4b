"""Devices per second and CPU per device, for ashore and, where it is there, go-fdo-server.

usage: python benchmarks/onboarding.py [--devices N] [--at-once C] [--kind p256|p384] [--rounds R]

Everything is real: HTTP over loopback, durable commits (SQLite, synchronous=FULL), a NATS server that syncs always.
The same lean device drives both servers. Where ASHORE_GO_FDO_SERVER names a binary it is measured in the same run,
interleaved, and the ratios are printed. Figures are medians over the rounds; CPU is that of the server's process alone.
"""

import argparse
import asyncio
import os
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple, Protocol, TypeVar

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks import lean_device
from benchmarks.ashore_target import SOLD, AshoreTarget
from benchmarks.go_target import GoTarget

T = TypeVar("T")
Usage = dict[str, float]
TICK_MS = 1000 / os.sysconf("SC_CLK_TCK")
WARM_UP = 40


class Target(Protocol):
    """Servers under measurement."""

    name: str
    manufacturer: str
    rendezvous: str
    owner: str
    pids: dict[str, int]
    keeps_unsold: bool
    """Whether only devices are sold at once whose serial numbers begin with SOLD; otherwise all are."""

    async def sell_and_register(self, devices: Sequence[lean_device.Device]) -> None:
        """Bring the vouchers to the owner, and wait until all are registered at the rendezvous."""


class Step(NamedTuple):
    """One protocol, measured once."""

    per_second: float
    p50_ms: float
    p99_ms: float
    cpu_ms: dict[str, float]
    """CPU of each service, per device."""


def cpu_ms(pid: int) -> float:
    """User and system time of a process and its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) * TICK_MS


def memory_mb(pid: int) -> float:
    """Resident memory of a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


def usage(target: Target) -> Usage:
    """CPU of each service until now."""
    return {name: cpu_ms(pid) for name, pid in target.pids.items()}


async def measure(target: Target, count: int, work: Callable[[], Awaitable[list[float]]], before: Usage) -> Step:
    """Run `work`, which returns the time of each of `count` devices in ms; CPU is counted from `before`."""
    started = time.perf_counter()
    times = await work()
    seconds = time.perf_counter() - started
    # What is written behind the answer (outbox, events) belongs to the device as well.
    await asyncio.sleep(1.0)
    cpu = {name: (cpu_ms(pid) - before[name]) / count for name, pid in target.pids.items()}
    times = sorted(times) or [0.0]
    return Step(count / seconds, statistics.median(times), times[int(len(times) * 0.99)], cpu)


async def each(
    items: Sequence[T], at_once: int, work: Callable[[T], Awaitable[object]]
) -> tuple[list[object], list[float]]:
    """Run `work` over all items, so many at once; results and milliseconds."""
    limit = asyncio.Semaphore(at_once)
    times: list[float] = []

    async def one(item: T) -> object:
        async with limit:
            started = time.perf_counter()
            result = await work(item)
            times.append((time.perf_counter() - started) * 1000)
            return result

    return list(await asyncio.gather(*(one(item) for item in items))), times


async def round_trip(target: Target, count: int, at_once: int, kind: str, tag: str) -> dict[str, Step]:
    """DI, TO0, TO1, TO2 of `count` devices."""
    steps: dict[str, Step] = {}
    devices: list[lean_device.Device] = []
    redirects: list[lean_device.RVRedirect] = []

    async def di(prefix: str) -> list[float]:
        found, times = await each(
            [f"{prefix}{tag}-{number}" for number in range(count)],
            at_once,
            lambda serial: lean_device.initialise(target.manufacturer, serial, kind),
        )
        devices[:] = found
        return times

    async def to0() -> list[float]:
        await target.sell_and_register(devices)
        return []

    async def to1() -> list[float]:
        found, times = await each(devices, at_once, lambda device: lean_device.redirect(target.rendezvous, device))
        redirects.extend(found)
        return times

    async def to2() -> list[float]:
        pairs = list(zip(devices, redirects, strict=True))
        _, times = await each(pairs, at_once, lambda pair: lean_device.onboard(target.owner, pair[0], pair[1].sign1))
        return times

    if target.keeps_unsold:
        steps["DI"] = await measure(target, count, partial(di, "kept-"), usage(target))
    began = usage(target)
    steps["DI, sold"] = await measure(target, count, partial(di, SOLD), began)
    # A voucher that is sold by rule is registered at once, while others are still being made: TO0 begins with DI.
    steps["TO0"] = await measure(target, count, to0, began)
    steps["TO1"] = await measure(target, count, to1, usage(target))
    steps["TO2"] = await measure(target, count, to2, usage(target))
    return steps


SERVICE = {
    "DI": ("manufacturer",),
    "DI, sold": ("manufacturer",),
    "TO0": ("owner", "rendezvous"),
    "TO1": ("rendezvous",),
    "TO2": ("owner",),
}


def table(target: Target, rounds: list[dict[str, Step]]) -> dict[tuple[str, str], float]:
    """Print the medians of one target; CPU by (protocol, service)."""
    print(f"\n{target.name}")
    print(f"  {'':8} {'per s':>8} {'p50 ms':>8} {'p99 ms':>8}   CPU ms per device")
    cpu: dict[tuple[str, str], float] = {}
    for protocol, services in SERVICE.items():
        steps = [steps[protocol] for steps in rounds if protocol in steps]
        if not steps:
            continue
        for service in services:
            cpu[protocol, service] = statistics.median(step.cpu_ms[service] for step in steps)
        parts = ", ".join(f"{service} {cpu[protocol, service]:.2f}" for service in services)
        medians = (
            statistics.median(getattr(step, what) for step in steps) for what in ("per_second", "p50_ms", "p99_ms")
        )
        print("  {:8} {:8.0f} {:8.1f} {:8.1f}   {}".format(protocol, *medians, parts))
    return cpu


def read_arguments(about: str | None, devices: int) -> argparse.Namespace:
    """What a measurement of onboardings may be told, from the command line."""
    parser = argparse.ArgumentParser(description=(about or "").split("\n", 1)[0])
    parser.add_argument("--devices", type=int, default=devices)
    parser.add_argument("--at-once", type=int, default=16)
    parser.add_argument("--kind", choices=sorted(lean_device.CURVES), default="p256")
    parser.add_argument("--rounds", type=int, default=3)
    return parser.parse_args()


async def main() -> None:
    """Measure and print."""
    arguments = read_arguments(__doc__, 400)
    factories = [AshoreTarget] + ([GoTarget] if os.environ.get("ASHORE_GO_FDO_SERVER") else [])
    results: dict[str, dict[tuple[str, str], float]] = {}
    for factory in factories:
        async with factory(arguments.kind) as target:
            idle = ", ".join(f"{name} {memory_mb(pid):.0f}" for name, pid in target.pids.items())
            await round_trip(target, WARM_UP, arguments.at_once, arguments.kind, "warm")
            rounds = [
                await round_trip(target, arguments.devices, arguments.at_once, arguments.kind, f"r{number}")
                for number in range(arguments.rounds)
            ]
            results[target.name] = table(target, rounds)
            after = ", ".join(f"{name} {memory_mb(pid):.0f}" for name, pid in target.pids.items())
            print(f"  memory MB idle: {idle}; after: {after}")
    if len(results) > 1:
        ours, theirs = results.values()
        print("\nCPU, theirs / ours")
        for key in theirs:
            print(f"  {key[0]:8} {key[1]:14} {theirs[key] / max(ours[key], 0.001):6.1f} x")


if __name__ == "__main__":
    asyncio.run(main())
