"""What hostile and broken clients send to the FDO endpoint: it is refused, and nobody else notices."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from ashore.http.fdo import FdoEndpoint
from ashore.http.site import Times
from tests.contract.http_kit import GREETING, Echo, Running, error, request, running

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared() -> AsyncIterator[tuple[Running, Echo]]:
    echo = Echo()
    async with running(FdoEndpoint(echo), times=Times(read=0.2, sweep=0.05)) as site:
        yield site, echo


@pytest.fixture
def site(shared: tuple[Running, Echo]) -> Running:
    return shared[0]


@pytest.fixture
def echo(shared: tuple[Running, Echo]) -> Echo:
    shared[1].seen.clear()
    return shared[1]


async def test_a_body_without_its_length_is_refused_in_the_protocols_form(site: Running, echo: Echo) -> None:
    answer = await site.ask(request("POST", "/fdo/101/msg/60"))
    assert answer.status == 411
    assert error(answer)[:3] == [100, 60, "a message needs a Content-Length"]
    assert not echo.seen


@pytest.mark.parametrize("coding", ["chunked", "gzip", "gzip, chunked"])
async def test_a_coded_body_is_refused(site: Running, echo: Echo, coding: str) -> None:
    chunked = request("POST", "/fdo/101/msg/60", Transfer_Encoding=coding) + b"1\r\n\x80\r\n0\r\n\r\n"
    async with site.connection() as connection:
        assert (await connection.ask(chunked)).status == 411
        assert await connection.is_closed()
    assert not echo.seen


@pytest.mark.parametrize(
    "lengths",
    [
        {"Content_Length": "1", "Transfer_Encoding": "chunked"},
        {"Content_Length": "-1"},
        {"Content_Length": "1x"},
        {"Content_Length": "99999999999999999999999999"},
        {"Content-Length": "1", "content-length": "2"},
        {"Content-Length": "1", "content-length": "1"},
        {"Content_Length": "+1"},
        {"Content_Length": "1,1"},
        {"Content_Length": "0x1"},
        {"Content_Length": ""},
        {"Transfer_Encoding": "chunked, identity"},
        {"Transfer_Encoding": "\x0bchunked"},
        {"Content-Length ": "1"},
        {"Content_Length": "1\nTransfer-Encoding: chunked"},
        {"X": "a\r\n folded", "Content_Length": "1"},
    ],
)
async def test_a_length_that_can_be_read_in_two_ways_is_refused(
    site: Running, echo: Echo, lengths: dict[str, str]
) -> None:
    async with site.connection() as connection:
        answer = await connection.ask(request("POST", "/fdo/101/msg/60", **lengths) + b"\x80")
        assert answer.status == 400
        assert await connection.is_closed()
    assert not echo.seen


async def test_the_largest_message_is_taken(site: Running, echo: Echo) -> None:
    answer = await site.ask(request("POST", "/fdo/101/msg/68", bytes(65_535)))
    assert (answer.status, len(answer.body), len(echo.seen[0].body)) == (200, 65_535, 65_535)


async def test_a_message_that_is_a_byte_too_long_is_refused_and_the_connection_goes_on(
    site: Running, echo: Echo
) -> None:
    async with site.connection() as connection:
        answer = await connection.ask(request("POST", "/fdo/101/msg/68", bytes(65_536)))
        assert answer.status == 413
        assert error(answer)[:2] == [100, 68]
        assert (await connection.ask(GREETING)).status == 200
    assert len(echo.seen) == 1


async def test_a_message_of_gigabytes_is_refused_before_it_comes(site: Running) -> None:
    async with site.connection() as connection:
        answer = await connection.ask(request("POST", "/fdo/101/msg/68", Content_Length=str(1 << 40)))
        assert (answer.status, answer.headers["connection"]) == (413, "close")
        assert await connection.is_closed()


async def test_a_body_that_comes_in_pieces_is_put_together(site: Running, echo: Echo) -> None:
    async with site.connection() as connection:
        connection.send(request("POST", "/fdo/101/msg/60", Content_Length="4"))
        for piece in (b"\x83", b"\x01\x02", b"\x03"):
            await connection.writer.drain()
            await asyncio.sleep(0.01)
            connection.send(piece)
        assert (await connection.answer()).body == b"\x83\x01\x02\x03"
    assert len(echo.seen) == 1


async def test_a_body_that_never_comes_ends_the_connection(site: Running, echo: Echo) -> None:
    async with site.connection() as connection:
        answer = await connection.ask(request("POST", "/fdo/101/msg/60", Content_Length="100") + b"\x80")
        assert answer.status == 408
        assert await connection.is_closed()
    assert not echo.seen


@pytest.mark.parametrize("beginning", [b"", b"POST /fdo", b"POST /fdo/101/msg/60 HTTP/1.1\r\nHost: x\r\n"])
async def test_a_client_that_says_too_little_is_hung_up_on(site: Running, beginning: bytes) -> None:
    async with site.connection() as connection:
        assert (await connection.ask(beginning)).status == 408
        assert await connection.is_closed()


async def test_a_client_that_hangs_up_in_the_middle_does_no_harm(site: Running, echo: Echo) -> None:
    async with site.connection() as connection:
        connection.send(request("POST", "/fdo/101/msg/60", Content_Length="100") + b"\x80")
        await connection.writer.drain()
    assert (await site.ask(GREETING)).status == 200
    assert len(echo.seen) == 1


@pytest.mark.parametrize("size", [20_000, 60_000, 1_000_000])
async def test_an_enormous_header_is_refused(site: Running, echo: Echo, size: int) -> None:
    async with site.connection() as connection:
        answer = await connection.ask(request("POST", "/fdo/101/msg/60", b"\x80", Cookie="x" * size))
        assert answer.status == 431
    assert not echo.seen


async def test_headers_without_end_are_refused(site: Running) -> None:
    async with site.connection() as connection:
        connection.send(b"POST /fdo/101/msg/60 HTTP/1.1\r\n" + b"A: b\r\n" * 10_000)
        assert (await connection.answer()).status == 431


async def test_a_path_without_end_is_refused(site: Running) -> None:
    async with site.connection() as connection:
        connection.send(b"POST /" + b"x" * 100_000)
        assert (await connection.answer()).status == 431


@pytest.mark.parametrize(
    "garbage", [b"\x16\x03\x01\x02\x00\x01\x00", b"hello\r\n\r\n", b"\x00" * 100, b"GET / HTTP/9.9\r\n\r\n"]
)
async def test_what_is_no_http_is_refused(site: Running, garbage: bytes) -> None:
    async with site.connection() as connection:
        assert (await connection.ask(garbage)).status == 400
        assert await connection.is_closed()


async def test_an_offer_of_http_2_with_a_chunked_body_is_refused(site: Running, echo: Echo) -> None:
    headers = request("POST", "/fdo/101/msg/60", Connection="Upgrade", Upgrade="h2c", Transfer_Encoding="chunked")
    assert (await site.ask(headers + b"1\r\n\x80\r\n0\r\n\r\n")).status == 400
    assert not echo.seen


async def test_nobody_is_connected_elsewhere(site: Running, echo: Echo) -> None:
    answer = await site.ask(b"CONNECT example.org:443 HTTP/1.1\r\nHost: example.org\r\n\r\n")
    assert answer.status in (400, 404, 405)
