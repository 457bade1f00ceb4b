"""ASGI as far as the management API needs it: bodies, streams, errors, and clients that go away meanwhile."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from starlette.responses import Response, StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from ashore.http.api import Application
from ashore.http.site import Times
from tests.contract.http_kit import Connection, Running, request, running

IMPATIENT = Times(read=0.3, write=0.2, sweep=0.05)


class Harbour:
    """An application with one quay for each thing that can happen."""

    def __init__(self) -> None:
        self.began = asyncio.Event()
        self.ended = asyncio.Event()
        self.messages: list[Message] = []
        self.scope: Scope = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope = scope
        self.messages.clear()
        await getattr(self, scope["path"].strip("/"))(scope, receive, send)

    async def hello(self, scope: Scope, receive: Receive, send: Send) -> None:
        await Response(b"ahoy")(scope, receive, send)

    async def upload(self, scope: Scope, receive: Receive, send: Send) -> None:
        size = 0
        while True:
            self.messages.append(message := await receive())
            size += len(message.get("body", b""))
            if not message.get("more_body"):
                break
            await asyncio.sleep(0)
        if message["type"] == "http.request":
            await Response(str(size))(scope, receive, send)
        self.ended.set()

    async def large(self, scope: Scope, receive: Receive, send: Send) -> None:
        await Response(bytes(8_000_000))(scope, receive, send)

    async def endless(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._stream(bytes(65_536), 0, scope, receive, send)

    async def events(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._stream(b"data: tide\n\n", 60, scope, receive, send)

    async def _stream(self, part: bytes, pause: float, *call: Any) -> None:
        async def parts() -> AsyncIterator[bytes]:
            with contextlib.closing(_Bell(self.ended)):
                while True:
                    yield part
                    self.began.set()
                    await asyncio.sleep(pause)

        await StreamingResponse(parts(), media_type="text/event-stream")(*call)

    async def silent(self, scope: Scope, receive: Receive, send: Send) -> None:
        return None

    async def broken(self, scope: Scope, receive: Receive, send: Send) -> None:
        raise RuntimeError("the password is hunter2")

    async def half(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        raise RuntimeError

    async def liar(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"10")]})
        await send({"type": "http.response.body", "body": b"short"})

    async def splitter(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"content-length", b"0"), (b"location", b"/\r\nset-cookie: a=b")]
        await send({"type": "http.response.start", "status": 302, "headers": headers})
        await send({"type": "http.response.body"})


class _Bell:
    def __init__(self, event: asyncio.Event) -> None:
        self.close = event.set


@pytest.fixture
def harbour() -> Harbour:
    return Harbour()


@pytest.fixture
async def site(harbour: Harbour) -> AsyncIterator[Running]:
    async with running(Application(api=harbour), times=IMPATIENT) as site:
        yield site


async def rings(event: asyncio.Event) -> bool:
    async with asyncio.timeout(5):
        return await event.wait()


async def test_a_request_is_described_as_asgi_says(site: Running, harbour: Harbour) -> None:
    assert (await site.ask(request("GET", "http://x/h%65llo?a=%20b", X_Ship="Fram"))).body == b"ahoy"
    scope = harbour.scope
    assert (scope["method"], scope["path"], scope["raw_path"]) == ("GET", "/hello", b"/h%65llo")
    assert (scope["query_string"], scope["http_version"], scope["scheme"]) == (b"a=%20b", "1.1", "http")
    assert scope["headers"] == [(b"host", b"localhost"), (b"x-ship", b"Fram")]
    assert (scope["server"], scope["client"][0]) == (("127.0.0.1", site.port), "127.0.0.1")


@pytest.mark.parametrize("pieces", [1, 100])
async def test_a_large_body_comes_as_fast_as_it_is_read(site: Running, harbour: Harbour, pieces: int) -> None:
    async with site.connection() as connection:
        connection.send(request("POST", "/upload", Content_Length=str(2_000_000)))
        for _ in range(pieces):
            connection.send(bytes(2_000_000 // pieces))
            await connection.writer.drain()
        assert (await connection.answer()).body == b"2000000"
    assert max(len(message["body"]) for message in harbour.messages) < 700_000


async def test_chunks_become_a_body(site: Running) -> None:
    async with site.connection() as connection:
        connection.send(
            request("POST", "/upload", Transfer_Encoding="chunked") + b"2;a=b\r\nab\r\n0\r\nX-After: c\r\n\r\n"
        )
        assert (await connection.answer()).body == b"2"
        assert (await connection.ask(request("GET", "/hello"))).body == b"ahoy"


@pytest.mark.parametrize("flood", [b"1;" + b"x" * 20_000, b"0\r\n" + b"A: b\r\n" * 4_000, b"0\r\nA: " + b"x" * 20_000])
async def test_what_goes_with_chunks_is_bounded(site: Running, harbour: Harbour, flood: bytes) -> None:
    async with site.connection() as connection:
        connection.send(request("POST", "/upload", Transfer_Encoding="chunked"))
        await asyncio.sleep(0.05)
        assert (await connection.ask(flood)).status == 431
        assert await rings(harbour.ended)
    assert harbour.messages[-1]["type"] == "http.disconnect"


@pytest.mark.parametrize(("rest", "status"), [(b"zz\r\n", 400), (b"1\r\nab", 400), (b"5\r\na", 408)])
async def test_a_body_that_breaks_off_is_refused_and_the_application_told(
    site: Running, harbour: Harbour, rest: bytes, status: int
) -> None:
    async with site.connection() as connection:
        assert (await connection.ask(request("POST", "/upload", Transfer_Encoding="chunked") + rest)).status == status
        assert await connection.is_closed()
    assert await rings(harbour.ended)
    assert harbour.messages[-1]["type"] == "http.disconnect"


@pytest.mark.parametrize("answered", [False, True])
async def test_a_body_is_asked_for_when_the_application_wants_it(site: Running, answered: bool) -> None:
    path = "/hello" if answered else "/upload"
    async with site.connection() as connection:
        connection.send(request("POST", path, Content_Length="2", Expect="100-continue"))
        if answered:
            assert (await connection.answer()).headers["connection"] == "close"
            return
        assert await connection.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        assert (await connection.ask(b"ab")).body == b"2"


async def test_a_body_that_nobody_wants_is_skipped_if_it_is_short(site: Running) -> None:
    async with site.connection() as connection:
        answer = await connection.ask(request("POST", "/hello", bytes(100_000)))
        assert "connection" not in answer.headers
        assert (await connection.ask(request("GET", "/hello"))).body == b"ahoy"
        answer = await connection.ask(request("POST", "/hello", Content_Length=str(1 << 40)))
        assert answer.headers["connection"] == "close"
        assert await connection.is_closed()


async def test_a_large_answer_is_given_to_whoever_reads_it(site: Running) -> None:
    async with site.connection() as connection:
        connection.send(request("GET", "/large"))
        await asyncio.sleep(0.5)
        assert len((await connection.answer()).body) == 8_000_000
        assert (await connection.ask(request("GET", "/hello"))).body == b"ahoy"


async def test_a_client_that_reads_nothing_is_hung_up_on(site: Running, harbour: Harbour) -> None:
    async with site.connection() as connection:
        connection.writer.transport.pause_reading()  # type: ignore[attr-defined]  # of TCP, which can be
        connection.send(request("GET", "/endless"))
        assert await rings(harbour.ended)


async def events(connection: Connection, harbour: Harbour) -> None:
    connection.send(request("GET", "/events"))
    assert b"tide" in await connection.reader.readuntil(b"\n\n")
    await rings(harbour.began)


async def test_a_stream_ends_when_its_client_goes(site: Running, harbour: Harbour) -> None:
    async with site.connection() as connection:
        await events(connection, harbour)
        assert not harbour.ended.is_set()
    assert await rings(harbour.ended)


async def test_a_stream_is_not_idle(site: Running, harbour: Harbour) -> None:
    async with site.connection() as connection:
        await events(connection, harbour)
        await asyncio.sleep(0.8)
        assert not harbour.ended.is_set()


async def test_a_stream_ends_when_the_server_stops(site: Running, harbour: Harbour) -> None:
    async with site.connection() as connection:
        await events(connection, harbour)
        site.server.stop()
        assert await rings(harbour.ended)
        assert b"0\r\n\r\n" not in await connection.reader.read()


async def test_a_stream_for_http_1_0_ends_with_the_connection(site: Running) -> None:
    async with site.connection() as connection:
        connection.send(b"GET /endless HTTP/1.0\r\n\r\n")
        head = await connection.reader.readuntil(b"\r\n\r\n")
        assert b"connection: close" in head
        assert b"chunked" not in head
        assert await connection.reader.readexactly(100_000) == bytes(100_000)


@pytest.mark.parametrize("path", ["/silent", "/broken", "/splitter", "/nowhere"])
async def test_an_application_that_fails_is_answered_for(site: Running, path: str) -> None:
    async with site.connection() as connection:
        answer = await connection.ask(request("GET", path))
        assert (answer.status, answer.body, answer.headers["connection"]) == (500, b"", "close")
        assert await connection.is_closed()


@pytest.mark.parametrize("path", ["/half", "/liar"])
async def test_half_an_answer_does_not_look_like_a_whole_one(site: Running, path: str) -> None:
    async with site.connection() as connection:
        connection.send(request("GET", path) + request("GET", "/hello"))
        with contextlib.suppress(ConnectionResetError):
            text = await connection.reader.read()
            assert not text.endswith((b"\r\n0\r\n\r\n", b"short"))
            assert b"ahoy" not in text
