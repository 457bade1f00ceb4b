"""What every bus shows to those who follow it, as the command line and the console do."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import UTC, datetime

from ashore import events
from ashore.bus import Bus
from ashore.bus.memory import MemoryBus
from tests.bus_kit import Setup, guid, publish, redirected, take


async def test_following_with_replay_begins_at_the_beginning_and_goes_on_live(bus: Bus) -> None:
    for number in (1, 2):
        await publish(bus, redirected(number))
    found = bus.follow([">"], replay=True)
    assert await take(found, 2) == [(1, redirected(1).subject), (2, redirected(2).subject)]
    found = bus.follow([">"], replay=True)
    waiting = asyncio.create_task(take(found, 3))
    await asyncio.sleep(0.1)
    await publish(bus, redirected(3))
    assert [sequence for sequence, _ in await waiting] == [1, 2, 3]


async def test_following_begins_now_unless_told_otherwise(bus: Bus) -> None:
    await publish(bus, redirected(1))
    waiting = asyncio.create_task(take(bus.follow(["device-redirected.>"]), 1))
    await asyncio.sleep(0.3)
    await publish(bus, redirected(2))
    assert await waiting == [(2, redirected(2).subject)]


async def test_following_since_a_time_leaves_out_what_was_before(bus_setup: Setup) -> None:
    await publish(bus_setup.bus, redirected(1))
    await bus_setup.elapse(1)
    # Memory has a clock of its own, so the time is taken from where the bus takes it.
    memory = isinstance(bus_setup.bus, MemoryBus)
    since = datetime.fromtimestamp(1_000_000_000.5, UTC) if memory else datetime.now(UTC)
    await publish(bus_setup.bus, redirected(2))
    assert await take(bus_setup.bus.follow([">"], since=since), 1) == [(2, redirected(2).subject)]


async def test_following_filters_by_subject(bus: Bus) -> None:
    started = events.OnboardingStarted(guid=guid(1), device_info="", replica="a", attempt=1)
    for event in (redirected(1), started, redirected(2), redirected(3)):
        await publish(bus, event)
    one = await take(bus.follow([f"device-redirected.{guid(2)}"], replay=True), 1)
    assert one == [(3, redirected(2).subject)]
    several = await take(bus.follow(["onboarding-started.>", f"device-redirected.{guid(3)}"], replay=True), 2)
    assert several == [(2, started.subject), (4, redirected(3).subject)]


async def test_following_keeps_the_order_of_many(bus: Bus) -> None:
    await asyncio.gather(*(publish(bus, redirected(number)) for number in range(500)))
    found = await take(bus.follow([">"], replay=True), 500)
    assert [sequence for sequence, _ in found] == list(range(1, 501))


async def test_following_leaves_out_what_is_no_event(bus: Bus) -> None:
    await bus.publish(redirected(1).subject, b"nonsense", id="1")
    await publish(bus, redirected(2))
    assert await take(bus.follow([">"], replay=True), 1) == [(2, redirected(2).subject)]


async def test_the_state_is_the_last_of_each_subject_then_a_mark_then_what_comes(bus: Bus) -> None:
    for name, number in (("a", 1), ("b", 2), ("c", 1)):
        started = events.OnboardingStarted(guid=guid(number), device_info="", replica=name, attempt=1)
        await publish(bus, started, name)
    async with asyncio.timeout(20), aclosing(bus.state(["onboarding-started.>"])) as found:
        assert [await subject(found), await subject(found), await subject(found)] == [(2, 2), (3, 1), None]
        await publish(bus, events.OnboardingStarted(guid=guid(3), device_info="", replica="d", attempt=1))
        assert await subject(found) == (4, 3)


async def test_the_state_of_several_subjects_has_one_mark_behind_all_of_them(bus: Bus) -> None:
    await publish(bus, redirected(1))
    await publish(bus, events.OnboardingStarted(guid=guid(2), device_info="", replica="a", attempt=1))
    names = ["onboarding-started.>", "device-redirected.>", "device-onboarded.>"]
    async with asyncio.timeout(20), aclosing(bus.state(names)) as found:
        assert sorted([await subject(found), await subject(found)]) == [(1, 1), (2, 2)]
        assert await subject(found) is None


async def test_where_nothing_was_said_the_state_begins_with_its_mark(bus: Bus) -> None:
    async with asyncio.timeout(20), aclosing(bus.state(["device-redirected.>"])) as found:
        assert await subject(found) is None
        await publish(bus, redirected(1))
        assert await subject(found) == (1, 1)


async def subject(found: AsyncGenerator[tuple[int, events.Envelope] | None, None]) -> tuple[int, int] | None:
    """The next step: sequence, and the number in the GUID."""
    step = await anext(found)
    return step if step is None else (step[0], int(step[1].subject.rpartition(".")[2], 16))
