"""Modbus: what strangers answer, which addresses are asked, and what is a hint."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ashore_discovery.handlers import neighbours
from ashore_discovery.handlers.modbus import client, frames, hints
from ashore_discovery.handlers.modbus.details import ModbusDetails, ModbusSettings
from ashore_discovery.handlers.modbus.handler import Modbus
from ashore_discovery.handlers.modbus.targets import Server, Target, servers
from ashore_discovery.model import Facet, Offer, Refusal
from tests.discovery_kit import listening

NAMED = b"\x2b\x0e\x01\x83\x00\x00\x03" + b"\x00\x04Acme" + b"\x01\x02P7" + b"\x02\x04V1.0"
Answer = Callable[[int, bytes], bytes | None]


@asynccontextmanager
async def served(
    serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[client.Connection]:
    """A connection to this server."""
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server, client.connected("127.0.0.1", server.sockets[0].getsockname()[1]) as connection:
        yield connection


@asynccontextmanager
async def answering(answer: Answer) -> AsyncIterator[client.Connection]:
    """A connection to somebody who answers like this; None closes it."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError, frames.FrameError):
            while True:
                transaction, unit, length = frames.header(await reader.readexactly(frames.HEADER.size))
                body = answer(unit, await reader.readexactly(length))
                if body is None:
                    break
                writer.write(frames.request(transaction, unit, body))
        writer.close()

    async with served(serve) as connection:
        yield connection


async def test_who_gets_an_address_by_dhcp_is_asked_at_once(tmp_path: Path) -> None:
    leases, gone = tmp_path / "leases", await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = gone.sockets[0].getsockname()[1]
    gone.close()
    await gone.wait_closed()
    details = ModbusDetails(targets=[Target(addresses="127.0.0.1", port=port)])
    settings = ModbusSettings(scan_seconds=3600, hints=False, leases=(str(leases),))
    async with listening(Modbus, details, settings=settings) as heard:
        await heard.swept()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with suppress(asyncio.IncompleteReadError, ConnectionError):
                while True:
                    transaction, unit, length = frames.header(await reader.readexactly(frames.HEADER.size))
                    await reader.readexactly(length)
                    writer.write(frames.request(transaction, unit, NAMED))
            writer.close()

        async with await asyncio.start_server(serve, "127.0.0.1", port):
            leases.write_text("1800000000 ac:cc:8e:0a:0b:0c 127.0.0.1 pump *\n")
            found = await heard.until("seen", f"127.0.0.1:{port}/1")
    assert (found.cause, found.facts["vendor"]) == ("hint", "Acme")


def test_an_identification_is_read() -> None:
    assert frames.objects(NAMED) == frames.Objects({"vendor": "Acme", "product": "P7", "revision": "V1.0"}, True, None)


@pytest.mark.parametrize("body", [b"", b"\x2b", NAMED[:-1], b"\x2b\x0e\x01\x83\x00\x00\xff", b"\x03\x02\x00\x11"])
def test_an_identification_that_is_none_is_refused(body: bytes) -> None:
    with pytest.raises(frames.FrameError):
        frames.objects(body)


@given(st.binary(max_size=260))
def test_no_answer_breaks_its_reader(body: bytes) -> None:
    for read in (frames.objects, frames.server, frames.register):
        with suppress(frames.FrameError, frames.RefusedError):
            read(body)
        with suppress(frames.FrameError, frames.RefusedError):
            read(b"\x2b\x0e" + body)


@given(st.binary(min_size=7, max_size=7))
def test_no_header_asks_for_more_than_a_frame(data: bytes) -> None:
    with suppress(frames.FrameError):
        assert 0 < frames.header(data)[2] <= 254


@given(st.binary(max_size=400))
def test_no_message_of_the_kernel_or_frame_of_arp_breaks_its_reader(data: bytes) -> None:
    hints.from_arp(data)
    list(neighbours.read(data))
    list(neighbours.read(struct.pack("=IHHII", len(data) + 16, neighbours.NEW, 0, 0, 0) + data))


def test_the_sender_of_a_frame_is_a_hint_and_so_is_an_address_that_is_about_to_be_taken() -> None:
    def frame(sender: str, target: str) -> bytes:
        start = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1)
        return start + b"m" * 6 + socket.inet_aton(sender) + b"\0" * 6 + socket.inet_aton(target)

    assert hints.from_arp(frame("10.0.0.7", "10.0.0.1")) == "10.0.0.7"
    assert hints.from_arp(frame("0.0.0.0", "10.0.0.8")) == "10.0.0.8"
    assert hints.from_arp(b"\0" * 28) is None


async def test_a_device_says_who_it_is_in_several_parts() -> None:
    def answer(unit: int, body: bytes) -> bytes:
        if body[2] == 1:
            return NAMED
        if body[3] == 0:
            return b"\x2b\x0e\x02\x83\xff\x05\x01" + b"\x04\x04Pump"
        return b"\x2b\x0e\x02\x83\x00\x00\x01" + b"\x05\x02M7"

    async with answering(answer) as connection:
        found = await client.identity(connection, 1, surely=False)
    assert (found["vendor"], found["product_name"], found["model"]) == ("Acme", "Pump", "M7")


async def test_parts_without_an_end_are_given_up() -> None:
    endless = iter(range(1, 1000))
    async with answering(lambda *_: b"\x2b\x0e\x01\x83\xff" + bytes([next(endless) % 250]) + b"\x00") as connection:
        assert await client.identity(connection, 1, surely=False) == {"identified_by": "identification"}
    assert next(endless) < 20


async def test_a_device_that_knows_no_identification_is_asked_for_its_server_id() -> None:
    answers = {0x2B: b"\xab\x01", 0x11: b"\x11\x05Old 1"}
    async with answering(lambda _, body: answers[body[0]]) as connection:
        found = await client.identity(connection, 1, surely=False)
    assert found == {"identified_by": "server-id", "server_id": "Old 1"}


async def test_a_device_that_knows_neither_is_there_all_the_same() -> None:
    async with answering(lambda _, body: bytes((body[0] | 0x80, 1))) as connection:
        assert await client.identity(connection, 1, surely=False) == {"identified_by": "answer"}


@pytest.mark.parametrize("code", [0x0A, 0x0B])
async def test_a_gateway_says_that_nobody_is_there(code: int) -> None:
    async with answering(lambda _, body: bytes((body[0] | 0x80, code))) as connection:
        with pytest.raises(client.SilentError):
            await client.identity(connection, 1, surely=False)


async def test_who_closes_the_connection_at_once_is_busy() -> None:
    async with answering(lambda *_: None) as connection:
        with pytest.raises(client.BusyError):
            await client.identity(connection, 1, surely=False)


async def test_what_speaks_something_else_is_no_device() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with served(serve) as connection:
        with pytest.raises(frames.FrameError):
            await client.identity(connection, 1, surely=False)


def test_only_what_is_named_is_asked() -> None:
    found = servers([Target(addresses="10.0.0.0/30", units=(2, 1)), Target(addresses="10.0.0.2", port=1502)])
    assert found == {Server("10.0.0.1", 502): (1, 2), Server("10.0.0.2", 502): (1, 2), Server("10.0.0.2", 1502): (1,)}


@pytest.mark.parametrize("addresses", ["10.0.0.0/8", "::/0", "host", ""])
def test_too_much_or_nothing_is_a_mistake(addresses: str) -> None:
    details = ModbusDetails(targets=[Target(addresses=addresses)])
    assert list(Modbus.problems(details))
    assert servers(details.targets) == {}


def test_a_configuration_gets_what_it_names_and_what_fits() -> None:
    facts = {"address": "10.0.0.2", "port": 502, "unit": 1, "vendor": "Acme", "product": "P7", "revision": "V1.0"}
    facet = Facet(source="modbus", handler="modbus", id="10.0.0.2:502/1", facts=facts)
    here = [Target(addresses="10.0.0.0/30")]
    offer = Modbus.offer(ModbusDetails(targets=here, vendors=["ac*"], revisions=["v1.*"]), facet, list)
    assert isinstance(offer, Offer)
    assert offer.properties["MODBUS_VENDOR"] == "Acme"
    assert isinstance(Modbus.offer(ModbusDetails(targets=here, products=["Z"]), facet, list), Refusal)
    elsewhere = ModbusDetails(targets=[Target(addresses="10.0.0.0/30", units=(2,))])
    assert Modbus.offer(elsewhere, facet, list) == Refusal("10.0.0.2:502/1 is not among the targets")


def test_configurations_that_name_the_same_share_one_plan() -> None:
    one = ModbusDetails(targets=[Target(addresses="10.0.0.2", units=(1, 2))])
    other = ModbusDetails(targets=[Target(addresses="10.0.0.2", units=(2, 1))], vendors=["x"])
    assert Modbus.plan([one, other]) == Modbus.plan([one])
