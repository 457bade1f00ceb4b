"""Facts that no device waits for."""

import asyncio
from datetime import UTC, datetime

import pytest

from ashore.bus import BusUnavailable
from ashore.bus.memory import MemoryBus
from ashore.events import DeviceRedirected, Envelope, envelope
from ashore_rendezvous.publisher import Publisher
from tests.bus_kit import joined, until
from tests.conftest import ServerFactory

AT = datetime(2026, 1, 1, tzinfo=UTC)


def fact(number: int) -> Envelope:
    event = DeviceRedirected(guid=f"{number:032x}", addresses=[])
    return envelope(event, source="/rendezvous/test", id=str(number), time=AT)


async def told(bus: MemoryBus, count: int) -> list[str]:
    found: list[str] = []
    async for _, one in bus.follow([">"], replay=True):
        found.append(one.id)
        if len(found) == count:
            break
    return found


async def test_what_is_told_reaches_the_bus_in_order() -> None:
    bus = MemoryBus()
    publisher = Publisher(bus)
    for number in range(100):
        publisher.tell(fact(number))
    await publisher.flush()
    assert await told(bus, 100) == [str(number) for number in range(100)]
    assert len(publisher) == 0


async def test_it_works_in_the_background_until_cancelled() -> None:
    bus = MemoryBus()
    publisher = Publisher(bus)
    working = asyncio.create_task(publisher.run())
    for number in range(3):
        publisher.tell(fact(number))
        assert len(await told(bus, number + 1)) == number + 1
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)


async def test_what_the_bus_does_not_take_waits() -> None:
    bus = MemoryBus()
    publisher = Publisher(bus)
    publisher.tell(fact(1))
    publisher.tell(fact(2))
    await bus.close()
    with pytest.raises(BusUnavailable):
        await publisher.flush()
    assert len(publisher) == 2
    working = asyncio.create_task(publisher.run())
    await asyncio.sleep(0.05)
    publisher._bus = again = MemoryBus()
    assert await told(again, 2) == ["1", "2"]
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)


async def test_the_oldest_is_given_up_when_too_much_waits() -> None:
    bus = MemoryBus()
    publisher = Publisher(bus, capacity=2)
    for number in range(3):
        publisher.tell(fact(number))
    await publisher.drain()
    assert await told(bus, 2) == ["1", "2"]


async def test_the_oldest_is_given_up_also_when_the_bus_is_tried_meanwhile() -> None:
    bus = MemoryBus()
    await bus.close()
    publisher = Publisher(bus, capacity=3)
    for number in range(3):
        publisher.tell(fact(number))
    flushing = asyncio.create_task(publisher.flush())
    await asyncio.sleep(0)
    publisher.tell(fact(3))
    with pytest.raises(BusUnavailable):
        await flushing
    publisher._bus = again = MemoryBus()
    await publisher.flush()
    assert await told(again, 3) == ["1", "2", "3"]


async def test_the_end_does_not_wait_for_a_bus_that_is_gone() -> None:
    bus = MemoryBus()
    publisher = Publisher(bus)
    publisher.tell(fact(1))
    await bus.close()
    await publisher.drain()
    assert len(publisher) == 1


async def test_what_waits_is_counted_and_its_age_is_that_of_the_oldest(make_nats_server: ServerFactory) -> None:
    server = make_nats_server()
    server.start()
    async with joined(server, "admin", "rendezvous") as [admin, bus]:
        await admin.declare()
        publisher = Publisher(bus)
        working = asyncio.create_task(publisher.run())
        publisher.tell(fact(1))
        await until(lambda: len(publisher) == 0)
        assert publisher.oldest_seconds(AT.timestamp() + 9) == 0
        server.stop()
        publisher.tell(fact(2))
        publisher.tell(fact(3))
        # While the attempt is under way they wait as well.
        for _ in range(20):
            await asyncio.sleep(0.1)
            assert len(publisher) == 2
        assert publisher.oldest_seconds(AT.timestamp() + 9) == 9
        server.start()
        await until(lambda: len(publisher) == 0)
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
