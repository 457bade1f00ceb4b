"""What every bus does with facts, whatever carries it: the same suite for memory and for a real NATS server."""

import asyncio
import base64

import pytest

from ashore import events
from ashore.bus import Bus, BusRefused, BusUnavailable, Handler, Redelivery, TryLater
from ashore.bus.memory import MemoryBus
from tests.bus_kit import QUICK, Seen, Setup, consuming, guid, never, publish, redirected, until


async def test_a_fact_gets_the_next_sequence(bus: Bus) -> None:
    assert [await publish(bus, redirected(number)) for number in (1, 2, 3)] == [1, 2, 3]


async def test_the_same_id_again_is_the_same_fact(bus: Bus) -> None:
    first = await publish(bus, redirected(1), "id-1")
    assert await publish(bus, redirected(1), "id-1") == first
    assert await publish(bus, redirected(1), "id-2") == first + 1


async def test_a_subject_that_no_stream_holds_is_refused_at_once(bus: Bus) -> None:
    with pytest.raises(BusRefused, match="no stream"):
        await bus.publish("voucher-lost.1", b"{}", id="1")


async def test_a_body_over_a_mebibyte_is_refused(bus: Bus) -> None:
    with pytest.raises(BusRefused, match="bytes"):
        await bus.publish(redirected().subject, b" " * (events.MAX_EVENT_BYTES + 1), id="1")


async def test_a_consumer_gets_what_was_and_what_comes(bus: Bus) -> None:
    await publish(bus, redirected(1))
    seen = Seen()
    async with consuming(bus, seen):
        await until(lambda: len(seen.subjects) == 1)
        await publish(bus, redirected(2))
        await until(lambda: len(seen.subjects) == 2)
    assert seen.subjects == [redirected(1).subject, redirected(2).subject]


async def test_a_consumer_gets_the_names_that_it_asked_for_and_no_other(bus: Bus) -> None:
    registered = events.OwnerRegistered(guid=guid(1), addresses=[], wait_seconds=1, expires_at="")
    started = events.OnboardingStarted(guid=guid(1), device_info="", replica="a", attempt=1)
    for event in (redirected(1), started, registered):
        await publish(bus, event)
    seen = Seen()
    async with consuming(bus, seen, "device-redirected", "owner-registered"):
        await until(lambda: len(seen.subjects) == 2)
        await asyncio.sleep(0.1)
    assert sorted(seen.subjects) == sorted([redirected(1).subject, registered.subject])


async def test_a_consumer_goes_on_where_it_was(bus: Bus) -> None:
    before, after = Seen(), Seen()
    await publish(bus, redirected(1))
    async with consuming(bus, before):
        await until(lambda: len(before.subjects) == 1)
        await asyncio.sleep(0.05)
    await publish(bus, redirected(2))
    async with consuming(bus, after):
        await until(lambda: len(after.subjects) == 1)
    assert after.subjects == [redirected(2).subject]


async def test_each_durable_name_gets_everything(bus: Bus) -> None:
    await publish(bus, redirected(1))
    mine, yours = Seen(), Seen()
    async with consuming(bus, mine, durable="owner"), consuming(bus, yours, durable="manufacturer"):
        await until(lambda: len(mine.subjects) == len(yours.subjects) == 1)


async def test_replicas_share_the_work(bus_setup: Setup) -> None:
    one, two = Seen(), Seen()

    def slowed(seen: Seen) -> Handler:
        async def handler(envelope: events.Envelope) -> None:
            await asyncio.sleep(0.02)
            await seen(envelope)

        return handler

    async with consuming(bus_setup.bus, slowed(one)), consuming(bus_setup.other, slowed(two)):
        await asyncio.sleep(0.3)
        for number in range(40):
            await publish(bus_setup.bus, redirected(number))
        await until(lambda: len(one.subjects) + len(two.subjects) == 40)
    assert one.subjects
    assert two.subjects
    assert len({*one.subjects, *two.subjects}) == 40


async def test_an_event_whose_handler_fails_comes_again(bus: Bus) -> None:
    seen = Seen(failures={1: 2})
    await publish(bus, redirected(1))
    async with consuming(bus, seen):
        await until(lambda: len(seen.subjects) == 1)
    assert len(seen.attempts) == 3


async def test_a_failing_event_does_not_hold_up_the_next(bus: Bus) -> None:
    seen = Seen(failures=dict.fromkeys(range(20), 99))
    for number in range(21):
        await publish(bus, redirected(number))
    async with consuming(bus, seen):
        await until(lambda: redirected(20).subject in seen.subjects)


async def test_an_event_that_keeps_failing_is_parked_with_the_reason(bus: Bus) -> None:
    seen = Seen(failures={1: 99})
    sequence = await publish(bus, redirected(1))
    letters = bus.follow(["dead-letter.owner.>"], replay=True)
    async with consuming(bus, seen), asyncio.timeout(10):
        _, envelope = await anext(letters)
    await letters.aclose()
    letter = events.open_event(envelope)
    assert isinstance(letter, events.DeadLetter)
    assert letter.subject == "dead-letter.owner.device-redirected"
    assert (letter.stream, letter.sequence, letter.attempts) == ("FACTS", sequence, QUICK.max_deliver)
    assert letter.reason == "RuntimeError: the disk is on fire"
    assert letter.envelope is not None
    assert events.open_event(letter.envelope) == redirected(1)
    assert len(seen.attempts) == QUICK.max_deliver


async def test_a_message_that_is_no_event_is_parked_at_once(bus: Bus) -> None:
    await bus.publish(redirected(1).subject, b"\xffnonsense", id="1")
    seen = Seen()
    letters = bus.follow(["dead-letter.>"], replay=True)
    async with consuming(bus, seen), asyncio.timeout(10):
        _, envelope = await anext(letters)
    await letters.aclose()
    letter = events.open_event(envelope)
    assert isinstance(letter, events.DeadLetter)
    assert letter.attempts == 1
    assert base64.b64decode(letter.body or "") == b"\xffnonsense"
    assert seen.attempts == []


async def test_an_event_waits_as_long_as_the_handler_says_later(bus: Bus) -> None:
    patient = Seen(failures={1: QUICK.max_deliver * 3}, error=TryLater("the database is away"))
    await publish(bus, redirected(1))
    async with consuming(bus, patient):
        await until(lambda: len(patient.subjects) == 1)
    assert len(patient.attempts) == QUICK.max_deliver * 3 + 1


async def test_an_event_that_was_being_handled_when_a_replica_left_goes_to_another(bus_setup: Setup) -> None:
    reached = asyncio.Event()

    async def stuck(_: events.Envelope) -> None:
        reached.set()
        await asyncio.Event().wait()

    await publish(bus_setup.bus, redirected(1))
    async with consuming(bus_setup.bus, stuck), asyncio.timeout(10):
        await reached.wait()
    seen = Seen()
    async with consuming(bus_setup.other, seen):
        await until(lambda: len(seen.subjects) == 1)


async def test_a_bus_that_is_declared_is_ready(bus: Bus) -> None:
    await bus.declare()
    await bus.check()


async def test_a_bus_that_was_closed_is_unavailable(bus: Bus) -> None:
    await bus.close()
    with pytest.raises(BusUnavailable):
        await bus.check()
    with pytest.raises(BusUnavailable):
        await publish(bus, redirected(1))


async def test_a_handler_that_takes_too_long_has_failed() -> None:
    policy = Redelivery(delays=(0.01,), max_deliver=1, handler_seconds=0.05)
    bus = MemoryBus(redelivery=policy)

    await publish(bus, redirected(1))
    letters = bus.follow(["dead-letter.>"], replay=True)
    async with consuming(bus, never), asyncio.timeout(10):
        _, envelope = await anext(letters)
    await letters.aclose()
    letter = events.open_event(envelope)
    assert isinstance(letter, events.DeadLetter)
    assert letter.reason.startswith("TimeoutError")
