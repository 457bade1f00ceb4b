"""Reads a stream in order: what was, then what comes, across lost connections."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from datetime import datetime
from secrets import token_hex

import structlog

from ashore import events
from ashore.bus import BusUnavailable
from ashore.bus.nats import jetstream, pull
from ashore.bus.nats.link import Connection, Link

_BATCH = 128
_FORGOTTEN_SECONDS = 60
_RETRY_SECONDS = 1
_log = structlog.get_logger()


class Follower:
    """One reader of one stream. It knows its next sequence, and begins there again after every interruption."""

    def __init__(
        self,
        link: Link,
        subjects: Sequence[str],
        since: datetime | None = None,
        *,
        replay: bool = False,
        latest: bool = False,
    ) -> None:
        self._link = link
        self._stream = events.stream_of(subjects).name
        self._filters = [] if ">" in subjects else list(subjects)
        self._since = since
        self._latest = latest
        self._said = ""
        self._next = 1 if replay and since is None else 0

    async def run(self) -> AsyncGenerator[tuple[int, events.Envelope], None]:
        """Yield (sequence, envelope) for ever."""
        async with aclosing(self.steps()) as found:
            async for step in found:
                if step is not None:
                    yield step

    async def steps(self) -> AsyncGenerator[tuple[int, events.Envelope] | None, None]:
        """Yield (sequence, envelope) for ever, and None whenever all that there was has been read."""
        while True:
            try:
                async with aclosing(self._read(await self._link.connection())) as found:
                    async for message in found:
                        if message is None:
                            yield None
                        elif (step := self._decoded(*message)) is not None:
                            yield step
            except (BusUnavailable, jetstream.NotFound) as error:
                if str(error) != self._said:
                    _log.warning("reading interrupted", stream=self._stream, error=str(error))
                self._said = str(error)
            await asyncio.sleep(_RETRY_SECONDS)

    def _decoded(self, sequence: int, body: bytes) -> tuple[int, events.Envelope] | None:
        try:
            return sequence, events.decode(body)
        except events.EventError as error:
            _log.warning("event left out", stream=self._stream, sequence=sequence, error=str(error))
            return None

    async def _read(self, connection: Connection) -> AsyncGenerator[tuple[int, bytes] | None, None]:
        name = f"follow-{token_hex(8)}"
        left = await pull.make(connection, self._stream, name, await self._settings(connection))
        self._said, expected = "", 1
        if not left:
            yield None
        async with aclosing(pull.messages(connection, self._stream, name, self._room)) as messages:
            async for message in messages:
                position = pull.Position.of(message)
                if position.consumer_sequence != expected:
                    # One was lost on its way to us: begin again at the one that is next.
                    return
                expected += 1
                self._next = position.sequence + 1
                yield position.sequence, message.data
                if not position.left:
                    yield None

    async def _settings(self, connection: Connection) -> jetstream.JSON:
        settings: jetstream.JSON = {
            "ack_policy": "none",
            "mem_storage": True,
            "num_replicas": 1,
            "inactive_threshold": _FORGOTTEN_SECONDS * jetstream.NANOSECONDS,
        }
        if len(self._filters) == 1:
            settings["filter_subject"] = self._filters[0]
        elif self._filters:
            settings["filter_subjects"] = self._filters
        return settings | await self._start(connection)

    async def _start(self, connection: Connection) -> jetstream.JSON:
        if not self._next and self._latest:
            return {"deliver_policy": "last_per_subject"}
        if not self._next and self._since is not None:
            return {"deliver_policy": "by_start_time", "opt_start_time": self._since.isoformat()}
        if not self._next:
            # "From now on" is a sequence as well, so that nothing is missed if the connection ends before the first.
            self._next = await _last_sequence(connection, self._stream) + 1
        return {"deliver_policy": "by_start_sequence", "opt_start_seq": self._next}

    async def _room(self) -> int:
        return _BATCH


async def state(link: Link, subjects: Sequence[str]) -> AsyncGenerator[tuple[int, events.Envelope] | None, None]:
    """See `Bus.state`. One reader for each subject: a right may be for one subject, and never for several at once."""
    events.stream_of(subjects)
    steps: asyncio.Queue[tuple[int, events.Envelope] | str] = asyncio.Queue(_BATCH)

    async def read(subject: str) -> None:
        async with aclosing(Follower(link, [subject], latest=True).steps()) as found:
            async for step in found:
                await steps.put(subject if step is None else step)

    behind = set(subjects)
    readers = [asyncio.create_task(read(subject), name=f"state of {subject}") for subject in subjects]
    try:
        while True:
            step = await steps.get()
            if not isinstance(step, str):
                yield step
            elif step in behind:
                behind.discard(step)
                if not behind:
                    yield None
    finally:
        for reader in readers:
            reader.cancel()
        await asyncio.gather(*readers, return_exceptions=True)


async def _last_sequence(connection: Connection, stream: str) -> int:
    info = await jetstream.call(connection, f"STREAM.INFO.{stream}")
    state = info.get("state")
    last = state.get("last_seq", 0) if isinstance(state, dict) else 0
    return last if isinstance(last, int) else 0
