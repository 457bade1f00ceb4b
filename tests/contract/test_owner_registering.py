"""A voucher from anywhere, and a rendezvous that it names, cannot keep an owner from registering its other devices."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import msgspec
import pytest

from ashore import cbor
from ashore.fdo.errors import AddressError, FdoError
from ashore.fdo.messages import AcceptOwner, ErrorMessage, HelloAck, To0Hello
from ashore.fdo.types import fingerprint
from ashore.fdo.voucher import Voucher
from ashore.tls import client_context
from ashore_owner.networks import Contacts
from ashore_owner.rendezvous import Rendezvous
from ashore_owner.to0 import Registrar
from tests import fdo_kit as kit
from tests.contract.owner_world import NOW, World, opened_world
from tests.contract.sql_fixtures import fresh_url
from tests.unit.device.web import Request, Web, certificate, http, serve

LOOPBACK = b"\x7f\0\0\1"


@pytest.fixture(params=["sqlite", "postgresql"])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    async with fresh_url(request.param, tmp_path) as url, opened_world(url) as world:
        yield world


async def test_a_registration_that_fails_is_noted_in_either_database(world: World) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    info = [[[2, cbor.dumps(b"\x7f\0\0\1")], [4, cbor.dumps(port)], [12, cbor.dumps(1)]]]
    voucher = kit.sell(kit.initialise(rv_info=info)[1], kit.signer("manufacturer", "p256"), world.owner)
    assert await world.store.add(voucher, serial="SN-1", origin="upload", now=NOW)
    assert "cannot be reached" in await _registered(world, voucher)


@pytest.mark.parametrize("host", ["a" * 64, "a..b", "\u00ad", "\u2100.a"], ids=["long", "empty", "nothing", "slash"])
async def test_a_name_that_is_no_host_fails_one_registration_and_not_the_registrar(world: World, host: str) -> None:
    info = [[[5, cbor.dumps(host)], [12, cbor.dumps(1)]]]
    voucher = kit.sell(kit.initialise(rv_info=info)[1], kit.signer("manufacturer", "p256"), world.owner)
    assert await world.store.add(voucher, serial="SN-1", origin="upload", now=NOW)
    assert "no rendezvous that an owner can reach" in await _registered(world, voucher)


@pytest.mark.parametrize("host", ["a" * 64, "a..b", "\u00ad", "\u2100.a"], ids=["long", "empty", "nothing", "slash"])
def test_a_name_that_is_no_host_cannot_be_reached(host: str) -> None:
    with (
        Rendezvous(f"http://{host}:80", Contacts()) as rendezvous,
        pytest.raises(FdoError, match="cannot be reached"),
    ):
        rendezvous.say(To0Hello(), HelloAck)


async def test_what_a_rendezvous_says_is_kept_whatever_is_in_it(world: World) -> None:
    refusal = ErrorMessage(3, 20, "no\x00\u2028", 0, 0).encode()
    head = f"HTTP/1.1 200 OK\r\nMessage-Type: 255\r\nContent-Length: {len(refusal)}\r\n\r\n".encode()

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(1)
        writer.write(head + refusal)
        writer.close()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    info = [[[2, cbor.dumps(b"\x7f\0\0\1")], [4, cbor.dumps(port)], [12, cbor.dumps(1)]]]
    voucher = kit.sell(kit.initialise(rv_info=info)[1], kit.signer("manufacturer", "p256"), world.owner)
    assert await world.store.add(voucher, serial="SN-1", origin="upload", now=NOW)
    async with server:
        assert "no\u2400\u2028" in await _registered(world, voucher)


async def test_texts_with_a_nul_are_kept_in_either_database(world: World) -> None:
    voucher = kit.owned()[1]
    header = msgspec.structs.replace(voucher.header, device_info="a\0b")
    voucher = replace(voucher, header=header, header_bytes=header.encode())
    assert await world.store.add(voucher, serial="S\0", origin="event", now=NOW)
    shown = await world.queries.device(voucher.guid.hex())
    assert (shown.serial, shown.device_info) == ("S\u2400", "a\u2400b")


async def test_a_rendezvous_is_registered_at_and_its_token_is_kept(world: World) -> None:
    async with serve(_grant) as web:
        voucher = await _sold(world, [_at(LOOPBACK, web.port)])
        assert await _registered(world, voucher) == "registered"
    assert [request.path for request in web.requests] == ["/fdo/101/msg/20", "/fdo/101/msg/22"]
    assert web.requests[1].headers["authorization"] == "Bearer one"
    assert web.connections == 1


@pytest.mark.parametrize(
    ("host", "words"),
    [
        (b"\xa9\xfe\xa9\xfe", "169.254.169.254 is a link-local address"),
        ("2852039166", "169.254.169.254 is a link-local address"),
        ("0", "0.0.0.0 is an address that no host has"),
        ("0xe0000001", "224.0.0.1 is a multicast address"),
        (bytes.fromhex("fe800000000000000000000000000001"), "fe80::1 is a link-local address"),
    ],
    ids=["literal", "name", "zero", "multicast", "ipv6"],
)
async def test_what_cannot_be_a_rendezvous_is_not_contacted(world: World, host: str | bytes, words: str) -> None:
    async with serve(_grant) as web:
        told = await _registered(world, await _sold(world, [_at(host, web.port)]))
    assert words in told
    assert "initialised anew, with other rendezvous info" in told
    assert web.connections == 0


async def test_a_list_of_hosts_keeps_the_owner_from_all_others(world: World) -> None:
    async with serve(_grant) as web:
        voucher = await _sold(world, [_at("localhost", web.port)])
        told = await _registered(world, voucher, "*.plant.example", "10.0.0.0/8")
        assert "ASHORE_RENDEZVOUS_HOSTS does not have localhost at " in told
        assert "add it there and restart this service" in told
        assert web.connections == 0
        voucher = await _sold(world, [_at("localhost", web.port)])
        assert await _registered(world, voucher, "localhost") == "registered"


async def test_a_network_in_the_list_allows_whatever_name_leads_there(world: World) -> None:
    async with serve(_grant) as web:
        voucher = await _sold(world, [_at("localhost", web.port)])
        assert await _registered(world, voucher, "127.0.0.0/8", "::1") == "registered"


def test_a_name_that_is_not_in_the_list_is_not_even_looked_up() -> None:
    with (
        Rendezvous("http://rv.invalid:80", Contacts(["rv.example"])) as rendezvous,
        pytest.raises(AddressError, match=r"ASHORE_RENDEZVOUS_HOSTS does not have rv\.invalid"),
    ):
        rendezvous.say(To0Hello(), HelloAck)


async def test_where_one_rendezvous_is_refused_the_others_are_tried(world: World) -> None:
    async with serve(_grant) as web:
        voucher = await _sold(world, [_at("2852039166", 80), _at(LOOPBACK, web.port)])
        assert await _registered(world, voucher) == "registered"


async def test_all_that_was_tried_is_told_and_the_next_attempt_begins_with_another(world: World) -> None:
    asked: list[str] = []

    def refuse(name: str) -> Callable[[Request], bytes]:
        return lambda _request: asked.append(name) or http(status=f"503 {name}")

    async with serve(refuse("one")) as one, serve(refuse("two")) as two:
        voucher = await _sold(world, [_at("2852039166", 80), _at(LOOPBACK, one.port), _at(LOOPBACK, two.port)])
        told = await _registered(world, voucher)
        assert (
            told.index("link-local") < told.index(f"{one.port} answered HTTP 503") < told.index(f"{two.port} answered")
        )
        for begins in (f"the rendezvous at {one.url} ", f"the rendezvous at {two.url} "):
            world.time += 600
            await _registered(world, voucher, begins=begins)
    assert asked == ["one", "two", "one", "two", "two", "one"]


async def test_a_rendezvous_that_grants_no_time_keeps_no_registration(world: World) -> None:
    async with serve(partial(_grant, seconds=0)) as web, serve(_grant) as other:
        alone = await _sold(world, [_at(LOOPBACK, web.port)])
        assert "it granted 0 s" in await _registered(world, alone)
        beside = await _sold(world, [_at(LOOPBACK, web.port), _at(LOOPBACK, other.port)])
        assert await _registered(world, beside) == "registered"


async def test_a_redirect_is_not_followed(world: World) -> None:
    async with serve(_grant) as inner, serve(_moved_to(inner)) as web:
        told = await _registered(world, await _sold(world, [_at(LOOPBACK, web.port)]))
    assert "answered HTTP 307" in told
    assert inner.connections == 0


async def test_an_answer_is_read_up_to_the_length_of_a_message(world: World) -> None:
    async with serve(lambda _: http(b"\0" * 1_000_000, message_type=21)) as web:
        assert await _registered(world, await _sold(world, [_at(LOOPBACK, web.port)])) != "registered"


@pytest.mark.parametrize("secret", [False, True], ids=["http", "https"])
async def test_a_rendezvous_that_never_comes_to_an_end_is_given_up(tmp_path: Path, secret: bool) -> None:
    server, authority = certificate(tmp_path)
    waits = asyncio.Event()

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        waits.set()
        while not writer.is_closing():
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            await writer.drain()
            await asyncio.sleep(0.01)

    async with await asyncio.start_server(drip, "127.0.0.1", 0, ssl=server if secret else None) as endless:
        port = endless.sockets[0].getsockname()[1]
        tls = client_context(authority.read_text())
        rendezvous = Rendezvous(f"http{'s' if secret else ''}://127.0.0.1:{port}", Contacts(), tls)
        with rendezvous:
            asking = asyncio.create_task(asyncio.to_thread(rendezvous.say, To0Hello(), HelloAck))
            await waits.wait()
            assert not asking.done()
            rendezvous.give_up()
            with pytest.raises(FdoError, match="cannot be reached: it took too long"):
                await asking


def test_what_was_given_up_is_not_begun() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        with Rendezvous(f"http://127.0.0.1:{server.getsockname()[1]}", Contacts()) as rendezvous:
            rendezvous.give_up()
            with pytest.raises(FdoError, match="it took too long"):
                rendezvous.say(To0Hello(), HelloAck)
        server.setblocking(False)
        with pytest.raises(BlockingIOError):
            server.accept()


def _grant(request: Request, seconds: int = 3600) -> bytes:
    """A rendezvous that takes whatever comes."""
    if request.path.endswith("/20"):
        return http(HelloAck(b"n" * 16).encode(), message_type=21, authorization="Bearer one")
    return http(AcceptOwner(seconds).encode(), message_type=23)


def _moved_to(other: Web) -> Callable[[Request], bytes]:
    return lambda _request: http(status="307 Temporary Redirect", location=f"{other.url}/fdo/101/msg/20")


def _at(host: str | bytes, port: int) -> list[list[object]]:
    """A directive."""
    named = [2 if isinstance(host, bytes) else 5, cbor.dumps(host)]
    return [named, [4, cbor.dumps(port)], [12, cbor.dumps(1)]]


async def _sold(world: World, info: list[list[list[object]]]) -> Voucher:
    """A voucher of this owner, with this rendezvous info."""
    voucher = kit.sell(kit.initialise(rv_info=info)[1], kit.signer("manufacturer", "p256"), world.owner)
    assert await world.store.add(voucher, serial="SN-1", origin="upload", now=NOW)
    return voucher


async def _registered(world: World, voucher: Voucher, *hosts: str, begins: str = "") -> str:
    """What came of a registration: the error that begins so, or the device's state."""
    async with _registering(world, *hosts) as running:
        while True:
            shown = await world.queries.device(voucher.guid.hex())
            if shown.registration_error is not None and shown.registration_error.startswith(begins):
                return shown.registration_error
            if shown.registered_until is not None:
                return shown.state.value
            if running.done():
                await running
            await asyncio.sleep(0.02)


@asynccontextmanager
async def _registering(world: World, *hosts: str) -> AsyncIterator[asyncio.Task[None]]:
    """A registrar at work."""
    signers = {fingerprint(world.owner.public_key): world.owner}
    registrar = Registrar(
        world.database,
        signers,
        kit.ADDRESSES,
        wait_seconds=60,
        parallel=2,
        contacts=Contacts(hosts),
        clock=lambda: world.time,
    )
    running = asyncio.create_task(registrar.run())
    try:
        async with asyncio.timeout(20):
            yield running
    finally:
        running.cancel()
