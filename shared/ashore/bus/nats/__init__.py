"""The bus on NATS JetStream.

A call while NATS is away fails within a second with BusUnavailable, and the connection is made again behind the
scenes. A call that times out may still have happened, so it carries an id by which the server knows it again, and is
repeated for some seconds before it is given up.
"""

import asyncio
import ssl
from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial

from ashore import events
from ashore.bus import BusUnavailable, Handler, Letter, LetterGone, Redelivery, Responder, Serving, letters, rules
from ashore.bus.nats import calls, parked, replies, streams, values
from ashore.bus.nats.consuming import Worker
from ashore.bus.nats.following import Follower, state
from ashore.bus.nats.link import Link, Options


async def connect(
    url: str,
    *,
    name: str,
    seed_file: str | None = None,
    seed: str | None = None,
    inbox_prefix: str | None = None,
    tls: ssl.SSLContext | None = None,
    replicas: int = 1,
    redelivery: Redelivery | None = None,
) -> "NatsBus":
    """Join the bus as the user `name`, at one URL or several with commas between. It need not be there yet.

    The seed of the user's NKey comes from a file or as such. `replicas` is for streams that are created: 3 in a
    cluster of three. The inbox prefix must be the one that the user's permissions say: `_INBOX_<name>`.
    """
    options = Options(
        servers=tuple(part.strip() for part in url.split(",")),
        name=name,
        inbox_prefix=inbox_prefix or f"_INBOX_{name}",
        seed_file=seed_file,
        seed=seed,
        tls=tls,
    )
    link = Link(options)
    try:
        with suppress(BusUnavailable):
            await link.connection(calls.PATIENCE_SECONDS)
    except BaseException:
        # A service that is told to stop while it starts: the link's task would keep its loop from closing.
        await link.close()
        raise
    return NatsBus(link, replicas=replicas, redelivery=redelivery or Redelivery())


class NatsBus:
    """The bus, as `ashore.bus.Bus` describes it."""

    def __init__(self, link: Link, *, replicas: int, redelivery: Redelivery) -> None:
        self._link = link
        self._replicas = replicas
        self._redelivery = redelivery
        self._servers: list[replies.Server] = []

    async def publish(self, subject: str, body: bytes, *, id: str) -> int:  # noqa: A002 - the name in CloudEvents
        """See `Bus.publish`."""
        rules.stream_for(subject, body)
        return await calls.store(self._link, subject, body, {"Nats-Msg-Id": id})

    async def consume(self, durable: str, names: Sequence[str], handler: Handler) -> None:
        """See `Bus.consume`."""
        async with asyncio.TaskGroup() as group:
            for name in names:
                group.create_task(self._consume(durable, name, handler), name=f"consume-{durable}-{name}")

    async def _consume(self, durable: str, name: str, handler: Handler) -> None:
        retrier = letters.Retrier(partial(parked.own, self._link, durable, name), handler, self._redelivery)
        async with replies.Server(self._link, letters.retry_subject(durable, name), retrier, group=durable):
            await Worker(self._link, durable, name, handler, self._redelivery).run()

    def follow(
        self, subjects: Sequence[str], *, since: datetime | None = None, replay: bool = False
    ) -> AsyncGenerator[tuple[int, events.Envelope], None]:
        """See `Bus.follow`."""
        return Follower(self._link, subjects, since, replay=replay).run()

    def state(self, subjects: Sequence[str]) -> AsyncGenerator[tuple[int, events.Envelope] | None, None]:
        """See `Bus.state`."""
        return state(self._link, subjects)

    def letters(self, first: int = 1) -> AsyncGenerator[Letter, None]:
        """See `Bus.letters`."""
        return parked.everyone(self._link, first)

    async def retry(self, letter: Letter) -> None:
        """See `Bus.retry`."""
        await letters.order(partial(replies.request, self._link), letter)
        with suppress(LetterGone):
            await self.drop(letter.number)

    async def drop(self, number: int) -> None:
        """See `Bus.drop`."""
        await parked.drop(self._link, number)

    async def put(self, subject: str, body: bytes, *, ttl: int | None, expected: int | None = None) -> int:
        """See `Bus.put`."""
        rules.check_value(subject, body, ttl)
        return await values.put(self._link, subject, body, ttl, expected)

    async def get(self, subject: str) -> bytes | None:
        """See `Bus.get`."""
        return await values.get(self._link, subject)

    async def delete(self, subject: str) -> None:
        """See `Bus.delete`."""
        rules.check_value(subject, b"", None)
        await values.delete(self._link, subject)

    async def keys(self, subject_filter: str) -> list[str]:
        """See `Bus.keys`."""
        return await values.keys(self._link, subject_filter)

    async def request(self, subject: str, body: bytes, *, timeout: float) -> bytes:  # noqa: ASYNC109 - part of the question
        """See `Bus.request`."""
        rules.check_request(subject, body)
        return await replies.request(self._link, subject, body, timeout)

    async def serve(self, subject: str, handler: Responder) -> Serving:
        """See `Bus.serve`. It is served when this returns, unless NATS is away: then as soon as it is back."""
        server = replies.Server(self._link, subject, handler)
        self._servers.append(server)
        with suppress(TimeoutError):
            async with asyncio.timeout(calls.PATIENCE_SECONDS):
                await server.ready.wait()
        return server

    async def check(self) -> None:
        """See `Bus.check`."""
        absent = await streams.missing(await self._link.connection(calls.PATIENCE_SECONDS))
        if absent:
            raise BusUnavailable(f"NATS has no stream {', '.join(absent)} yet; `ashore up` declares them")

    async def declare(self) -> None:
        """See `Bus.declare`."""
        connection = await self._link.connection(calls.PATIENCE_SECONDS)
        await streams.check_server(connection)
        await streams.declare(connection, self._replicas)

    async def close(self) -> None:
        """See `Bus.close`."""
        await asyncio.gather(*(server.close() for server in self._servers))
        await self._link.close()
