"""One event and its handler: done, again later, or parked. Both adapters decide by this."""

import asyncio
import base64
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import msgspec
import structlog

from ashore import events
from ashore.bus import Handler, Redelivery, TryLater

_BODY_KEPT = 64 * 1024
_ENVELOPE_KEPT = 512 * 1024
_log = structlog.get_logger()


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """A message that was delivered to a durable consumer, for the `attempt`-th time."""

    durable: str
    name: str
    stream: str
    sequence: int
    attempt: int
    body: bytes


class Done(msgspec.Struct, frozen=True):
    """The event was handled."""


class Again(msgspec.Struct, frozen=True):
    """The handler failed: deliver the event again after so many seconds."""

    delay: float


class Parked(msgspec.Struct, frozen=True):
    """Deliver no more: publish this dead letter in its stead."""

    subject: str
    body: bytes
    id: str


Outcome = Done | Again | Parked


async def attempt(
    delivery: Delivery, handler: Handler, policy: Redelivery, still_here: Callable[[], Awaitable[None]]
) -> Outcome:
    """Run the handler once; `still_here` is called while an event waits in its place, so that it stays ours."""
    try:
        envelope = events.decode(delivery.body)
    except events.EventError as error:
        return _parked(delivery, None, str(error))
    if delivery.attempt > policy.max_deliver:
        # Only a handler that took its whole process down, or never came back, leaves no other trace.
        return _parked(delivery, envelope, "every delivery ended without an answer from the handler")
    try:
        await _handle(envelope, handler, policy, still_here)
    except Exception as error:  # noqa: BLE001 - whatever a handler raises means: try again
        return _failed(delivery, envelope, policy, error)
    return Done()


async def _handle(
    envelope: events.Envelope, handler: Handler, policy: Redelivery, still_here: Callable[[], Awaitable[None]]
) -> None:
    while True:
        try:
            async with asyncio.timeout(policy.handler_seconds):
                return await handler(envelope)
        except TryLater as reason:
            _log.warning("event waits", event_id=envelope.id, subject=envelope.subject, reason=str(reason))
        await still_here()
        await asyncio.sleep(policy.later_seconds)


def _failed(delivery: Delivery, envelope: events.Envelope, policy: Redelivery, error: Exception) -> Outcome:
    reason = f"{type(error).__name__}: {error}"
    about = {"durable": delivery.durable, "event_id": envelope.id, "subject": envelope.subject}
    if delivery.attempt >= policy.max_deliver:
        _log.error("event parked", **about, attempts=delivery.attempt, exc_info=error)
        return _parked(delivery, envelope, reason)
    delay = policy.delay_after(delivery.attempt)
    _log.warning("event handler failed", **about, attempt=delivery.attempt, retry_in=delay, error=reason)
    return Again(delay)


def _parked(delivery: Delivery, envelope: events.Envelope | None, reason: str) -> Parked:
    if len(delivery.body) > _ENVELOPE_KEPT:
        # The letter must itself fit into an event. The whole message still stands in its stream.
        envelope = None
    identity = f"dead-letter-{delivery.durable}-{delivery.name}-{delivery.sequence}"
    letter = events.DeadLetter(
        durable=delivery.durable,
        event=delivery.name,
        stream=delivery.stream,
        sequence=delivery.sequence,
        attempts=delivery.attempt,
        reason=reason[:4096],
        envelope=envelope,
        body=None if envelope else base64.b64encode(delivery.body[:_BODY_KEPT]).decode(),
    )
    wrapped = events.envelope(letter, source=f"/{delivery.durable}", id=identity, time=datetime.now(UTC))
    return Parked(letter.subject, events.encode(wrapped), identity)
