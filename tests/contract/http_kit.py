"""A real server on a free port of loopback, and raw sockets to speak to it."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, NamedTuple

import msgspec

from ashore import cbor
from ashore.http.api import Application, api
from ashore.http.auth import Auth
from ashore.http.fdo import FdoEndpoint, FdoReply, FdoRequest
from ashore.http.server import MOST_CONNECTIONS, Server, bind
from ashore.http.site import Times

QUICK = Times(sweep=0.05)


class Answer(NamedTuple):
    """A response, its header block as it came."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    head: bytes

    def json(self) -> Any:
        return msgspec.json.decode(self.body)


class Connection:
    """One TCP connection to the server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def answer(self, *, head_only: bool = False) -> Answer:
        head = await self.reader.readuntil(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").strip().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        length = 0 if head_only else int(headers["content-length"])
        return Answer(int(first.split()[1]), headers, await self.reader.readexactly(length), head)

    async def ask(self, data: bytes) -> Answer:
        self.send(data)
        return await self.answer()

    async def is_closed(self) -> bool:
        """Wait for the server to hang up, some seconds at most."""
        with suppress(ConnectionResetError, TimeoutError):
            async with asyncio.timeout(5):
                return await self.reader.read() == b""
        return self.reader.exception() is not None


class Running:
    """The server, from outside."""

    def __init__(self, server: Server, port: int, secrecy: ssl.SSLContext | None, serving: asyncio.Task[None]) -> None:
        self.server = server
        self.serving = serving
        self.port = port
        self.secrecy = secrecy

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        reader, writer = await asyncio.open_connection(
            "localhost" if self.secrecy else "127.0.0.1", self.port, ssl=self.secrecy
        )
        try:
            yield Connection(reader, writer)
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async def ask(self, data: bytes) -> Answer:
        async with self.connection() as connection:
            return await connection.ask(data)


@asynccontextmanager
async def running(
    app: Application | FdoEndpoint,
    *,
    host: str = "127.0.0.1",
    times: Times = QUICK,
    most_connections: int = MOST_CONNECTIONS,
    context: ssl.SSLContext | None = None,
    secrecy: ssl.SSLContext | None = None,
    drain_seconds: float = 1,
) -> AsyncIterator[Running]:
    started = asyncio.Event()
    listener = bind(host, 0)
    if isinstance(app, FdoEndpoint):
        app = Application(api=api([], auth=Auth.of("x"), title="none", version="1"), fdo=app)
    http = Server(
        app,
        context=context,
        drain_seconds=drain_seconds,
        started=started.set,
        times=times,
        most_connections=most_connections,
    )
    port = listener.getsockname()[1]
    serving = asyncio.create_task(http.serve(listener))
    await started.wait()
    try:
        yield Running(http, port, secrecy, serving)
    finally:
        http.stop()
        http.stop()
        await serving


def request(method: str, path: str, body: bytes | None = None, /, **headers: str) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    if body is not None:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + (body or b"")


GREETING = request("POST", "/fdo/101/msg/60", b"\x80", Content_Type="application/cbor")


class Echo:
    """Answers each message with what it held, and remembers it."""

    def __init__(self, token: str | None = None) -> None:
        self.seen: list[FdoRequest] = []
        self.token = token

    async def __call__(self, message: FdoRequest) -> FdoReply:
        self.seen.append(message)
        return FdoReply((message.number + 1) % 256, message.body, self.token)


def error(answer: Answer) -> list[Any]:
    """The content of a message 255."""
    assert answer.headers["message-type"] == "255"
    assert answer.headers["content-type"] == "application/cbor"
    content = cbor.loads(answer.body)
    assert isinstance(content, list)
    return content
