"""From a device that appears to a subscriber of the bus, in milliseconds; and what the agent takes of its machine.

usage: python benchmarks/discovery.py [--events N] [--devices N] [--rounds R] [--idle SECONDS]

Everything is real: tap interfaces of this kernel, packets across network namespaces, a NATS server that syncs always,
the agent as a process of its own. Where root or a handler is missing, a line says so. Figures are medians over rounds.
Akri's were measured once, on two cores, with its agent 0.13.26 and a real API server, from the device to its Instance.
"""

import argparse
import asyncio
import fcntl
import importlib.metadata
import json
import os
import shutil
import socket
import statistics
import struct
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).parent.parent))

import structlog

from benchmarks.agent_target import AgentTarget, end_in_order, running, token
from benchmarks.announcements import MOSQUITTO, announcements
from benchmarks.onboarding import cpu_ms, memory_mb
from benchmarks.packets import PAUSE_SECONDS, WIRES

_TUNSETIFF, _TAP = 0x400454CA, 0x1002
_TUN: Final = Path("/dev/net/tun")
_TAPS: Final = {"name": "taps", "handler": "udev", "details": {"udevRules": ['KERNEL=="a5b0*"']}}
_ANSWER_SECONDS: Final = 60.0
_UEVENTS: Final = 15  # NETLINK_KOBJECT_UEVENT
_BEAT_SECONDS: Final = 11.0
"""Longer than the default heartbeat, with which memory is given back."""
_MOST: Final = 2000
_MOST_STRANGERS: Final = 40


def tap(number: int) -> int:
    """A network device, for as long as the answer is open."""
    handle = os.open(_TUN, os.O_RDWR)
    fcntl.ioctl(handle, _TUNSETIFF, struct.pack("16sH22x", token(number).encode(), _TAP))
    return handle


class KernelEvents:
    """Hears the kernel beside the agent, and notes when it told of each of our devices, by time.time()."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, _UEVENTS)
        self._socket.bind((0, 1))
        self._told: dict[str, float] = {}
        threading.Thread(target=self._listen, daemon=True).start()

    def at(self, number: int) -> float:
        """When it told that this device is there; who asks has heard of it already by a longer way."""
        return self._told[token(number)]

    def _listen(self) -> None:
        while True:
            event = self._socket.recv(8192)
            now = time.time()
            action, _, path = event.partition(b"\0")[0].decode(errors="replace").partition("@")
            if action == "add" and "/queues" not in path:
                self._told[path.rpartition("/")[2]] = now


async def kernel_events(target: AgentTarget, kernel: KernelEvents, count: int) -> tuple[list[float], list[float]]:
    """Milliseconds from the kernel's event to the subscriber, and to the reader of the stream."""
    times, stored = [], []
    for number in range(count):
        came, went = target.expect("appeared", number), target.expect("disappeared", number)
        kept = target.expect("appeared", number, stored=True)
        handle = tap(number)
        async with asyncio.timeout(_ANSWER_SECONDS):
            heard, read = await asyncio.gather(came, kept)
            os.close(handle)
            await went
        times.append((heard - kernel.at(number)) * 1000)
        stored.append((read - kernel.at(number)) * 1000)
        await asyncio.sleep(PAUSE_SECONDS)
    return times, stored


async def burst(target: AgentTarget, count: int) -> float:
    """Seconds until the subscriber has heard of all of these devices, which come as fast as the kernel makes them."""
    came = [target.expect("appeared", number) for number in range(count)]
    went = [target.expect("disappeared", number) for number in range(count)]
    handles: list[int] = []
    at = time.time()
    try:
        for number in range(count):
            handles.append(tap(number))  # noqa: PERF401 - those that were made are closed whatever happens
        async with asyncio.timeout(_ANSWER_SECONDS):
            last = max(await asyncio.gather(*came))
    finally:
        # The kernel takes a while for each, and others of this process shall go on.
        await asyncio.to_thread(lambda: [os.close(handle) for handle in handles])
    async with asyncio.timeout(_ANSWER_SECONDS):
        await asyncio.gather(*went)
    return last - at


async def kernel(arguments: argparse.Namespace) -> None:
    """Print what there is to say of udev."""
    if os.geteuid() != 0 or not _TUN.exists():
        line("kernel event", "skipped: making devices needs root and /dev/net/tun")
        return
    told = KernelEvents()
    async with running([_TAPS]) as target:
        await asyncio.sleep(1)
        idle, before = memory_mb(target.pid), cpu_ms(target.pid)
        await asyncio.sleep(arguments.idle)
        cpu = (cpu_ms(target.pid) - before) / arguments.idle / 10
        rounds = [await kernel_events(target, told, arguments.events) for _ in range(arguments.rounds)]
        akri = "130 / 4378 / 9397 ms min, p50, max; 10 s polls"
        line("kernel event", percentiles([one for one, _ in rounds]), "ms", akri)
        line("  and on disk", percentiles([one for _, one in rounds]), "ms")
        seconds = statistics.median([await burst(target, arguments.devices) for _ in range(arguments.rounds)])
        line(f"{arguments.devices} devices at once", f"{seconds:.2f}", "s", "2.2 s for 200")
        peak = memory_mb(target.pid)
        await asyncio.sleep(_BEAT_SECONDS)
        after = f"{idle:.0f} / {peak:.0f} / {memory_mb(target.pid):.0f}"
        line("memory idle / full / after", after, "MB", "13 MiB idle, 21 with 100 devices")
        line("CPU idle, % of a core", f"{cpu:.2f}", "", "0.01 to 0.02")


async def packets(arguments: argparse.Namespace) -> None:
    """Print what there is to say of handlers of networks."""
    installed = {entry.name for entry in importlib.metadata.entry_points(group="ashore.discovery.handlers")}
    for handler in WIRES:
        name = f"{handler} packet"
        if handler not in installed:
            line(name, "skipped: the handler is not installed")
        elif os.geteuid() != 0 or shutil.which("ip") is None:
            line(name, "skipped: network namespaces need root and iproute2")
        else:
            # Each round has an agent of its own: strangers who never end are put into quarantine, as they should be.
            count = min(arguments.events, _MOST_STRANGERS)
            rounds = [one for _ in range(arguments.rounds) for one in await _across(handler, count, 1)]
            line(name, percentiles(rounds), "ms", "10 s polls")


async def mqtt(arguments: argparse.Namespace) -> None:
    """Print what there is to say of MQTT."""
    if MOSQUITTO is None:
        line("mqtt birth", "skipped: mosquitto is not installed")
        return
    count = min(arguments.events, _MOST_STRANGERS)
    rounds = [await announcements(count) for _ in range(arguments.rounds)]
    line("mqtt birth", percentiles([born for born, _ in rounds]), "ms")
    line("mqtt will", percentiles([gone for _, gone in rounds]), "ms")


async def _across(handler: str, events: int, rounds: int) -> list[list[float]]:
    from tests.discovery.namespaces import lan  # noqa: PLC0415 - it needs pytest

    words = ("benchmarks.packets", handler)
    async with lan(2) as (here, there):
        process = await here.python(
            *words,
            there.name,
            str(events),
            str(rounds),
            stdout=asyncio.subprocess.PIPE,
            cwd=Path(__file__).parent.parent,
        )
        try:
            out, _ = await process.communicate()
        finally:
            if process.returncode is None:
                process.terminate()
                await process.wait()
    return [json.loads(text) for text in out.splitlines() if text.startswith(b"[")]


def percentiles(rounds: Sequence[Sequence[float]]) -> str:
    """The medians over the rounds of p50 and p99."""
    if not rounds:
        return "failed: see above"
    ordered = [sorted(times) for times in rounds]
    p50 = statistics.median(statistics.median(times) for times in ordered)
    p99 = statistics.median(times[int(len(times) * 0.99)] for times in ordered)
    return f"{p50:.1f} / {p99:.1f}"


def line(what: str, ours: str, unit: str = "", akri: str = "") -> None:
    """One row."""
    print(f"  {what:28} {ours + ' ' + unit:24} {akri}".rstrip(), flush=True)


async def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--events", type=int, default=100)
    parser.add_argument("--devices", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--idle", type=float, default=20.0)
    arguments = parser.parse_args()
    if not 0 < arguments.devices <= _MOST or not 0 < arguments.events <= _MOST:
        parser.error(f"--devices and --events are 1 to {_MOST}")
    end_in_order()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(30))
    print(f"\ndiscovery\n  {'to a subscriber of the bus':28} {'ashore, p50 / p99':24} Akri 0.13.26, to its Instance")
    await kernel(arguments)
    await packets(arguments)
    await mqtt(arguments)


if __name__ == "__main__":
    asyncio.run(main())
