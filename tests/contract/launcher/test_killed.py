"""Killed at any point and started again: no duplicate, no orphan, and each event told once."""

import asyncio
from collections import Counter

import pytest

from ashore.bus.memory import MemoryBus
from ashore_broker_launcher.cluster import INSTANCE, POD, SERVICE
from ashore_broker_launcher.launchers.dry_run.memory import MemoryCluster
from ashore_broker_launcher.reconciling.parts import GATHER_SECONDS, Parts
from tests.contract.launcher.killing import Scythe
from tests.launcher_kit import World, world

PLACE = "place"
MOST_CALLS = 60


async def killed_at(at: int, made: World, *, after: bool) -> bool:
    """Whether it came so far; the launcher is gone in any case."""
    scythe = Scythe(at, after=after)
    mown = World(scythe.over(made.bus), scythe.over(made.cluster), PLACE)
    async with mown.launcher() as parts:
        tasks = [asyncio.ensure_future(one) for one in (scythe.struck.wait(), quiet(parts))]
        async with asyncio.timeout(20):
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return scythe.struck.is_set()


async def quiet(parts: Parts) -> None:
    """Wait until there is nothing left to do; what is gathered for a moment comes after a moment."""
    await parts.ledger.synced.wait()
    await parts.view.synced()
    await asyncio.sleep(2 * GATHER_SECONDS)
    await parts.queue.idle()


async def finish(made: World) -> None:
    """A launcher that nobody kills, until it has nothing left to do."""
    async with made.launcher() as parts:
        await quiet(parts)


@pytest.mark.parametrize("after", [False, True], ids=["before-it-has-an-effect", "after-it"])
async def test_killed_at_every_call_while_a_device_comes_and_goes(after: bool) -> None:
    struck = 0
    for at in range(1, MOST_CALLS):
        bus = MemoryBus()
        await bus.declare()
        async with world(bus, MemoryCluster(), PLACE) as made:
            spec = {"ports": [{"port": 80}]}
            await made.configure(instanceServiceSpec=spec, configurationServiceSpec=spec)
            await made.live()
            await made.see()
            came_so_far = await killed_at(at, made, after=after)
            await finish(made)
            assert len(await made.names(INSTANCE)) == 1, at
            assert len(await made.names(POD)) == 1, at
            assert made.times("instance-added") == 1, at
            await made.see(change="disappeared")
            came_so_far |= await killed_at(at, made, after=after)
            await finish(made)
            for kind in (INSTANCE, POD, SERVICE):
                assert await made.names(kind) == [], (at, kind)
            told = Counter(event.name for event in made.told)
            assert (told["instance-added"], told["instance-removed"]) == (1, 1), at
        if not came_so_far:
            break
        struck += 1
    assert struck > 5, "it was killed at hardly any point"
    assert struck < MOST_CALLS - 1, "there are more calls than were tried"
