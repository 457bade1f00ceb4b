"""The bus within one process: for tests, and for trying things out. The same contract, and nothing on disk.

Its sequences, duplicates, expiry, revisions, redelivery and dead letters are those of JetStream. Time for expiry comes
from the clock that is handed in; waiting between deliveries is real.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing, suppress
from datetime import datetime
from functools import partial
from secrets import token_hex
from typing import Self

import structlog

from ashore import events
from ashore.bus import (
    BusUnavailable,
    Handler,
    Letter,
    LetterGone,
    NoResponder,
    Redelivery,
    RequestFailed,
    Responder,
    Serving,
    letters,
    rules,
)
from ashore.bus.delivery import Again, Delivery, Parked, attempt
from ashore.bus.memory_streams import MemoryConsumer, MemoryStream, Stored

_log = structlog.get_logger()


class MemoryBus:
    """The bus, as `ashore.bus.Bus` describes it. All who share this object are on one bus."""

    def __init__(self, *, clock: Callable[[], float] = time.time, redelivery: Redelivery | None = None) -> None:
        self._streams = {stream.name: MemoryStream(stream, clock) for stream in events.STREAMS}
        self._values = self._streams[events.RENDEZVOUS.name]
        self._consumers: dict[str, MemoryConsumer] = {}
        self._responders: dict[str, list[Responder]] = {}
        self._redelivery = redelivery or Redelivery()
        self._closed = False

    async def publish(self, subject: str, body: bytes, *, id: str) -> int:  # noqa: A002 - the name in CloudEvents
        """See `Bus.publish`."""
        stream = rules.stream_for(subject, body)
        await self.check()
        return self._streams[stream.name].add(subject, body, id)

    async def consume(self, durable: str, names: Sequence[str], handler: Handler) -> None:
        """See `Bus.consume`."""
        async with asyncio.TaskGroup() as group:
            for name in names:
                group.create_task(self._consume(durable, name, handler))

    async def _consume(self, durable: str, name: str, handler: Handler) -> None:
        retrier = letters.Retrier(partial(self._letter, durable, name), handler, self._redelivery)
        async with await self.serve(letters.retry_subject(durable, name), retrier), asyncio.TaskGroup() as group:
            for _ in range(self._redelivery.concurrency):
                group.create_task(self._work(durable, name, handler))

    async def _work(self, durable: str, name: str, handler: Handler) -> None:
        stream = self._streams[events.stream_of([name]).name]
        consumer = self._consumers.setdefault(f"{durable}-{name}", MemoryConsumer(name))
        while True:
            taken = consumer.take(stream)
            if taken is None:
                await stream.wait(consumer.due_in())
                continue
            message, attempts = taken
            try:
                await self._handle(durable, name, message, attempts, handler)
            except asyncio.CancelledError:
                consumer.give_back(message.sequence, attempts, 0)
                stream.wake()
                raise

    async def _handle(self, durable: str, name: str, message: Stored, attempts: int, handler: Handler) -> None:
        stream = events.stream_of([name]).name
        delivery = Delivery(
            durable=durable, name=name, stream=stream, sequence=message.sequence, attempt=attempts, body=message.body
        )
        match await attempt(delivery, handler, self._redelivery, self.check):
            case Again(delay):
                self._consumers[f"{durable}-{name}"].give_back(message.sequence, attempts, delay)
                self._streams[stream].wake()
            case Parked(subject, body, identity):
                await self.publish(subject, body, id=identity)
            case _:
                pass

    async def follow(
        self, subjects: Sequence[str], *, since: datetime | None = None, replay: bool = False
    ) -> AsyncGenerator[tuple[int, events.Envelope], None]:
        """See `Bus.follow`."""
        stream = self._streams[events.stream_of(subjects).name]
        after = 0 if replay or since is not None else stream.last
        earliest = since.timestamp() if since is not None else 0
        async with aclosing(_after(stream, after, subjects)) as found:
            async for one, envelope in found:
                if one.at >= earliest:
                    yield one.sequence, envelope

    async def state(self, subjects: Sequence[str]) -> AsyncGenerator[tuple[int, events.Envelope] | None, None]:
        """See `Bus.state`."""
        stream = self._streams[events.stream_of(subjects).name]
        after, last = stream.last, {one.subject: one for one in stream.live()}
        for one in sorted(last.values(), key=lambda stored: stored.sequence):
            if (envelope := _decoded(one, subjects)) is not None:
                yield one.sequence, envelope
        yield None
        async with aclosing(_after(stream, after, subjects)) as found:
            async for one, envelope in found:
                yield one.sequence, envelope

    async def letters(self, first: int = 1) -> AsyncGenerator[Letter, None]:
        """See `Bus.letters`."""
        await self.check()
        for one in self._streams[events.DEAD_LETTERS.name].live():
            letter = letters.read(one.sequence, one.body) if one.sequence >= first else None
            if letter is not None:
                yield letter

    async def _letter(self, durable: str, name: str, number: int) -> Letter | None:
        async for found in self.letters(number):
            mine = (found.letter.durable, found.letter.event) == (durable, name)
            return found if found.number == number and mine else None
        return None

    async def retry(self, letter: Letter) -> None:
        """See `Bus.retry`."""
        await letters.order(lambda subject, body, timeout: self.request(subject, body, timeout=timeout), letter)
        with suppress(LetterGone):
            await self.drop(letter.number)

    async def drop(self, number: int) -> None:
        """See `Bus.drop`."""
        await self.check()
        if not self._streams[events.DEAD_LETTERS.name].discard(number):
            raise LetterGone(f"there is no dead letter {number}")

    async def put(self, subject: str, body: bytes, *, ttl: int | None, expected: int | None = None) -> int:
        """See `Bus.put`."""
        rules.check_value(subject, body, ttl)
        await self.check()
        return self._values.add(subject, body, token_hex(16), ttl=ttl, expected=expected)

    async def get(self, subject: str) -> bytes | None:
        """See `Bus.get`."""
        await self.check()
        found = self._values.find(subject)
        return found.body if found else None

    async def delete(self, subject: str) -> None:
        """See `Bus.delete`."""
        rules.check_value(subject, b"", None)
        await self.check()
        self._values.remove(subject)

    async def keys(self, subject_filter: str) -> list[str]:
        """See `Bus.keys`."""
        await self.check()
        return sorted({one.subject for one in self._values.live() if rules.matches(subject_filter, one.subject)})

    async def request(self, subject: str, body: bytes, *, timeout: float) -> bytes:  # noqa: ASYNC109 - part of the question
        """See `Bus.request`."""
        rules.check_request(subject, body)
        await self.check()
        responders = self._responders.get(subject)
        if not responders:
            raise NoResponder(f"nobody answers on {subject}")
        try:
            async with asyncio.timeout(timeout) as limit:
                return await responders[0](body)
        except Exception as error:
            if limit.expired():
                raise BusUnavailable(f"no answer from {subject} within {timeout:g} s") from error
            raise RequestFailed(f"{subject}: {type(error).__name__}") from error

    async def serve(self, subject: str, handler: Responder) -> Serving:
        """See `Bus.serve`."""
        self._responders.setdefault(subject, []).append(handler)
        return _Serving(self._responders[subject], handler)

    async def check(self) -> None:
        """See `Bus.check`."""
        if self._closed:
            raise BusUnavailable("this bus is closed")

    async def declare(self) -> None:
        """See `Bus.declare`. The streams are always there."""

    async def close(self) -> None:
        """See `Bus.close`."""
        self._closed = True


class _Serving:
    def __init__(self, responders: list[Responder], handler: Responder) -> None:
        self._responders = responders
        self._handler = handler

    async def close(self) -> None:
        """Serve no more."""
        if self._handler in self._responders:
            self._responders.remove(self._handler)

    async def __aenter__(self) -> Self:
        """Serve for the length of a block."""
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Serve no more."""
        await self.close()


async def _after(
    stream: MemoryStream, after: int, subjects: Sequence[str]
) -> AsyncGenerator[tuple[Stored, events.Envelope], None]:
    """What is behind this sequence, and what comes, without end."""
    while True:
        found = [one for one in stream.live() if one.sequence > after]
        for one in found:
            after = one.sequence
            if (envelope := _decoded(one, subjects)) is not None:
                yield one, envelope
        if not found:
            await stream.wait(None)


def _decoded(one: Stored, subjects: Sequence[str]) -> events.Envelope | None:
    """The event, if its subject is one of these and it is one."""
    if not any(rules.matches(subject, one.subject) for subject in subjects):
        return None
    try:
        return events.decode(one.body)
    except events.EventError as error:
        _log.warning("event left out", sequence=one.sequence, error=str(error))
        return None
