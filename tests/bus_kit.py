"""What the tests of the bus share: events to publish, a handler that fails on demand, ways to wait."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, Never

import msgspec

from ashore import events
from ashore.bus import Bus, BusUnavailable, Handler, Redelivery
from ashore.bus.nats import NatsBus, connect
from ashore.bus.server import EmbeddedServer

BLOB = "rendezvous-blob." + "b" * 32
QUICK = Redelivery(delays=(0.05, 0.1), max_deliver=3, later_seconds=0.05, concurrency=4)
"""Redelivery as in production, only sooner."""


class Setup(msgspec.Struct):
    """A bus, a second participant of it, and a way to let time pass."""

    bus: Bus
    other: Bus
    elapse: Callable[[float], Awaitable[None]]


def guid(number: int) -> str:
    return f"{number:032x}"


def redirected(number: int = 1) -> events.DeviceRedirected:
    return events.DeviceRedirected(guid=guid(number), addresses=[f"http://owner/{number}"])


async def publish(bus: Bus, event: events.Event, identity: str | None = None) -> int:
    identity = identity or event.subject
    wrapped = events.envelope(event, source="/test", id=identity, time=datetime.now(UTC))
    return await bus.publish(event.subject, events.encode(wrapped), id=identity)


@asynccontextmanager
async def consuming(bus: Bus, handler: Handler, *names: str, durable: str = "owner") -> AsyncIterator[None]:
    task = asyncio.create_task(bus.consume(durable, names or ("device-redirected",), handler))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


class Seen:
    """A handler that notes what it gets, and fails as often as it is told to."""

    def __init__(self, *, failures: dict[int, int] | None = None, error: Exception | None = None) -> None:
        self.subjects: list[str] = []
        self.attempts: list[str] = []
        self._failures = failures or {}
        self._error = error or RuntimeError("the disk is on fire")

    async def __call__(self, envelope: events.Envelope) -> None:
        self.attempts.append(envelope.subject)
        number = int(envelope.subject.rpartition(".")[2], 16)
        if self._failures.get(number, 0) > 0:
            self._failures[number] -= 1
            raise self._error
        self.subjects.append(envelope.subject)


async def echo(body: bytes) -> bytes:
    return body[::-1]


async def never(_: object) -> Never:
    await asyncio.Event().wait()
    raise AssertionError


async def until(condition: Callable[[], bool], *, seconds: float = 20) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - what is waited for happens in other tasks and processes
            await asyncio.sleep(0.01)


async def take(found: AsyncIterator[tuple[int, events.Envelope]], count: int) -> list[tuple[int, str]]:
    taken: list[tuple[int, str]] = []
    async with asyncio.timeout(20):
        async for sequence, envelope in found:
            taken.append((sequence, envelope.subject))
            if len(taken) == count:
                break
    return taken


async def join(server: EmbeddedServer, user: str, tls: ssl.SSLContext | None = None) -> NatsBus:
    """Join the server's bus as this user."""
    return await connect(server.url, name=user, seed_file=str(server.seed_file(user)), redelivery=QUICK, tls=tls)


@asynccontextmanager
async def joined(
    server: EmbeddedServer, *users: str, tls: ssl.SSLContext | None = None
) -> AsyncIterator[list[NatsBus]]:
    buses = [await join(server, user, tls) for user in users]
    try:
        yield buses
    finally:
        for bus in buses:
            await bus.close()


async def ask(bus: NatsBus, operation: str, request: Mapping[str, object] | None = None) -> dict[str, Any]:
    """Ask the server's JetStream API as this user."""
    connection = await bus._link.connection(5)
    message = await connection.request(f"$JS.API.{operation}", msgspec.json.encode(request or {}), seconds=5)
    return msgspec.json.decode(message.data, type=dict[str, Any])


async def stream_part(bus: NatsBus, stream: str, part: str) -> dict[str, Any]:
    """Return the `config` or the `state` of a stream."""
    answer = await ask(bus, f"STREAM.INFO.{stream}")
    return msgspec.convert(answer[part], dict[str, Any])


async def fresh_streams(bus: NatsBus) -> None:
    """Delete every stream, and declare them anew."""
    for stream in events.STREAMS:
        await ask(bus, f"STREAM.DELETE.{stream.name}")
    async with asyncio.timeout(20):
        while True:
            try:
                return await bus.declare()
            except BusUnavailable:
                # Under load the server was seen to be still removing the files of the old one.
                await asyncio.sleep(0.1)
