"""Connections of clients that are slow, greedy, half gone or too many: a real server, raw sockets."""

import asyncio
import contextvars
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from ashore.http.fdo import FdoEndpoint, FdoReply, FdoRequest
from ashore.http.limits import Limits
from ashore.http.site import Times
from tests.contract.http_kit import GREETING, QUICK, Connection, Echo, Running, error, request, running

CLOCKED = Times(read=0.3, keep_alive=0.3, sweep=0.05)
UNLIMITED = Limits(rate=0)


class Gate:
    """A handler that answers once it is opened."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.waiting = 0
        self._came = asyncio.Condition()

    async def __call__(self, message: FdoRequest) -> FdoReply:
        self.waiting += 1
        # Nothing was awaited before: what asks for the current task has to work from the first step on.
        async with asyncio.timeout(20), self._came:
            self._came.notify_all()
        await self.open.wait()
        return FdoReply(message.number + 1, message.body)

    async def until(self, count: int) -> None:
        async with asyncio.timeout(5), self._came:
            await self._came.wait_for(lambda: self.waiting >= count)


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
async def gated(gate: Gate) -> AsyncIterator[Running]:
    async with running(FdoEndpoint(gate, limits=UNLIMITED)) as site:
        yield site


async def test_a_request_that_trickles_in_is_hung_up_on() -> None:
    async with running(FdoEndpoint(Echo()), times=CLOCKED) as site, site.connection() as connection:
        for byte in GREETING[:40]:
            connection.send(bytes([byte]))
            await asyncio.sleep(0.02)
        assert (await connection.answer()).status == 408
        assert await connection.is_closed()


async def test_a_body_that_trickles_in_is_hung_up_on() -> None:
    async with running(FdoEndpoint(Echo()), times=CLOCKED) as site, site.connection() as connection:
        connection.send(request("POST", "/fdo/101/msg/60", Content_Length="1000"))
        for _ in range(40):
            connection.send(b"\x00")
            await asyncio.sleep(0.02)
        assert (await connection.answer()).status == 408


async def test_a_body_in_tiny_pieces_is_put_together() -> None:
    async with running(FdoEndpoint(Echo())) as site, site.connection() as connection:
        connection.send(request("POST", "/fdo/101/msg/60", Content_Length="300"))
        for number in range(300):
            connection.send(bytes([number % 256]))
            await connection.writer.drain()
            await asyncio.sleep(0)
        assert (await connection.answer()).body == bytes(number % 256 for number in range(300))


async def test_an_idle_connection_is_closed_after_a_while() -> None:
    async with running(FdoEndpoint(Echo()), times=CLOCKED) as site, site.connection() as connection:
        assert (await connection.ask(GREETING)).status == 200
        assert await connection.is_closed()


async def test_a_message_that_takes_long_to_answer_is_waited_for(gate: Gate) -> None:
    async with running(FdoEndpoint(gate), times=CLOCKED) as site, site.connection() as connection:
        connection.send(GREETING)
        await asyncio.sleep(0.6)
        gate.open.set()
        assert (await connection.answer()).status == 200


async def test_headers_without_number_are_refused() -> None:
    many = {f"h{number}": "" for number in range(200)}
    async with running(FdoEndpoint(Echo())) as site, site.connection() as connection:
        assert (await connection.ask(request("POST", "/fdo/101/msg/60", b"\x80", **many))).status == 431
        assert await connection.is_closed()


async def test_a_refusal_reaches_a_client_that_goes_on_sending() -> None:
    async with running(FdoEndpoint(Echo())) as site, site.connection() as connection:
        connection.send(request("POST", "/fdo/101/msg/60", Content_Length=str(1 << 30)))
        for _ in range(100):
            connection.send(bytes(65_536))
            await asyncio.sleep(0)
        assert (await connection.answer()).status == 413
        assert await connection.is_closed()


async def test_a_refused_body_that_was_only_announced_is_not_waited_for() -> None:
    async with running(FdoEndpoint(Echo())) as site, site.connection() as connection:
        asking = request("POST", "/fdo/101/msg/60", Content_Length="70000", Expect="100-continue")
        answer = await connection.ask(asking)
        assert (answer.status, answer.headers["connection"], error(answer)[0]) == (413, "close", 100)
        assert await connection.is_closed()


async def test_what_is_wrong_is_told_after_what_was_right(gated: Running, gate: Gate) -> None:
    async with gated.connection() as connection:
        connection.send(GREETING + b"no http\r\n\r\n")
        await gate.until(1)
        gate.open.set()
        assert [(await connection.answer()).status for _ in range(2)] == [200, 400]
        assert await connection.is_closed()


async def test_a_request_that_never_ends_does_not_spoil_the_one_before(gate: Gate) -> None:
    async with running(FdoEndpoint(gate), times=CLOCKED) as site, site.connection() as connection:
        connection.send(GREETING + GREETING[:-1])
        await asyncio.sleep(0.6)
        gate.open.set()
        assert [(await connection.answer()).status for _ in range(2)] == [200, 408]


async def test_a_flood_of_pipelined_messages_is_cut_short(gated: Running, gate: Gate) -> None:
    async with gated.connection() as connection:
        connection.send(GREETING * 1_000)
        await gate.until(1)
        gate.open.set()
        statuses = [(await connection.answer()).status for _ in range(130)]
        assert (statuses, set(statuses[:-1])) == ([200] * 129 + [429], {200})
        assert await connection.is_closed()
    assert gate.waiting == 129


async def test_a_client_that_only_stops_sending_gets_its_answers(gated: Running, gate: Gate) -> None:
    async with gated.connection() as connection:
        connection.send(GREETING * 3)
        connection.writer.write_eof()
        await gate.until(1)
        await asyncio.sleep(0.1)
        gate.open.set()
        assert [(await connection.answer()).status for _ in range(3)] == [200] * 3
        assert await connection.is_closed()


@pytest.mark.parametrize("beginning", [b"", GREETING[:20], GREETING[:-1], GREETING + GREETING[:-1]])
async def test_a_client_that_stops_in_the_middle_is_hung_up_on(beginning: bytes) -> None:
    echo = Echo()
    async with running(FdoEndpoint(echo)) as site, site.connection() as connection:
        connection.send(beginning)
        connection.writer.write_eof()
        await connection.is_closed()
        assert len(echo.seen) == (len(beginning) > len(GREETING))


async def test_a_client_that_resets_the_connection_does_no_harm(gated: Running, gate: Gate) -> None:
    async with gated.connection() as connection:
        connection.send(GREETING * 2)
        await gate.until(1)
        endpoint: socket.socket = connection.writer.get_extra_info("socket")
        endpoint.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.writer.transport.abort()
    await asyncio.sleep(0.05)
    gate.open.set()
    assert (await gated.ask(GREETING)).status == 200
    # The first was carried out, the second is nobody's any more.
    assert gate.waiting == 2


async def greeted(stack: AsyncExitStack, site: Running) -> Connection:
    connection = await stack.enter_async_context(site.connection())
    assert (await connection.ask(GREETING)).status == 200
    # The clock of uvloop counts milliseconds.
    await asyncio.sleep(0.005)
    return connection


async def test_where_there_are_too_many_connections_the_longest_idle_goes() -> None:
    async with running(FdoEndpoint(Echo()), most_connections=3) as site, AsyncExitStack() as stack:
        first, second, third = [await greeted(stack, site) for _ in range(3)]
        assert (await first.ask(GREETING)).status == 200
        await greeted(stack, site)
        assert await second.is_closed()
        assert [(await one.ask(GREETING)).status for one in (first, third)] == [200, 200]


async def test_where_nobody_is_idle_the_slowest_to_ask_goes(gate: Gate) -> None:
    endpoint = FdoEndpoint(gate, limits=UNLIMITED)
    async with running(endpoint, most_connections=2) as site, AsyncExitStack() as stack:
        slow, busy = [await stack.enter_async_context(site.connection()) for _ in range(2)]
        slow.send(GREETING[:30])
        busy.send(GREETING)
        await gate.until(1)
        await asyncio.sleep(1.1)
        newcomer = await stack.enter_async_context(site.connection())
        newcomer.send(GREETING)
        await gate.until(2)
        assert await slow.is_closed()
        gate.open.set()
        assert [(await one.answer()).status for one in (busy, newcomer)] == [200, 200]


async def test_where_all_are_busy_a_newcomer_is_turned_away(gated: Running, gate: Gate) -> None:
    endpoint = FdoEndpoint(gate, limits=UNLIMITED)
    async with running(endpoint, most_connections=1) as site, site.connection() as busy:
        busy.send(GREETING)
        await gate.until(1)
        async with site.connection() as newcomer:
            assert (await newcomer.answer()).status == 503
            assert await newcomer.is_closed()
        gate.open.set()
        assert (await busy.answer()).status == 200


async def test_a_message_under_way_is_answered_before_the_server_stops(gate: Gate) -> None:
    async with running(FdoEndpoint(gate)) as site, site.connection() as asking, site.connection() as idle:
        asking.send(GREETING)
        await gate.until(1)
        site.server.stop()
        assert await idle.is_closed()
        gate.open.set()
        answer = await asking.answer()
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        assert await asking.is_closed()


async def test_a_message_that_takes_too_long_does_not_keep_the_server_from_stopping(gate: Gate) -> None:
    async with running(FdoEndpoint(gate)) as site, site.connection() as connection:
        connection.send(GREETING)
        await gate.until(1)
        site.server.stop()
        assert await connection.is_closed()


COLOUR: contextvars.ContextVar[str] = contextvars.ContextVar("COLOUR", default="none")


async def test_each_message_has_its_own_context_made_from_the_servers() -> None:
    seen: list[str] = []

    async def paint(message: FdoRequest) -> FdoReply:
        seen.append(COLOUR.get())
        COLOUR.set(f"painted {message.number}")
        return FdoReply(message.number, b"")

    COLOUR.set("blue")
    async with running(FdoEndpoint(paint)) as site, site.connection() as connection:
        for _ in range(2):
            await connection.ask(GREETING)
        await site.ask(GREETING)
    assert seen == ["blue"] * 3


async def test_an_address_of_ipv4_is_told_as_such_to_a_listener_for_both() -> None:
    echo = Echo()
    async with running(FdoEndpoint(echo), host="::") as site:
        assert (await site.ask(GREETING)).status == 200
    assert echo.seen[0].client == "127.0.0.1"


async def test_many_connections_at_once_are_all_served() -> None:
    async with running(FdoEndpoint(Echo(), limits=UNLIMITED), times=QUICK) as site:
        answers = await asyncio.gather(*(site.ask(GREETING) for _ in range(300)))
    assert {answer.status for answer in answers} == {200}
