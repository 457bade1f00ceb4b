"""What agents publish: under which time."""

from contextlib import aclosing
from datetime import UTC, datetime

import msgspec

from ashore.bus.memory import MemoryBus
from ashore_discovery.publishing import Publisher
from tests.unit.test_events import EXAMPLES

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)


async def test_what_is_told_has_the_machines_time_however_far_the_agents_own_clock_is_behind() -> None:
    """After a sleep, or a start before the time was set: an agent that lives would be called silent otherwise."""
    [alive] = [one for one in EXAMPLES if one.name == "agent-alive"]
    bus = MemoryBus()
    publisher = Publisher(bus, "/discovery/n1", lambda: 0.0, today=NOON.timestamp)
    await publisher.send(msgspec.structs.replace(alive), "alive")
    async with aclosing(bus.follow(["agent-alive.>"], replay=True)) as found:
        _, envelope = await anext(found)
        assert envelope.time == NOON
