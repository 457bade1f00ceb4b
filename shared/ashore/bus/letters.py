"""Dead letters, and their second chance: what both adapters and whoever looks at them share.

A retry is a request to the subscriber that failed, and to nobody else. It names the letter and does not carry it: the
subscriber reads its own letters itself, so who may order a retry can still not put words into an event. The letter goes
when the handler has succeeded; where that word is lost it stays, and a further retry does no harm, since handlers are
idempotent by the event's id.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec
import structlog

from ashore import events
from ashore.bus import Handler, Letter, LetterGone, NoResponder, Redelivery, RequestFailed, RetryFailed

_SECONDS: Final = 58.0
"""Longer than a handler may take, shorter than the minute for which the server lets an answer through."""

_log = structlog.get_logger()


class _Order(msgspec.Struct, frozen=True):
    number: int


class _Answer(msgspec.Struct, frozen=True):
    reason: str = ""
    gone: bool = False


Requesting = Callable[[str, bytes, float], Awaitable[bytes]]
Reading = Callable[[int], Awaitable[Letter | None]]


def retry_subject(durable: str, event: str) -> str:
    """Where a subscriber takes orders to try one of its letters again."""
    return f"retry.{durable}.{event}"


def read(number: int, body: bytes) -> Letter | None:
    """A message of DEAD_LETTERS; None, and a line in the log, where it is no letter of this release."""
    try:
        envelope = events.decode(body)
        letter = events.open_event(envelope)
    except events.EventError as error:
        _log.warning("dead letter left out", number=number, error=str(error))
        return None
    if not isinstance(letter, events.DeadLetter):
        return None
    return Letter(number=number, parked_at=envelope.time, letter=letter)


async def order(request: Requesting, letter: Letter) -> None:
    """Have the subscriber handle the event once more; raise RetryFailed with the reason where it did not."""
    durable, event = letter.letter.durable, letter.letter.event
    if letter.letter.envelope is None:
        raise RetryFailed(f"dead letter {letter.number} holds no whole event, so nobody can be given it again")
    try:
        answer = await request(retry_subject(durable, event), msgspec.json.encode(_Order(letter.number)), _SECONDS)
    except NoResponder as error:
        raise RetryFailed(
            f"{durable} does not listen for {event}: start that service, or bring it up to date"
        ) from error
    except RequestFailed as error:
        raise RetryFailed(f"{durable} failed at it: {error}") from error
    told = msgspec.json.decode(answer, type=_Answer)
    if told.gone:
        raise LetterGone(f"dead letter {letter.number} is gone: somebody else was faster")
    if told.reason:
        raise RetryFailed(told.reason)


class Retrier:
    """The subscriber's side: takes orders for the letters of one durable name and one event."""

    def __init__(self, reading: Reading, handler: Handler, policy: Redelivery) -> None:
        self._reading = reading
        self._handler = handler
        self._policy = policy

    async def __call__(self, body: bytes) -> bytes:
        """One order."""
        number = msgspec.json.decode(body, type=_Order).number
        letter = await self._reading(number)
        envelope = letter.letter.envelope if letter else None
        answer = _Answer(gone=True) if envelope is None else await self._handle(number, envelope)
        return msgspec.json.encode(answer)

    async def _handle(self, number: int, envelope: events.Envelope) -> _Answer:
        about = {"number": number, "event_id": envelope.id, "subject": envelope.subject}
        try:
            async with asyncio.timeout(self._policy.handler_seconds):
                await self._handler(envelope)
        except Exception as error:  # noqa: BLE001 - whatever a handler raises is the answer
            reason = f"{type(error).__name__}: {error}"
            _log.warning("dead letter failed again", **about, error=reason)
            return _Answer(reason[:4096])
        _log.info("dead letter handled", **about)
        return _Answer()
