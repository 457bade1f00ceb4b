"""Dead letters on JetStream: read by people, read by the subscriber that failed, deleted.

People pull from a consumer that reads all of them. A subscriber may read its own only, and is pushed one into its
private inbox: that needs no further right than to make a consumer whose filter, which the server checks, is its own.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from secrets import token_hex

from ashore import events
from ashore.bus import BusUnavailable, Letter, LetterGone, letters
from ashore.bus.nats import calls, jetstream, pull
from ashore.bus.nats.link import Link

_STREAM = events.DEAD_LETTERS.name
_BATCH = 32
_SECONDS = 5.0
_FORGOTTEN_SECONDS = 30
_BRIEF: jetstream.JSON = {
    "deliver_policy": "by_start_sequence",
    "mem_storage": True,
    "num_replicas": 1,
    "inactive_threshold": _FORGOTTEN_SECONDS * jetstream.NANOSECONDS,
}


async def everyone(link: Link, first: int) -> AsyncGenerator[Letter, None]:
    """See `Bus.letters`."""
    connection = await link.connection(calls.PATIENCE_SECONDS)
    name = f"letters-{token_hex(8)}"
    left = await pull.make(connection, _STREAM, name, {**_BRIEF, "ack_policy": "none", "opt_start_seq": first})
    async with aclosing(pull.messages(connection, _STREAM, name, _room)) as messages:
        while left:
            try:
                async with asyncio.timeout(_SECONDS):
                    message = await anext(messages)
            except TimeoutError:
                return  # What was still to come has been dropped meanwhile.
            position = pull.Position.of(message)
            left = position.left
            if (letter := letters.read(position.sequence, message.data)) is not None:
                yield letter


async def own(link: Link, durable: str, event: str, number: int) -> Letter | None:
    """One letter of this subscriber; None where it has none of this number."""
    connection = await link.connection(calls.PATIENCE_SECONDS)
    subject, name, inbox = f"dead-letter.{durable}.{event}", f"retry-{token_hex(8)}", connection.inbox()
    # One at a time until it is acknowledged, which never happens: what comes after the letter stays where it is.
    settings = {"ack_policy": "explicit", "max_ack_pending": 1, "deliver_subject": inbox, "filter_subject": subject}
    async with connection.listen(inbox) as queue:
        if not await pull.make(connection, _STREAM, name, {**_BRIEF, "opt_start_seq": number, **settings}):
            return None
        async with asyncio.timeout(_SECONDS):
            message = await queue.get()
    if message is None:
        raise BusUnavailable(f"the connection ended while reading dead letter {number}")
    found = pull.Position.of(message).sequence
    return letters.read(found, message.data) if found == number else None


async def drop(link: Link, number: int) -> None:
    """See `Bus.drop`."""
    try:
        # Beyond the end of the stream the server would speak of a broken store.
        if not await _is_there(link, number):
            raise LetterGone(f"there is no dead letter {number}")
        await calls.call(link, f"STREAM.MSG.DELETE.{_STREAM}", {"seq": number})
    except jetstream.NotFound as error:
        raise LetterGone(f"there is no dead letter {number}") from error


async def _is_there(link: Link, number: int) -> bool:
    async with aclosing(everyone(link, number)) as found:
        return (first := await anext(found, None)) is not None and first.number == number


async def _room() -> int:
    return _BATCH
