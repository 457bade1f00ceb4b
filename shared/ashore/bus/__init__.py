"""The port to the bus: what every service may ask of it, whatever carries it.

Facts are published once and kept; each service consumes them with a durable name of its own, at least once. What lives
for a while (a registration at the rendezvous) is put, read and expires. What one replica asks of another is a request.

Adapters: `ashore.bus.nats` (JetStream) and `ashore.bus.memory` (one process, the same contract). `ashore.bus.server`
runs a NATS server of one's own. What the events are is `ashore.events`'s business.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from datetime import datetime
from typing import Protocol, Self

import msgspec

from ashore.events import DeadLetter, Envelope

MAX_REQUEST_BYTES = 128 * 1024
"""The largest request or answer between replicas: an FDO message of 64 KiB and the session around it."""

Handler = Callable[[Envelope], Awaitable[None]]
Responder = Callable[[bytes], Awaitable[bytes]]


class BusError(Exception):
    """The bus did not do what was asked."""


class BusUnavailable(BusError):  # noqa: N818 - named by the condition that callers wait out
    """The bus cannot be reached, or did not answer in time. What was asked may or may not have happened: ask again."""


class NoResponder(BusError):  # noqa: N818 - named by the condition that callers act on
    """Nobody serves this subject, so the replica that did is gone."""


class RequestFailed(BusError):  # noqa: N818 - named by what happened to the request
    """The one who serves this subject failed at it."""


class Conflict(BusError):  # noqa: N818 - named by the condition that callers act on
    """The value is not the expected one: someone else has put it meanwhile. Read it again."""


class StoreFull(BusError):  # noqa: N818 - named by the condition that callers act on
    """The stream has reached its size and takes nothing new until something expires."""


class BusRefused(BusError):  # noqa: N818 - named by what happened to the call
    """The bus will never do this: not permitted, too large, or no stream holds the subject."""


class NotPermitted(BusRefused):
    """The user has no right to that subject."""


class RetryFailed(BusError):  # noqa: N818 - named by what happened to the retry
    """The subscriber could not handle the dead letter's event this time either; the letter stays."""


class LetterGone(BusRefused):
    """There is no such dead letter, or no more."""


class ServerTooOld(BusError):  # noqa: N818 - named by the condition that people act on
    """The NATS server lacks what ashore needs, and would silently ignore it."""


class TryLater(Exception):  # noqa: N818 - said by a handler, not an error of its own
    """Raised by a handler whose own needs are away, its database say. The event waits in its place, never parked."""


class Redelivery(msgspec.Struct, frozen=True, kw_only=True):
    """How events that fail are tried again. Times are in seconds."""

    delays: tuple[float, ...] = (1, 2, 5, 10, 30)
    """Before the second delivery, the third, and so on; the last one repeats."""
    max_deliver: int = 8
    """After so many failures the event is parked among the dead letters."""
    handler_seconds: float = 50
    """A handler that takes longer has failed. Less than the 60 s after which the server would deliver again."""
    later_seconds: float = 5
    """How long an event waits after TryLater."""
    concurrency: int = 8
    """How many events of one name are handled at the same time."""

    def delay_after(self, attempt: int) -> float:
        """How long to wait after this many deliveries, from 1."""
        return self.delays[min(attempt, len(self.delays)) - 1]


class Letter(msgspec.Struct, frozen=True, kw_only=True):
    """A dead letter as it stands in its stream, by its number there."""

    number: int
    parked_at: datetime
    letter: DeadLetter


class Serving(Protocol):
    """A subject that is being served until this is closed."""

    async def close(self) -> None:
        """Serve no more."""
        ...

    async def __aenter__(self) -> Self:
        """Serve for the length of a block."""
        ...

    async def __aexit__(self, *exc: object) -> None:
        """Serve no more."""
        ...


class Bus(Protocol):
    """What every service may ask of the bus. Each call may also raise BusRefused."""

    async def publish(self, subject: str, body: bytes, *, id: str) -> int:  # noqa: A002 - the name in CloudEvents
        """Publish a fact; the answer is its sequence in the stream. The same id again is the same fact.

        It is on disk when this returns. BusUnavailable: unknown; publish it again with the same id.
        """
        ...

    async def consume(self, durable: str, names: Sequence[str], handler: Handler) -> None:
        """Hand every event of these names to the handler, from the first one kept, until cancelled.

        Several replicas with the same durable name share the work. Each event comes at least once, in no promised
        order. When the handler raises, the event comes again later, and is at last parked among the dead letters. From
        there a `retry` brings it back to this handler.
        """
        ...

    def state(self, subjects: Sequence[str]) -> AsyncGenerator[tuple[int, Envelope] | None, None]:
        """Yield the last event of each subject of one stream, then None, and then what comes, without end.

        So a reader begins with what is, and knows when it has read all of that. Each of the subjects has wildcards of
        its own; events of different ones may come in another order than they were published in.
        """
        ...

    def letters(self, first: int = 1) -> AsyncGenerator[Letter, None]:
        """Yield the dead letters of all subscribers, from this number on, oldest first; it ends with the last one."""
        ...

    async def retry(self, letter: Letter) -> None:
        """Hand the event to the subscriber that failed, and to no other, then drop the letter.

        RetryFailed if it fails again or does not listen, LetterGone if somebody else was faster.
        """
        ...

    async def drop(self, number: int) -> None:
        """Delete a dead letter; LetterGone where there is none. The event itself stays where it is."""
        ...

    def follow(
        self, subjects: Sequence[str], *, since: datetime | None = None, replay: bool = False
    ) -> AsyncGenerator[tuple[int, Envelope], None]:
        """Yield (sequence, envelope) of one stream in order, without end: what comes from now on, since, or everything.

        Subjects may have wildcards; `>` is all of FACTS. What cannot be decoded is left out, and logged.
        """
        ...

    async def put(self, subject: str, body: bytes, *, ttl: int | None, expected: int | None = None) -> int:
        """Put the value of a subject of RENDEZVOUS for `ttl` seconds (None: for ever); the answer is its revision.

        With `expected` only over that revision (0: only if there is none), else Conflict. StoreFull when it is full.
        """
        ...

    async def get(self, subject: str) -> bytes | None:
        """Read the value of a subject of RENDEZVOUS; None when it is absent, expired or deleted."""
        ...

    async def delete(self, subject: str) -> None:
        """Delete the value of a subject of RENDEZVOUS, if there is one."""
        ...

    async def keys(self, subject_filter: str) -> list[str]:
        """List the subjects of RENDEZVOUS that have a value and match, sorted."""
        ...

    async def request(self, subject: str, body: bytes, *, timeout: float) -> bytes:  # noqa: ASYNC109 - part of the question
        """Ask whoever serves the subject. NoResponder at once if nobody does; RequestFailed if its handler raised."""
        ...

    async def serve(self, subject: str, handler: Responder) -> Serving:
        """Answer requests on the subject, also after the connection was lost and made again."""
        ...

    async def check(self) -> None:
        """Raise BusUnavailable unless the bus answers and has its streams: for readiness."""
        ...

    async def declare(self) -> None:
        """Make the streams what `ashore.events` says, or wait until someone with the right to do so has.

        Raises ServerTooOld for a server that would ignore a part of it, BusUnavailable when there is none.
        """
        ...

    async def close(self) -> None:
        """Leave the bus."""
        ...
