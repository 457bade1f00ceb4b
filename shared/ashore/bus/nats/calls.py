"""Calls that are repeated until they are answered, for as long as that makes sense.

A timeout says nothing about what has happened. What is stored carries an id, by which the server knows a repetition.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

from ashore.bus import BusUnavailable
from ashore.bus.nats import jetstream
from ashore.bus.nats.link import Connection, Link

PATIENCE_SECONDS = 1.0
"""How long a call waits for a connection."""
# A cluster that elects a new leader answers nothing for 4 to 6 s.
_GIVE_UP_SECONDS = 12.0
_ATTEMPT_SECONDS = 3.0
_PAUSE_SECONDS = 0.25

T = TypeVar("T")


async def repeated(link: Link, action: Callable[[Connection], Awaitable[T]]) -> T:
    """Do it until it is answered; BusUnavailable at once without a connection, and after 12 s with one."""
    clock = asyncio.get_running_loop().time
    deadline = clock() + _GIVE_UP_SECONDS
    while True:
        connection = await link.connection(PATIENCE_SECONDS)
        try:
            return await action(connection)
        except BusUnavailable:
            if clock() >= deadline:
                raise
        await asyncio.sleep(_PAUSE_SECONDS)


async def store(link: Link, subject: str, body: bytes, headers: Mapping[str, str]) -> int:
    """Publish into a stream, with a `Nats-Msg-Id` among the headers; the answer is the sequence."""
    return await repeated(
        link, lambda connection: jetstream.store(connection, subject, body, headers, seconds=_ATTEMPT_SECONDS)
    )


async def call(link: Link, operation: str, request: Mapping[str, object]) -> jetstream.JSON:
    """Ask `$JS.API.<operation>`."""
    return await repeated(link, lambda connection: jetstream.call(connection, operation, request))
