"""The outbox: a fact and its event are one transaction, and the event reaches the bus whatever happens in between."""

import asyncio
import itertools
import json
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa
from structlog.testing import capture_logs

from ashore.bus import Bus, BusRefused, BusUnavailable
from ashore.bus.memory import MemoryBus
from ashore.events import EventError
from ashore.sql import Database
from ashore.sql.backlog import Backlog
from ashore.sql.outbox import WINDOW, Relay
from ashore.telemetry import Metrics
from tests.bus_kit import join
from tests.conftest import ServerFactory
from tests.contract.sql_fixtures import OUTBOX, fresh_url, guid, guids, issue, opened, voucher, waiting
from tests.contract.test_sql import KINDS

POLL = 60.0  # Longer than any test: what comes earlier was not found by polling.
BACKOFF = (0.01, 0.05)


class WeatherBus(MemoryBus):
    """A bus with weather: it can be down, slow, lose acknowledgements, or refuse what is about some devices."""

    def __init__(self) -> None:
        super().__init__()
        self.down = False
        self.losing_acknowledgements = False
        self.refused: set[str] = set()
        self.tries: Counter[str] = Counter()
        self._chance = random.Random(1)

    async def publish(self, subject: str, body: bytes, *, id: str) -> int:  # noqa: A002 - the port's name for it
        self.tries[id] += 1
        await asyncio.sleep(self._chance.random() * 0.002)
        if self.down:
            raise BusUnavailable("there is a storm")
        if subject.partition(".")[2] in self.refused:
            raise BusRefused(f"{subject} is not permitted")
        sequence = await super().publish(subject, body, id=id)
        if self.losing_acknowledgements and self._chance.random() < 0.2:
            raise BusUnavailable("the acknowledgement was lost")
        return sequence


@pytest.fixture(params=KINDS)
async def url(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[str]:
    async with fresh_url(request.param, tmp_path) as fresh:
        yield fresh


@pytest.fixture
async def database(url: str) -> AsyncIterator[Database]:
    async with opened(url) as database:
        yield database


@asynccontextmanager
async def relaying(database: Database, bus: Bus, *, poll: float = POLL) -> AsyncIterator[Relay]:
    relay = Relay(database, bus, OUTBOX, poll=poll, backoff=BACKOFF)
    running = asyncio.create_task(relay.run())
    try:
        yield relay
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - what is waited for knows no event
            await asyncio.sleep(0.005)


async def empty(database: Database) -> None:
    async with asyncio.timeout(20):
        while await database.read(waiting):  # noqa: ASYNC110 - a row in a database knows no event
            await asyncio.sleep(0.005)


async def published(bus: Bus, count: int) -> list[tuple[str, str]]:
    """The subject and the data of so many events, in the order in which the bus has them."""
    found: list[tuple[str, str]] = []
    following = bus.follow([">"], replay=True)
    async with asyncio.timeout(20):
        async for _, envelope in following:
            found.append((envelope.subject, bytes(envelope.data).decode()))
            if len(found) == count:
                break
    await following.aclose()
    return found


def serials(found: list[tuple[str, str]], device: int) -> list[str]:
    """The serials told of one device, in order."""
    return [json.loads(data)["serial"] for subject, data in found if subject.endswith(guid(device))]


def fact_and_event(number: int) -> Callable[[sa.Connection], None]:
    def unit(connection: sa.Connection) -> None:
        voucher(number)(connection)
        issue(number)(connection)

    return unit


async def test_a_committed_event_is_published_at_once_and_then_deleted(database: Database) -> None:
    bus = MemoryBus()
    async with relaying(database, bus):
        await database.write(fact_and_event(1))
        assert [subject for subject, _ in await published(bus, 1)] == [f"voucher-issued.{guid(1)}"]
        await empty(database)


async def test_an_event_of_a_unit_that_fails_is_never_told(database: Database) -> None:
    bus = MemoryBus()

    def fails(connection: sa.Connection) -> None:
        fact_and_event(1)(connection)
        raise LookupError("no such owner")

    async with relaying(database, bus):
        with pytest.raises(LookupError):
            await database.write(fails)
        await database.write(fact_and_event(2))
        assert [subject for subject, _ in await published(bus, 1)] == [f"voucher-issued.{guid(2)}"]
    assert await database.read(guids) == [guid(2)]


async def test_an_event_that_breaks_the_contract_takes_its_fact_back(database: Database) -> None:
    def breaks(connection: sa.Connection) -> None:
        voucher(1)(connection)
        issue(1, serial="x" * 5000)(connection)

    with pytest.raises(EventError):
        await database.write(breaks)
    assert await database.read(guids) == []


async def test_events_written_before_the_relay_ran_are_published(url: str) -> None:
    bus = MemoryBus()
    async with opened(url) as database:
        await database.write(issue(1))
    async with opened(url) as database, relaying(database, bus):
        await published(bus, 1)
        await empty(database)


async def test_events_written_by_another_process_are_found_by_polling(url: str) -> None:
    bus = MemoryBus()
    async with opened(url) as database, opened(url) as other, relaying(database, bus, poll=0.05):
        await asyncio.sleep(0.02)
        await other.write(issue(1))
        await published(bus, 1)


async def test_events_wait_while_the_bus_is_down_and_leave_when_it_is_back(database: Database) -> None:
    bus = WeatherBus()
    bus.down = True
    with capture_logs() as logs:
        async with relaying(database, bus):
            for number in range(5):
                await database.write(fact_and_event(number))
            await until(lambda: max(bus.tries.values(), default=0) > 3)
            assert await database.read(waiting) == 5
            bus.down = False
            await published(bus, 5)
            await empty(database)
            await until(lambda: len(logs) == 2)
            bus.down = True
            await database.write(fact_and_event(7))
            await until(lambda: len(logs) == 3)
    assert [(log["event"], log["log_level"]) for log in logs] == [
        ("events wait in the outbox", "warning"),
        ("events leave the outbox again", "info"),
        ("events wait in the outbox", "warning"),
    ]
    assert "storm" in logs[0]["reason"]


async def test_events_of_one_device_keep_their_order_and_come_once(database: Database) -> None:
    bus = WeatherBus()
    bus.losing_acknowledgements = True
    async with relaying(database, bus):
        for turn in range(8):
            await asyncio.gather(*(database.write(issue(device, serial=str(turn))) for device in range(20)))
        await empty(database)
    found = await published(bus, 160)
    for device in range(20):
        assert serials(found, device) == [str(turn) for turn in range(8)]
    assert max(bus.tries.values()) > 1


async def test_an_event_that_the_bus_refuses_holds_back_only_its_own_device(database: Database) -> None:
    bus = WeatherBus()
    bus.refused = {guid(0)}
    for number in range(WINDOW + 10):
        await database.write(issue(0, serial=str(number)))
    await database.write(issue(1))
    with capture_logs() as logs:
        async with relaying(database, bus):
            assert [subject for subject, _ in await published(bus, 1)] == [f"voucher-issued.{guid(1)}"]
            await database.write(issue(2))
            await published(bus, 2)
            bus.refused = set()
            await database.write(issue(3))
            found = await published(bus, WINDOW + 13)
            await empty(database)
    assert [log["subject"] for log in logs] == [f"voucher-issued.{guid(0)}"]
    assert serials(found, 0) == [str(number) for number in range(WINDOW + 10)]


async def test_two_relays_share_the_work_without_doubling_it(url: str) -> None:
    bus = WeatherBus()
    async with (
        opened(url) as first,
        opened(url) as second,
        relaying(first, bus),
        relaying(second, bus),
    ):
        for turn in range(4):
            writers = itertools.cycle((first, second))
            await asyncio.gather(
                *(next(writers).write(issue(device, serial=str(turn))) for device in range(30)),
            )
        found = await published(bus, 120)
        await empty(first)
    for device in range(30):
        assert serials(found, device) == ["0", "1", "2", "3"]
    assert set(bus.tries.values()) == {1}


async def test_a_relay_takes_over_from_one_that_is_gone(url: str) -> None:
    bus = WeatherBus()
    async with opened(url) as first, opened(url) as second:
        bus.down = True
        async with relaying(first, bus):
            await first.write(issue(1))
            await until(lambda: bus.tries.total() > 0)
            async with relaying(second, bus):
                await asyncio.sleep(0.02)
        bus.down = False
        async with relaying(second, bus):
            await published(bus, 1)
            await empty(second)


async def test_what_a_relay_has_published_when_it_is_stopped_is_not_told_again(url: str) -> None:
    bus = WeatherBus()
    async with opened(url) as database, relaying(database, bus):
        await database.write(issue(1))
        await published(bus, 1)
        # The relay hears of it a moment after the others.
        await asyncio.sleep(0.01)
    async with opened(url) as database:
        assert await database.read(waiting) == 0


async def test_events_survive_the_death_of_a_real_nats_server(
    database: Database, make_nats_server: ServerFactory
) -> None:
    server = make_nats_server()
    server.start()
    bus = await join(server, "admin")
    await bus.declare()
    async with relaying(database, bus):
        await database.write(issue(1))
        await published(bus, 1)
        server.stop()
        await database.write(issue(2))
        await database.write(issue(3))
        await asyncio.sleep(0.1)
        assert await database.read(waiting) == 2
        server.start()
        assert len(await published(bus, 3)) == 3
        await empty(database)
    await bus.close()


async def test_the_metrics_say_how_many_wait_and_for_how_long(database: Database) -> None:
    metrics = Metrics()
    metrics.measured_by(Backlog(database, OUTBOX, metrics).measure)
    for number in range(3):
        await database.write(issue(number))
    await asyncio.sleep(0.01)
    await metrics.collect()
    assert metrics.registry.get_sample_value("ashore_outbox_depth") == 3
    assert (metrics.registry.get_sample_value("ashore_outbox_oldest_seconds") or 0) >= 0.01
    async with relaying(database, MemoryBus()):
        await empty(database)
    # What was counted is kept for a second, so another one counts anew.
    await Backlog(database, OUTBOX, metrics).measure()
    assert metrics.registry.get_sample_value("ashore_outbox_depth") == 0
    assert metrics.registry.get_sample_value("ashore_outbox_oldest_seconds") == 0


async def test_a_depth_that_nobody_knows_is_not_zero(url: str) -> None:
    metrics = Metrics()
    async with opened(url) as database:
        backlog = Backlog(database, OUTBOX, metrics)
    await backlog.measure()
    assert str(metrics.registry.get_sample_value("ashore_outbox_depth")) == "nan"
