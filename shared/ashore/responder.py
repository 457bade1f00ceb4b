"""`/healthz`, `/readyz` and `/metrics` over HTTP/1.1, and nothing else.

Three answers need no web server: the one of the other services would double the memory of an edge image.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Final, NamedTuple

LONGEST_HEAD: Final = 8192
SECONDS: Final = 5.0
MOST_CONNECTIONS: Final = 32


class Answer(NamedTuple):
    """What is answered."""

    status: int
    body: bytes
    type: str = "application/json"


Responses = Mapping[str, Callable[[], Awaitable[Answer]]]
_WORDS: Final = {200: "OK", 400: "Bad Request", 404: "Not Found", 405: "Method Not Allowed", 503: "Service Unavailable"}


class Responder:
    """Answers requests on a port."""

    def __init__(self, responses: Responses) -> None:
        self._responses = responses
        self._open = 0
        self._server: asyncio.Server | None = None

    async def start(self, host: str, port: int) -> int:
        """Listen; the answer is the port. Raise OSError, with a sentence that says what to do."""
        try:
            self._server = await asyncio.start_server(self._connected, host, port, limit=LONGEST_HEAD)
        except OSError as error:
            why = os.strerror(error.errno) if error.errno and error.errno > 0 else error
            raise OSError(f"cannot listen on {host}:{port} ({why}): set ASHORE_HOST or ASHORE_PORT") from error
        return int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """Listen no more."""
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open += 1
        try:
            # One who sends nothing, or will not read, is left after a moment; a crowd is not even listened to.
            if self._open <= MOST_CONNECTIONS:
                async with asyncio.timeout(SECONDS):
                    await self._answer(reader, writer)
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        finally:
            self._open -= 1
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        answer = await self._respond(head.split(b"\r\n", 1)[0].decode("latin-1").split(" "))
        writer.write(
            f"HTTP/1.1 {answer.status} {_WORDS[answer.status]}\r\nContent-Type: {answer.type}\r\n"
            f"Content-Length: {len(answer.body)}\r\nConnection: close\r\n\r\n".encode()
        )
        writer.write(answer.body)
        await writer.drain()

    async def _respond(self, line: list[str]) -> Answer:
        match line:
            case [method, target, version] if version.startswith("HTTP/1."):
                response = self._responses.get(target.partition("?")[0])
                if response is None:
                    return Answer(404, b'{"title":"there is /healthz, /readyz and /metrics"}')
                return await response() if method == "GET" else Answer(405, b'{"title":"only GET"}')
        return Answer(400, b'{"title":"this is no HTTP/1.1"}')
