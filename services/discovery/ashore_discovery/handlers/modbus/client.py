"""A connection to a Modbus server: asked who it is, and closed. Many controllers take only one or two of them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from ashore_discovery.handlers.modbus import frames

CONNECT_SECONDS: Final = 0.4
"""A machine on the same network answers in less, and a lost packet is made up for by asking again."""
_ANSWER_SECONDS: Final = 1.0
_MOST_PARTS: Final = 8
_MOST_STRAY: Final = 4


class SilentError(Exception):
    """Nobody answers there."""


class BusyError(Exception):
    """It takes the connection and closes it at once: others have all that it can serve."""


class Connection:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._transaction = 0

    async def ask(self, unit: int, body: bytes) -> bytes:
        """The answer; raise SilentError, BusyError, FrameError."""
        self._transaction += 1
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                self._writer.write(frames.request(self._transaction, unit, body))
                for _ in range(_MOST_STRAY):
                    transaction, told, length = frames.header(await self._reader.readexactly(frames.HEADER.size))
                    answer = await self._reader.readexactly(length)
                    # What comes late is an answer to what was given up.
                    if (transaction, told) == (self._transaction, unit):
                        return answer
        except TimeoutError as error:
            raise SilentError("it does not answer") from error
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            raise BusyError("it closes the connection") from error
        raise frames.FrameError("answers to other questions")


@asynccontextmanager
async def connected(address: str, port: int) -> AsyncIterator[Connection]:
    """A connection for the length of the block; raise SilentError."""
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            reader, writer = await asyncio.open_connection(address, port, limit=1024)
    except (OSError, TimeoutError) as error:
        raise SilentError(f"{address} takes no connection") from error
    try:
        yield Connection(reader, writer)
    finally:
        writer.close()


async def identity(connection: Connection, unit: int, *, surely: bool) -> dict[str, str]:
    """What the unit says of itself; `surely` where others answer at the same address. Raise SilentError and others."""
    if surely:
        await _present(connection, unit)
    try:
        return {"identified_by": "identification"} | await _objects(connection, unit)
    except frames.RefusedError as error:
        if error.code in frames.NO_PATH:
            raise SilentError(f"nobody has the unit id {unit}") from error
    try:
        said = frames.server(await connection.ask(unit, frames.server_id()))
    except (frames.RefusedError, frames.FrameError, SilentError, BusyError):
        return {"identified_by": "answer"}
    return {"identified_by": "server-id"} | ({"server_id": said} if said else {})


async def _objects(connection: Connection, unit: int) -> dict[str, str]:
    found: dict[str, str] = {}
    level, first = 1, 0
    for _ in range(_MOST_PARTS):
        try:
            part = frames.objects(await connection.ask(unit, frames.identify(level, first)))
        except frames.RefusedError:
            if level == 1:
                raise
            break
        found |= part.texts
        if part.after is not None and part.after > first:
            first = part.after
        elif part.regular and level == 1:
            level, first = 2, 0
        else:
            break
    return found


async def _present(connection: Connection, unit: int) -> None:
    """Some servers identify themselves for every unit id, so they are asked for something else first."""
    try:
        frames.register(await connection.ask(unit, frames.read_register()))
    except frames.RefusedError as error:
        # pymodbus says "device failure" where it should say that there is no path.
        if error.code in {*frames.NO_PATH, frames.FAILURE}:
            raise SilentError(f"nobody has the unit id {unit}") from error
