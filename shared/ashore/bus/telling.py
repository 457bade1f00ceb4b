"""An event in its envelope, onto the bus."""

from datetime import UTC, datetime

from ashore.bus import Bus
from ashore.events import Event, encode, envelope


async def tell(bus: Bus, event: Event, *, source: str, identity: str, at: float) -> int:
    """Publish an event of this time, in seconds since 1970; the answer is its sequence. Raises BusError, EventError."""
    wrapped = envelope(event, source=source, id=identity, time=datetime.fromtimestamp(at, UTC))
    return await bus.publish(event.subject, encode(wrapped), id=identity)
