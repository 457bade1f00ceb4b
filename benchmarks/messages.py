"""Which messages of TO2 cost the owner how much CPU.

usage: python benchmarks/messages.py [--devices N] [--at-once C] [--kind p256|p384] [--rounds R]

All devices send their first message, then all the second, and so on, so that what the owner has used in between belongs
to one message: with HTTP, the log line, and what is written and told behind the answer. That is a little more than in
an onboarding as it comes, where several units of work share a COMMIT. Figures are medians over the rounds.
"""

import asyncio
import statistics
import sys
from collections.abc import AsyncGenerator
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks import lean_device
from benchmarks.ashore_target import SOLD, AshoreTarget
from benchmarks.onboarding import WARM_UP, each, measure, read_arguments, usage

Walk = AsyncGenerator[int, None]


async def walks(target: AshoreTarget, count: int, at_once: int, kind: str, tag: str) -> list[Walk]:
    """Devices at the owner's door."""
    serials = [f"{SOLD}{tag}-{number}" for number in range(count)]
    devices, _ = await each(serials, at_once, lambda serial: lean_device.initialise(target.manufacturer, serial, kind))
    await target.sell_and_register(devices)
    redirects, _ = await each(devices, at_once, lambda device: lean_device.redirect(target.rendezvous, device))
    pairs = zip(devices, redirects, strict=True)
    return [lean_device.messages(target.owner, device, redirect.sign1) for device, redirect in pairs]


async def onboard(target: AshoreTarget, waiting: list[Walk], at_once: int) -> list[tuple[str, float]]:
    """Bring them ashore, a message at a time; each message with the owner's CPU for one device, in microseconds."""
    told: list[tuple[str, float]] = []
    numbers: list[int | None] = []

    async def step() -> list[float]:
        numbers[:], times = await each(waiting, at_once, lambda walk: anext(walk, None))
        return times

    while True:
        spent = await measure(target, len(waiting), step, usage(target))
        if numbers[0] is None:
            return told
        told.append((str(numbers[0]), spent.cpu_ms["owner"] * 1000))


async def main() -> None:
    """Measure and print."""
    arguments = read_arguments(__doc__, 800)
    async with AshoreTarget(arguments.kind) as target:
        arrive = partial(walks, target, at_once=arguments.at_once, kind=arguments.kind)
        await onboard(target, await arrive(WARM_UP, tag="warm"), arguments.at_once)
        rounds = [
            await onboard(target, await arrive(arguments.devices, tag=f"r{number}"), arguments.at_once)
            for number in range(arguments.rounds)
        ]
    print(f"\nTO2, {arguments.kind}, the owner's CPU in us per device")
    for steps in zip(*rounds, strict=True):
        print(f"  {steps[0][0]:8} {statistics.median(spent for _, spent in steps):6.0f}")
    print(f"  {'all':8} {statistics.median(sum(spent for _, spent in steps) for steps in rounds):6.0f}")


if __name__ == "__main__":
    asyncio.run(main())
