"""FDO over HTTP as real clients speak it: a real server on loopback, raw sockets."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from ashore.http.fdo import FdoEndpoint, FdoReply, FdoRequest
from ashore.http.limits import Limits
from ashore.http.site import Times
from ashore.telemetry import Metrics
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


async def test_a_message_reaches_the_handler_and_its_reply_the_device(site: Running, echo: Echo) -> None:
    answer = await site.ask(request("POST", "/fdo/101/msg/60", b"\x81\x01", Authorization="Bearer abc"))
    assert (answer.status, answer.body) == (200, b"\x81\x01")
    assert answer.headers == {"content-type": "application/cbor", "message-type": "61", "content-length": "2"}
    assert echo.seen == [FdoRequest(60, b"\x81\x01", "abc", "127.0.0.1", None)]


async def test_the_headers_of_a_reply_fit_into_the_buffer_of_the_c_client() -> None:
    async with running(FdoEndpoint(Echo(token="t" * 800))) as site:
        answer = await site.ask(GREETING)
    assert answer.headers["authorization"] == "Bearer " + "t" * 800
    assert len(answer.head) < 1024


async def test_a_connection_carries_many_messages(site: Running, echo: Echo) -> None:
    async with site.connection() as connection:
        for number in (60, 62, 64):
            answer = await connection.ask(request("POST", f"/fdo/101/msg/{number}", b"\x80"))
            assert answer.headers["message-type"] == str(number + 1)
    assert [message.number for message in echo.seen] == [60, 62, 64]


async def test_pipelined_messages_are_answered_in_order(site: Running, echo: Echo) -> None:
    async with site.connection() as connection:
        connection.send(b"".join(request("POST", f"/fdo/101/msg/{number}", b"\x80") for number in range(10, 40)))
        answers = [await connection.answer() for _ in range(10, 40)]
    assert [answer.headers["message-type"] for answer in answers] == [str(number) for number in range(11, 41)]


async def test_a_client_of_http_1_0_is_served(site: Running) -> None:
    async with site.connection() as connection:
        answer = await connection.ask(b"POST /fdo/101/msg/30 HTTP/1.0\r\nContent-Length: 1\r\n\r\n\x80")
        assert answer.headers["message-type"] == "31"
        assert await connection.is_closed()


async def test_an_absolute_target_is_taken(site: Running) -> None:
    answer = await site.ask(request("POST", "http://127.0.0.1:8042/fdo/101/msg/60", b"\x80"))
    assert answer.status == 200


async def test_a_client_that_offers_http_2_is_served_by_http_1(site: Running) -> None:
    upgrade = request("POST", "/fdo/101/msg/60", b"\x80", Connection="Upgrade, HTTP2-Settings", Upgrade="h2c")
    async with site.connection() as connection:
        assert (await connection.ask(upgrade)).status == 200
        assert (await connection.ask(GREETING)).status == 200


async def test_a_client_that_waits_for_100_is_told_to_go_on(site: Running) -> None:
    async with site.connection() as connection:
        connection.send(request("POST", "/fdo/101/msg/60", Content_Length="3", Expect="100-continue"))
        assert await connection.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        assert (await connection.ask(b"\x82\x01\x02")).status == 200


async def test_the_odd_headers_of_the_c_client_are_tolerated(site: Running) -> None:
    data = GREETING.replace(b"Host: localhost", b"Host: localhost\r\nhttp: //localhost:8042\r\n_connection: keep-alive")
    assert (await site.ask(data)).status == 200


@pytest.mark.parametrize(
    ("header", "token"),
    [
        ("Bearer abc", "abc"),
        ("bearer abc", "abc"),
        ("BEARER   abc ", "abc"),
        ("abc", "abc"),
        ("Bearer", None),
        ("Bearer ", None),
        ("", None),
    ],
)
async def test_a_token_is_found_however_it_is_written(
    site: Running, echo: Echo, header: str, token: str | None
) -> None:
    await site.ask(request("POST", "/fdo/101/msg/62", b"\x80", Authorization=header))
    assert echo.seen[0].token == token


async def test_a_trace_is_handed_on_if_it_is_one(site: Running, echo: Echo) -> None:
    trace = f"00-{'a' * 32}-{'b' * 16}-01"
    await site.ask(request("POST", "/fdo/101/msg/60", b"\x80", traceparent=trace))
    await site.ask(request("POST", "/fdo/101/msg/60", b"\x80", traceparent="00-nonsense"))
    assert [message.traceparent for message in echo.seen] == [trace, None]


async def test_an_error_reported_by_a_device_is_handed_on_and_answered_with_nothing(site: Running, echo: Echo) -> None:
    answer = await site.ask(request("POST", "/fdo/101/msg/255", b"\x80"))
    assert (answer.status, answer.body, echo.seen[0].number) == (200, b"", 255)


@pytest.mark.parametrize(
    "path",
    [
        "/fdo/101/msg/",
        "/fdo/101/msg/abc",
        "/fdo/101/msg/-1",
        "/fdo/101/msg/256",
        "/fdo/101/msg/060",
        "/fdo/101/msg/60/",
        "/fdo/101/msg/60%00",
        "/fdo/101/msg/6%30x",
        "/fdo/101/msg/99999999999",
        "/fdo/100/msg/60",
        "/fdo/",
        "//fdo/101/msg/60",
        "/fdo/101/msg/\u0666",
    ],
)
async def test_a_path_that_is_no_message_is_not_found(site: Running, echo: Echo, path: str) -> None:
    answer = await site.ask(request("POST", path.encode().decode("latin-1"), b"\x80"))
    assert answer.status in (400, 404)
    assert not echo.seen


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "HEAD", "OPTIONS"])
async def test_messages_are_posted_and_nothing_else(site: Running, echo: Echo, method: str) -> None:
    answer = await site.ask(request(method, "/fdo/101/msg/60"))
    assert (answer.status, answer.headers["allow"], echo.seen) == (405, "POST", [])


async def test_a_handler_that_fails_is_answered_in_the_protocols_form_without_details() -> None:
    async def fail(_message: FdoRequest) -> FdoReply:
        raise RuntimeError("the password is hunter2")

    async with running(FdoEndpoint(fail)) as site:
        answer = await site.ask(request("POST", "/fdo/101/msg/64", b"\x80"))
    assert answer.status == 500
    code, previous, text, timestamp, reference = error(answer)
    assert (code, previous, "hunter2" in text) == (500, 64, False)
    assert timestamp > 1_700_000_000
    assert isinstance(reference, int)


async def test_a_flood_is_refused_before_the_handler_sees_it(echo: Echo) -> None:
    metrics = Metrics()
    endpoint = FdoEndpoint(echo, limits=Limits(rate=0.001, burst=3), metrics=metrics)
    async with running(endpoint) as site, site.connection() as connection:
        answers = [await connection.ask(GREETING) for _ in range(5)]
    assert [answer.status for answer in answers] == [200, 200, 200, 429, 429]
    assert answers[-1].headers["retry-after"] == "1"
    assert error(answers[-1])[1] == 60
    assert len(echo.seen) == 3
    assert b'ashore_http_refused_total{why="rate"} 2.0' in metrics.render()


async def test_a_rate_of_zero_is_no_limit(echo: Echo) -> None:
    async with running(FdoEndpoint(echo, limits=Limits(rate=0, burst=1))) as site, site.connection() as connection:
        assert {(await connection.ask(GREETING)).status for _ in range(20)} == {200}


async def test_a_forwarded_address_is_believed_only_from_a_trusted_proxy(echo: Echo) -> None:
    forwarded = request("POST", "/fdo/101/msg/60", b"\x80", X_Forwarded_For="203.0.113.9, 198.51.100.7")
    async with running(FdoEndpoint(echo)) as site:
        await site.ask(forwarded)
    async with running(FdoEndpoint(echo, limits=Limits(trusted_proxies=["127.0.0.0/8", "198.51.100.0/24"]))) as site:
        await site.ask(forwarded)
    assert [message.client for message in echo.seen] == ["127.0.0.1", "203.0.113.9"]


async def test_messages_are_counted_with_their_results(echo: Echo) -> None:
    metrics = Metrics()

    async def sometimes(message: FdoRequest) -> FdoReply:
        return FdoReply(255 if message.number == 64 else message.number + 1, b"")

    async with running(FdoEndpoint(sometimes, metrics=metrics)) as site:
        for number in (30, 60, 64):
            await site.ask(request("POST", f"/fdo/101/msg/{number}", b"\x80"))
    text = metrics.render().decode()
    assert 'ashore_fdo_messages_total{message="30",protocol="to1",result="ok"} 1.0' in text
    assert 'ashore_fdo_messages_total{message="64",protocol="to2",result="error"} 1.0' in text
    assert 'ashore_fdo_message_seconds_count{protocol="to2"} 2.0' in text


async def test_the_body_of_a_client_that_offers_http_2_may_come_in_pieces(site: Running, echo: Echo) -> None:
    headers = request("POST", "/fdo/101/msg/60", Connection="Upgrade", Upgrade="h2c", Content_Length="4")
    async with site.connection() as connection:
        for piece in (headers[:50], headers[50:] + b"\x83", b"\x01\x02", b"\x03" + GREETING):
            connection.send(piece)
            await connection.writer.drain()
            await asyncio.sleep(0.01)
        assert [(await connection.answer()).body for _ in range(2)] == [b"\x83\x01\x02\x03", b"\x80"]
