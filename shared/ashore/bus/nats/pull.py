"""Pulls the messages of a JetStream consumer, never more than the caller has room for.

One inbox for each request: what a request left behind when it expired cannot be taken for an answer to the next one.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Self

import msgspec
from nats.aio.msg import Msg

from ashore.bus import BusUnavailable
from ashore.bus.nats.jetstream import NANOSECONDS, NotFound, call
from ashore.bus.nats.link import Connection, status

_EXPIRES_SECONDS = 30
_HEARTBEAT_SECONDS = 5
_SILENCE_SECONDS = 3 * _HEARTBEAT_SECONDS
_PAUSE_SECONDS = 0.25
_HEARTBEAT = "100"
_EXPIRED = {"404", "408"}
_ACK_TOKENS = 9


class Position(msgspec.Struct, frozen=True):
    """Where a delivered message stands: in its stream, in its consumer, how often it was delivered, what follows it."""

    sequence: int
    consumer_sequence: int
    delivered: int
    left: int

    @classmethod
    def of(cls, message: Msg) -> Self:
        """Read it from the subject for the acknowledgement, of either shape."""
        tokens = message.reply.split(".")
        # $JS.ACK.<stream>.<consumer>.<delivered>.<sequence>.<consumer sequence>.<time>.<pending>; the second shape
        # has domain and account in front of the stream.
        first = 4 if len(tokens) == _ACK_TOKENS else 6
        delivered, sequence, consumer_sequence = (int(token) for token in tokens[first : first + 3])
        return cls(sequence, consumer_sequence, delivered, int(tokens[first + 4]))


async def make(connection: Connection, stream: str, name: str, settings: Mapping[str, object]) -> int:
    """Make the consumer, or leave it as it is if it is there with the same settings; how many messages it has."""
    config = {"name": name, "deliver_policy": "all", "replay_policy": "instant", **settings}
    # With its one filter in the subject, a user's permission can name what its consumer may read.
    only = settings.get("filter_subject")
    operation = f"CONSUMER.CREATE.{stream}.{name}" + (f".{only}" if only else "")
    info = await call(connection, operation, {"stream_name": stream, "config": config})
    pending = info.get("num_pending")
    return pending if isinstance(pending, int) else 0


async def messages(
    connection: Connection, stream: str, name: str, room: Callable[[], Awaitable[int]]
) -> AsyncGenerator[Msg, None]:
    """Yield what the consumer delivers, for ever. `room` waits until there is some, and says how much.

    Raises NotFound when the consumer is gone, BusUnavailable when the connection is.
    """
    while True:
        async with _request(connection, stream, name, await room()) as answers:
            async for message in answers:
                yield message


@asynccontextmanager
async def _request(connection: Connection, stream: str, name: str, batch: int) -> AsyncIterator[AsyncIterator[Msg]]:
    inbox = connection.inbox()
    request = {
        "batch": batch,
        "expires": _EXPIRES_SECONDS * NANOSECONDS,
        "idle_heartbeat": _HEARTBEAT_SECONDS * NANOSECONDS,
    }
    async with connection.listen(inbox) as queue:
        await connection.publish(
            f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{name}", msgspec.json.encode(request), reply=inbox
        )
        yield _answers(queue, batch, name)


async def _answers(queue: "asyncio.Queue[Msg | None]", batch: int, name: str) -> AsyncIterator[Msg]:
    while batch:
        try:
            async with asyncio.timeout(_SILENCE_SECONDS):
                message = await queue.get()
        except TimeoutError:
            return
        if message is None:
            raise BusUnavailable(f"the connection ended while waiting for {name}")
        code = status(message)
        if code is None:
            batch -= 1
            yield message
        elif code != _HEARTBEAT:
            await _stopped(message, code, name)
            return


async def _stopped(message: Msg, code: str, name: str) -> None:
    if code in _EXPIRED:
        return
    description = (message.headers or {}).get("Description", "")
    if code == "503" or "Consumer Deleted" in description:
        raise NotFound(f"the consumer {name} is gone: {code} {description}")
    await asyncio.sleep(_PAUSE_SECONDS)
