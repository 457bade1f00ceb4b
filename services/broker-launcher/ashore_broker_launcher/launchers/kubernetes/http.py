"""Questions to an API server over connections that are kept: a pool of them, who asks, and how long one waits.

It costs 0.2 ms of CPU where httpx needs 1.2 and aiohttp 0.4, and no memory beside what the service has anyway
(docs/adr/0011). What has no whole answer is Unreachable; what the answer means is for `errors`.
"""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import msgspec

from ashore_broker_launcher.cluster import Refused, Unreachable
from ashore_broker_launcher.launchers.kubernetes.access import Access
from ashore_broker_launcher.launchers.kubernetes.connection import (
    Answer,
    Broken,
    Connection,
    Stream,
    Whole,
)

LARGEST_ERROR: Final = 65_536
_MOST_AT_ONCE: Final = 32
_UNAUTHORIZED: Final = 401
_AGAIN: Final = frozenset({"GET", "PATCH", "PUT", "DELETE"})
"""What may be asked twice: it says what shall be, and for which version or uid."""


class Bounds(msgspec.Struct, frozen=True):
    """How much an answer may be, and how long it may take."""

    answer: int = 16 * 1024 * 1024
    """Bytes, of a whole answer; a page of a list is smaller, unless objects are huge."""
    event: int = 8 * 1024 * 1024
    """Bytes, of one event of a watch; an object is at most 1.5 MiB where it is stored."""
    connect_seconds: float = 10.0
    answer_seconds: float = 40.0
    """The API server gives up most questions after 34 s, and says so."""


class Http:
    """A pool of connections to one API server."""

    def __init__(self, access: Access, bounds: Bounds | None = None) -> None:
        self._access = access
        self.bounds = bounds or Bounds()
        self._idle: list[Connection] = []
        self._room = asyncio.Semaphore(_MOST_AT_ONCE)
        self._prefix = access.url.path.rstrip("/")
        self._common = (
            f"Host: {access.url.netloc}\r\nUser-Agent: ashore-broker-launcher\r\nAccept: application/json\r\n"
        )

    async def ask(
        self,
        method: str,
        target: str,
        body: bytes = b"",
        coding: str = "application/json",
    ) -> Answer:
        """The answer, whatever its status; raise Unreachable, or TooLargeError."""
        try:
            # The wait for room is none for an answer.
            async with self._room, asyncio.timeout(self.bounds.answer_seconds):
                answer = await self._ask_twice(method, target, body, coding)
                if answer.status == _UNAUTHORIZED and self._access.credentials.renew():
                    answer = await self._ask_twice(method, target, body, coding)
                return answer
        except TimeoutError as error:
            raise Unreachable(
                f"{self._where}: no answer in {self.bounds.answer_seconds} s to {method} {target}"
            ) from error

    @asynccontextmanager
    async def stream(self, target: str) -> AsyncIterator[tuple[Answer, Stream]]:
        """The head of an answer, and its body while it comes, on a connection that is nobody else's."""
        try:
            async with asyncio.timeout(self.bounds.answer_seconds):
                connection, stream, head = await self._open_stream(target)
                if head.status == _UNAUTHORIZED and self._access.credentials.renew():
                    connection.abort()
                    connection, stream, head = await self._open_stream(target)
        except TimeoutError as error:
            raise Unreachable(f"{self._where}: no answer in {self.bounds.answer_seconds} s to GET {target}") from error
        try:
            yield head, stream
        except Broken as error:
            raise Unreachable(f"{self._where}: {error}") from error
        finally:
            connection.abort()

    def close(self) -> None:
        """End the connections that nobody uses."""
        while self._idle:
            self._idle.pop().abort()

    @property
    def _where(self) -> str:
        return self._access.url.geturl()

    async def _open_stream(self, target: str) -> tuple[Connection, Stream, Answer]:
        question = await self._question("GET", target, b"", "")
        connection = await self._connect()
        stream = Stream(connection)
        try:
            connection.ask(question, stream)
            return connection, stream, await stream.head
        except Broken as error:
            raise Unreachable(f"{self._where}: {error}") from error
        except BaseException:
            connection.abort()
            raise

    async def _ask_twice(self, method: str, target: str, body: bytes, coding: str) -> Answer:
        question = await self._question(method, target, body, coding)
        try:
            connection = self._kept()
            if connection is not None:
                try:
                    return await self._ask_on(connection, question)
                except Broken as error:
                    # A connection that was idle may have ended while we wrote; a new one tells.
                    if not error.silent or method not in _AGAIN:
                        raise
            return await self._ask_on(await self._connect(), question)
        except Broken as error:
            raise Unreachable(f"{self._where}: {error}") from error

    async def _ask_on(self, connection: Connection, question: bytes) -> Answer:
        whole = Whole(self.bounds.answer)
        try:
            connection.ask(question, whole)
            answer = await whole.done
        except BaseException:
            # Whoever was cancelled leaves an answer behind that nobody else may read.
            connection.abort()
            raise
        if connection.free:
            self._idle.append(connection)
        return answer

    def _kept(self) -> Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if connection.free:
                return connection
        return None

    async def _connect(self) -> Connection:
        access = self._access
        context = access.tls.context() if access.tls else None
        try:
            async with asyncio.timeout(self.bounds.connect_seconds):
                transport, connection = await asyncio.get_running_loop().create_connection(
                    Connection,
                    access.host,
                    access.port,
                    ssl=context,
                    server_hostname=access.server_name if context else None,
                )
        except TimeoutError as error:
            raise Unreachable(
                f"{self._where} cannot be reached: no answer in {self.bounds.connect_seconds} s"
            ) from error
        except OSError as error:
            raise Unreachable(f"{self._where} cannot be reached: {error}") from error
        _keep_alive(transport)
        return connection

    async def _question(self, method: str, target: str, body: bytes, coding: str) -> bytes:
        login = await self._access.credentials.header()
        lines = f"{method} {self._prefix}{target} HTTP/1.1\r\n{self._common}"
        if login:
            lines += f"Authorization: {login}\r\n"
        if body:
            lines += f"Content-Type: {coding}\r\nContent-Length: {len(body)}\r\n"
        if not lines.isascii():
            raise Refused(f"{method} {target}: this is no address of an object", 400)
        return lines.encode() + b"\r\n" + body


def _keep_alive(transport: asyncio.BaseTransport) -> None:
    """A peer that is gone without a word is noticed within a minute."""
    plug = transport.get_extra_info("socket")
    if plug is None or plug.family == socket.AF_UNIX:
        return
    plug.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3)):
        if hasattr(socket, option):
            plug.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
