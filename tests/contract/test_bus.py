"""What every bus does, whatever carries it: the same suite for memory and for a real NATS server."""

import asyncio
import base64
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from ashore import events
from ashore.bus import (
    MAX_REQUEST_BYTES,
    Bus,
    BusRefused,
    BusUnavailable,
    Conflict,
    Handler,
    NoResponder,
    Redelivery,
    RequestFailed,
    TryLater,
)
from ashore.bus.memory import MemoryBus
from ashore.bus.server import EmbeddedServer
from tests.conftest import QUICK, forget_streams, join

BLOB = "rendezvous-blob." + "b" * 32


@dataclass
class Setup:
    """A bus, a second participant of it, and a way to let time pass."""

    bus: Bus
    other: Bus
    elapse: Callable[[float], Awaitable[None]]


@pytest.fixture(params=["memory", "nats"])
async def setup(request: pytest.FixtureRequest, nats_server: EmbeddedServer) -> AsyncIterator[Setup]:
    if request.param == "memory":
        now = [1_000_000_000.0]

        async def elapse(seconds: float) -> None:
            now[0] += seconds

        memory = MemoryBus(clock=lambda: now[0], redelivery=QUICK)
        yield Setup(memory, memory, elapse)
        return
    bus, other = await join(nats_server, "admin"), await join(nats_server, "admin")
    await forget_streams(bus)
    await bus.declare()
    yield Setup(bus, other, lambda seconds: asyncio.sleep(seconds + 0.25))
    await other.close()
    await bus.close()


@pytest.fixture
def bus(setup: Setup) -> Bus:
    return setup.bus


def guid(number: int) -> str:
    return f"{number:032x}"


def redirected(number: int = 1) -> events.DeviceRedirected:
    return events.DeviceRedirected(guid=guid(number), addresses=[f"http://owner/{number}"])


async def publish(bus: Bus, event: events.Event, identity: str | None = None) -> int:
    identity = identity or event.subject
    wrapped = events.envelope(event, source="/test", id=identity, time=datetime.now(UTC))
    return await bus.publish(event.subject, events.encode(wrapped), id=identity)


@asynccontextmanager
async def consuming(bus: Bus, handler: Handler, *names: str, durable: str = "owner") -> AsyncIterator[None]:
    task = asyncio.create_task(bus.consume(durable, names or ("device-redirected",), handler))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


class Seen:
    """A handler that notes what it gets, and fails as often as it is told to."""

    def __init__(self, *, failures: dict[int, int] | None = None, error: Exception | None = None) -> None:
        self.subjects: list[str] = []
        self.attempts: list[str] = []
        self._failures = failures or {}
        self._error = error or RuntimeError("the disk is on fire")

    async def __call__(self, envelope: events.Envelope) -> None:
        self.attempts.append(envelope.subject)
        number = int(envelope.subject.rpartition(".")[2], 16)
        if self._failures.get(number, 0) > 0:
            self._failures[number] -= 1
            raise self._error
        self.subjects.append(envelope.subject)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)


async def take(found: AsyncIterator[tuple[int, events.Envelope]], count: int) -> list[tuple[int, str]]:
    taken: list[tuple[int, str]] = []
    async with asyncio.timeout(10):
        async for sequence, envelope in found:
            taken.append((sequence, envelope.subject))
            if len(taken) == count:
                break
    return taken


# Publishing


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


# Consuming


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


async def test_replicas_share_the_work(setup: Setup) -> None:
    one, two = Seen(), Seen()

    def slowed(seen: Seen) -> Handler:
        async def handler(envelope: events.Envelope) -> None:
            await asyncio.sleep(0.02)
            await seen(envelope)

        return handler

    async with consuming(setup.bus, slowed(one)), consuming(setup.other, slowed(two)):
        await asyncio.sleep(0.3)
        for number in range(40):
            await publish(setup.bus, redirected(number))
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


async def test_an_event_that_was_being_handled_when_a_replica_left_goes_to_another(setup: Setup) -> None:
    reached = asyncio.Event()

    async def never(_: events.Envelope) -> None:
        reached.set()
        await asyncio.Event().wait()

    await publish(setup.bus, redirected(1))
    async with consuming(setup.bus, never), asyncio.timeout(10):
        await reached.wait()
    seen = Seen()
    async with consuming(setup.other, seen):
        await until(lambda: len(seen.subjects) == 1)


# Following


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


async def test_following_since_a_time_leaves_out_what_was_before(setup: Setup) -> None:
    await publish(setup.bus, redirected(1))
    await setup.elapse(1)
    # Memory has a clock of its own, so the time is taken from where the bus takes it.
    memory = isinstance(setup.bus, MemoryBus)
    since = datetime.fromtimestamp(1_000_000_000.5, UTC) if memory else datetime.now(UTC)
    await publish(setup.bus, redirected(2))
    assert await take(setup.bus.follow([">"], since=since), 1) == [(2, redirected(2).subject)]


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


# Values


async def test_a_value_that_was_put_can_be_read_by_others(setup: Setup) -> None:
    assert await setup.bus.get(BLOB) is None
    await setup.bus.put(BLOB, b"one", ttl=60)
    assert await setup.other.get(BLOB) == b"one"
    await setup.bus.put(BLOB, b"two", ttl=60)
    assert await setup.other.get(BLOB) == b"two"


async def test_an_empty_value_is_a_value(bus: Bus) -> None:
    await bus.put(BLOB, b"", ttl=60)
    assert await bus.get(BLOB) == b""


async def test_a_value_expires(setup: Setup) -> None:
    await setup.bus.put(BLOB, b"brief", ttl=1)
    await setup.bus.put(BLOB + "0", b"for ever", ttl=None)
    await setup.elapse(1)
    assert await setup.bus.get(BLOB) is None
    assert await setup.bus.keys("rendezvous-blob.>") == [BLOB + "0"]


async def test_to_put_again_begins_a_new_life(setup: Setup) -> None:
    await setup.bus.put(BLOB, b"one", ttl=1)
    await setup.bus.put(BLOB, b"two", ttl=60)
    await setup.elapse(1)
    assert await setup.bus.get(BLOB) == b"two"


async def test_only_the_expected_revision_is_replaced(bus: Bus) -> None:
    revision = await bus.put(BLOB, b"one", ttl=60, expected=0)
    with pytest.raises(Conflict):
        await bus.put(BLOB, b"other", ttl=60, expected=0)
    await bus.put(BLOB, b"two", ttl=60, expected=revision)
    with pytest.raises(Conflict):
        await bus.put(BLOB, b"late", ttl=60, expected=revision)
    assert await bus.get(BLOB) == b"two"


async def test_of_many_who_put_over_the_same_revision_one_wins(setup: Setup) -> None:
    tries = (
        bus.put(BLOB, bytes([index]), ttl=60, expected=0) for index, bus in enumerate([setup.bus, setup.other] * 10)
    )
    results = await asyncio.gather(*tries, return_exceptions=True)
    assert sum(isinstance(result, int) for result in results) == 1
    assert sum(isinstance(result, Conflict) for result in results) == 19


async def test_an_expired_value_is_as_if_it_had_never_been(setup: Setup) -> None:
    await setup.bus.put(BLOB, b"one", ttl=1)
    await setup.elapse(1)
    await setup.bus.put(BLOB, b"two", ttl=60, expected=0)


async def test_a_deleted_value_is_as_if_it_had_never_been(bus: Bus) -> None:
    await bus.put(BLOB, b"one", ttl=60)
    await bus.delete(BLOB)
    assert await bus.get(BLOB) is None
    assert await bus.keys("rendezvous-blob.*") == []
    await bus.put(BLOB, b"two", ttl=60, expected=0)
    assert await bus.get(BLOB) == b"two"


async def test_to_delete_what_is_not_there_is_no_error(bus: Bus) -> None:
    await bus.delete(BLOB)


async def test_keys_are_those_that_match(bus: Bus) -> None:
    for subject in ("rendezvous-rule.a", "rendezvous-blob.b", "rendezvous-blob.a", "rendezvous-blob.a"):
        await bus.put(subject, b"x", ttl=60)
    assert await bus.keys("rendezvous-blob.*") == ["rendezvous-blob.a", "rendezvous-blob.b"]
    assert await bus.keys("rendezvous-rule.>") == ["rendezvous-rule.a"]


@pytest.mark.parametrize(
    ("subject", "size", "ttl"),
    [
        (BLOB, 64 * 1024 + 1, 60),
        (BLOB, 1, 0),
        (BLOB, 1, -5),
        ("voucher-issued.a", 1, 60),
        ("elsewhere.a", 1, 60),
    ],
)
async def test_what_cannot_be_a_value_is_refused(bus: Bus, subject: str, size: int, ttl: int) -> None:
    with pytest.raises(BusRefused):
        await bus.put(subject, b"x" * size, ttl=ttl)


# Requests


async def echo(body: bytes) -> bytes:
    return body[::-1]


async def test_a_request_is_answered_by_who_serves_the_subject(setup: Setup) -> None:
    async with await setup.bus.serve("replica.owner.a", echo), await setup.bus.serve("replica.owner.b", echo):
        answers = await asyncio.gather(
            *(setup.other.request("replica.owner.a", f"{n:03}".encode(), timeout=5) for n in range(200))
        )
    assert answers == [f"{n:03}"[::-1].encode() for n in range(200)]


async def test_without_a_server_the_answer_is_no_responder_at_once(setup: Setup) -> None:
    async with asyncio.timeout(5):
        with pytest.raises(NoResponder):
            await setup.bus.request("replica.owner.gone", b"", timeout=60)


async def test_who_has_closed_does_not_respond(setup: Setup) -> None:
    async with await setup.bus.serve("replica.owner.a", echo):
        await setup.other.request("replica.owner.a", b"", timeout=5)
    await asyncio.sleep(0.05)
    with pytest.raises(NoResponder):
        await setup.other.request("replica.owner.a", b"", timeout=5)


async def test_a_handler_that_fails_fails_the_request(setup: Setup) -> None:
    async def broken(_: bytes) -> bytes:
        raise KeyError("secret")

    async with await setup.bus.serve("replica.owner.a", broken):
        with pytest.raises(RequestFailed, match="KeyError") as failure:
            await setup.other.request("replica.owner.a", b"", timeout=5)
    assert "secret" not in str(failure.value)


async def test_an_answer_that_does_not_come_is_a_bus_that_is_unavailable(setup: Setup) -> None:
    async def never(_: bytes) -> bytes:
        await asyncio.Event().wait()
        return b""

    async with await setup.bus.serve("replica.owner.a", never):
        with pytest.raises(BusUnavailable, match=r"0\.1 s"):
            await setup.other.request("replica.owner.a", b"", timeout=0.1)


async def test_a_large_message_of_fdo_fits_into_a_request(setup: Setup) -> None:
    body = bytes(range(256)) * (MAX_REQUEST_BYTES // 256)
    async with await setup.bus.serve("replica.owner.a", echo):
        assert await setup.other.request("replica.owner.a", body, timeout=5) == body[::-1]
        with pytest.raises(BusRefused, match="at most"):
            await setup.other.request("replica.owner.a", body + b"x", timeout=5)


# Life


async def test_a_bus_that_is_declared_is_ready(bus: Bus) -> None:
    await bus.declare()
    await bus.check()


async def test_a_bus_that_was_closed_is_unavailable(bus: Bus) -> None:
    await bus.close()
    with pytest.raises(BusUnavailable):
        await bus.check()
    with pytest.raises(BusUnavailable):
        await publish(bus, redirected(1))


async def test_a_handler_that_takes_too_long_has_failed(nats_server: EmbeddedServer) -> None:
    policy = Redelivery(delays=(0.01,), max_deliver=1, handler_seconds=0.05)
    bus = MemoryBus(redelivery=policy)

    async def never(_: events.Envelope) -> None:
        await asyncio.Event().wait()

    await publish(bus, redirected(1))
    letters = bus.follow(["dead-letter.>"], replay=True)
    async with consuming(bus, never), asyncio.timeout(10):
        _, envelope = await anext(letters)
    await letters.aclose()
    letter = events.open_event(envelope)
    assert isinstance(letter, events.DeadLetter)
    assert letter.reason.startswith("TimeoutError")
