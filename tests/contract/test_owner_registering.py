"""A voucher from anywhere, and a rendezvous that it names, cannot keep an owner from registering its other devices."""

import asyncio
import socket
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from ashore import cbor
from ashore.fdo.messages import ErrorMessage
from ashore.fdo.types import fingerprint
from ashore.fdo.voucher import Voucher
from ashore_owner.to0 import Registrar
from tests import fdo_kit as kit
from tests.contract.owner_world import NOW, World, opened_world
from tests.contract.sql_fixtures import fresh_url


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


@pytest.mark.parametrize("host", ["a" * 64, "a..b", "\u00ad"], ids=["long", "empty", "nothing"])
async def test_a_name_that_is_no_host_fails_one_registration_and_not_the_registrar(world: World, host: str) -> None:
    info = [[[5, cbor.dumps(host)], [12, cbor.dumps(1)]]]
    voucher = kit.sell(kit.initialise(rv_info=info)[1], kit.signer("manufacturer", "p256"), world.owner)
    assert await world.store.add(voucher, serial="SN-1", origin="upload", now=NOW)
    assert "cannot be reached" in await _registered(world, voucher)


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


async def _registered(world: World, voucher: Voucher) -> str:
    """What came of a registration."""
    signers = {fingerprint(world.owner.public_key): world.owner}
    registrar = Registrar(world.database, signers, kit.ADDRESSES, wait_seconds=60, parallel=2, clock=lambda: world.time)
    running = asyncio.create_task(registrar.run())
    try:
        async with asyncio.timeout(20):
            while True:
                shown = await world.queries.device(voucher.guid.hex())
                if shown.registration_error is not None:
                    return shown.registration_error
                if running.done():
                    await running
                await asyncio.sleep(0.02)
    finally:
        running.cancel()
