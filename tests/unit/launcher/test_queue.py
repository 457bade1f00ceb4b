"""The queue: each item once, never two workers at one, failures alone."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ashore_broker_launcher.reconciling.queue import Item, Pass, WorkQueue


def item(name: str) -> Item:
    return Item("instance", ("default", name))


@asynccontextmanager
async def running(look: Pass, workers: int = 4) -> AsyncIterator[WorkQueue]:
    queue = WorkQueue(look, workers=workers)
    task = asyncio.create_task(queue.run())
    try:
        async with asyncio.timeout(20):
            yield queue
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_an_item_that_is_mentioned_often_is_looked_at_once() -> None:
    looks: Counter[Item] = Counter()

    async def look(one: Item) -> None:
        looks[one] += 1

    async with running(look) as queue:
        for _ in range(100):
            queue.add(item("a"))
        queue.add(item("b"))
        await queue.idle()
    assert looks == {item("a"): 1, item("b"): 1}


async def test_an_item_that_is_mentioned_while_it_is_looked_at_is_looked_at_again() -> None:
    looks = 0
    gate = asyncio.Event()

    async def look(one: Item) -> None:
        nonlocal looks
        looks += 1
        if looks == 1:
            queue.add(one)
            queue.add(one)
            gate.set()

    async with running(look) as queue:
        queue.add(item("a"))
        await gate.wait()
        await queue.idle()
    assert looks == 2


async def test_two_workers_are_never_at_one_item() -> None:
    at: Counter[Item] = Counter()
    most = 0

    async def look(one: Item) -> None:
        nonlocal most
        at[one] += 1
        most = max(most, at[one])
        await asyncio.sleep(0)
        at[one] -= 1

    async with running(look) as queue:
        for _ in range(50):
            queue.add(item("a"))
            queue.add(item("b"))
            await asyncio.sleep(0)
        await queue.idle()
    assert most == 1


async def test_an_item_that_fails_comes_again_and_holds_up_no_other() -> None:
    looks: Counter[Item] = Counter()
    done = asyncio.Event()

    async def look(one: Item) -> None:
        looks[one] += 1
        if one == item("bad") and looks[one] < 4:
            raise RuntimeError("no")
        if one == item("bad"):
            done.set()

    async with running(look, workers=1) as queue:
        queue.add(item("bad"))
        queue.add(item("good"))
        await done.wait()
    assert looks == {item("bad"): 4, item("good"): 1}


async def test_an_item_that_is_due_later_is_looked_at_then_and_sooner_if_it_is_mentioned() -> None:
    looks = 0
    twice = asyncio.Event()

    async def look(_: Item) -> float | None:
        nonlocal looks
        looks += 1
        if looks == 2:
            twice.set()
        return 0.05 if looks == 1 else None

    async with running(look) as queue:
        queue.add(item("a"))
        await twice.wait()
        queue.add(item("a"), 3600)
        queue.add(item("a"))
        await queue.idle()
    assert looks == 3


async def test_a_replica_that_does_not_lead_keeps_no_work_for_later() -> None:
    """Who begins to lead looks at everything anyway; until then all that ever changed would pile up."""
    seen: list[str] = []

    async def look(one: Item) -> None:
        seen.append(one.key[1])

    async with running(look) as queue:
        queue.add(item("a"))
        queue.add(item("later"), 3600)
        await queue.idle()
    queue.add(item("b"))
    queue.add(item("c"), 0.001)
    await asyncio.sleep(0.01)
    assert len(queue) == 0
    task = asyncio.create_task(queue.run())
    await asyncio.sleep(0)
    queue.add(item("d"))
    await queue.idle()
    assert seen == ["a", "d"]
    task.cancel()
