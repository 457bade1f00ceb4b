"""An API server that says what a test has written down, answer by answer, and how: late, cut, endless, or not at all.

It proves nothing about Kubernetes. It makes happen what a real API server does once a year.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple, Self
from urllib.parse import parse_qsl, urlsplit

import msgspec

from ashore_broker_launcher.launchers.kubernetes.access import Access
from ashore_broker_launcher.launchers.kubernetes.credentials import Credentials, Fixed


class Question(NamedTuple):
    """What was asked."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes
    connection: int
    """Which connection it came by."""


Answering = Callable[[asyncio.StreamWriter], Awaitable[None]]


class ScriptedServer:
    """It answers in the order of `script`, whoever asks, and after the last answer never again."""

    def __init__(self, *script: Answering) -> None:
        self.script = deque(script)
        self.asked: list[Question] = []
        self.ended = 0
        """How many connections the client has ended."""
        self._connections = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def access(self, credentials: Credentials | None = None) -> Access:
        """How our adapter reaches it."""
        host, port = self._server.sockets[0].getsockname()
        return Access(urlsplit(f"http://{host}:{port}"), None, "", credentials or Fixed())

    def queries(self, name: str) -> list[str | None]:
        """One parameter of all questions."""
        return [question.query.get(name) for question in self.asked]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._connections += 1
        number = self._connections
        try:
            while not writer.is_closing():
                self.asked.append(await _read(reader, number))
                await self._answer(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            self.ended += 1
        except asyncio.CancelledError:
            pass
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.script:
            await self.script.popleft()(writer)
            await writer.drain()
        else:
            # Until the client goes.
            await reader.readexactly(1)


async def _read(reader: asyncio.StreamReader, connection: int) -> Question:
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    first, *lines = head.strip().split("\r\n")
    method, target, _ = first.split(" ")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    parts = urlsplit(target)
    return Question(method, parts.path, dict(parse_qsl(parts.query)), headers, body, connection)


def raw(data: bytes, *, close: bool = False) -> Answering:
    """These bytes."""

    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        if close:
            writer.close()

    return answer


def said(body: Any, status: int = 200, *, close: bool = False, **headers: str) -> Answering:
    """An answer in JSON."""
    content = body if isinstance(body, bytes) else msgspec.json.encode(body)
    more = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    head = f"HTTP/1.1 {status} Said\r\nContent-Length: {len(content)}\r\n{more}\r\n"
    return raw(head.encode() + content, close=close)


def failed(status: int, reason: str = "", message: str = "no", **headers: str) -> Answering:
    """A Status that says no."""
    return said({"kind": "Status", "status": "Failure", "reason": reason, "message": message}, status, **headers)


def listed(version: str, *items: dict[str, Any], more: str = "") -> Answering:
    """A list, or a page of one."""
    return said({"metadata": {"resourceVersion": version, "continue": more}, "items": list(items)})


def events(*told: tuple[str, dict[str, Any]], cut: bool = False, stay: bool = False) -> Answering:
    """A watch that tells this and then ends in order, or is cut, or stays silent."""

    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for kind, body in told:
            line = msgspec.json.encode({"type": kind, "object": body}) + b"\n"
            writer.write(f"{len(line):x}\r\n".encode() + line + b"\r\n")
        await writer.drain()
        if stay:
            await asyncio.Event().wait()
        elif cut:
            writer.close()
        else:
            writer.write(b"0\r\n\r\n")

    return answer


def endless(head: bytes, part: bytes) -> Answering:
    """The same again and again, until the client ends it."""

    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(head)
        while True:
            writer.write(part)
            await writer.drain()
            if writer.is_closing():
                raise ConnectionResetError

    return answer


def silence() -> Answering:
    """Nothing, ever."""

    async def answer(_writer: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    return answer
