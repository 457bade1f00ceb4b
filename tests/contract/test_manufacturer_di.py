"""DI at the manufacturer: from a device's first message to its voucher on the disk, and what must not become one."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from ashore import cbor
from ashore.bus.memory import MemoryBus
from ashore.events import open_event
from ashore.fdo import voucher as vouchers
from ashore.fdo.messages import AppStart, SetHmac
from ashore.fdo.types import Hash, HashType, KeyEncoding, KeyType, fingerprint
from ashore.fdo.voucher import Voucher
from ashore.http.fdo import FdoRequest
from ashore.sessions import Sealer
from ashore_manufacturer.model import Party
from ashore_manufacturer.store import Store
from tests import fdo_kit
from tests.contract.manufacturer_kit import Factory, Newcomer, anywhere, error, factory, made

__all__ = ["anywhere", "made"]


async def stored(store: Store, guid: str) -> Voucher:
    row = await store.find(guid)
    assert row is not None
    return Voucher.decode(row.voucher)


@pytest.mark.parametrize("encoding", list(KeyEncoding))
@pytest.mark.parametrize("kind", fdo_kit.KINDS)
async def test_every_device_gets_a_voucher_of_its_own_kind(made: Factory, kind: str, encoding: KeyEncoding) -> None:
    newcomer = Newcomer(kind, encoding)
    voucher = await stored(made.store, await made.initialise(newcomer))
    vouchers.verify(voucher)
    assert fingerprint(voucher.device_key) == fingerprint(newcomer.public)
    assert voucher.header.public_key.key() == (await made.keyring.maker(kind)).signer.public_key
    assert voucher.header.public_key.encoding is (
        KeyEncoding.X509 if kind.startswith("rsa") and encoding is KeyEncoding.COSEKEY else encoding
    )
    assert newcomer.credential is not None
    assert voucher.hmac.authenticates(newcomer.secret, voucher.header_bytes)


async def test_a_factory_may_give_all_devices_one_kind_of_manufacturer_key(tmp_path: Path) -> None:
    async with factory(tmp_path, choice="p384") as made:
        voucher = await stored(made.store, await made.initialise(Newcomer("p256")))
    assert voucher.header.public_key.type is KeyType.SECP384R1
    assert voucher.hash_type is HashType.SHA256


async def test_an_rsa_key_is_declared_as_the_device_declares_its_own(made: Factory) -> None:
    voucher = await stored(made.store, await made.initialise(Newcomer("rsa2048", declared=KeyType.RSAPKCS)))
    assert voucher.header.public_key.type is KeyType.RSAPKCS


async def test_a_voucher_and_its_event_are_one(made: Factory) -> None:
    guid = await made.initialise(Newcomer())
    assert await made.published(1) == [f"voucher-issued.{guid}"]


async def test_a_voucher_is_sold_as_soon_as_it_is_made(tmp_path: Path) -> None:
    buyer = fdo_kit.signer("buyer", "p256").public_key
    async with factory(tmp_path, sell_to=Party([buyer])) as made:
        guid = await made.initialise(Newcomer())
        voucher = await stored(made.store, guid)
        assert await made.published(2) == [f"voucher-issued.{guid}", f"voucher-extended.{guid}"]
        event = [open_event(envelope) async for envelope in last_of(made.bus, 2)][1]
    vouchers.verify(voucher)
    assert voucher.owner_key == buyer
    assert event.owner_key == fingerprint(buyer)
    assert event.digest == voucher.digest


async def last_of(bus: MemoryBus, count: int):
    async for sequence, envelope in bus.follow([">"], replay=True):
        yield envelope
        if sequence == count:
            return


async def test_a_buyer_without_a_key_of_the_kind_leaves_the_voucher_to_the_manufacturer(tmp_path: Path) -> None:
    async with factory(tmp_path, sell_to=Party([fdo_kit.signer("buyer", "p384").public_key])) as made:
        voucher = await stored(made.store, await made.initialise(Newcomer("p256")))
    assert voucher.entries == ()


@pytest.mark.parametrize("serial", ["", "SN\n", "a'; DROP TABLE vouchers; --", '"\\\u202e', "x" * 255, "\U0001f6a2"])
async def test_a_serial_may_hold_anything(made: Factory, serial: str) -> None:
    await made.initialise(Newcomer(serial=serial))
    found = (await made.http.get("/vouchers", params={"serial": serial})).json()["items"]
    assert [one["serial"] for one in found] == [serial]


async def test_a_nul_in_a_serial_becomes_its_symbol(made: Factory) -> None:
    await made.initialise(Newcomer(serial="SN\0"))
    found = (await made.http.get("/vouchers", params={"serial": "SN\0"})).json()["items"]
    assert [one["serial"] for one in found] == ["SN\u2400"]


async def test_items_that_some_clients_add_to_the_manufacturing_info_are_ignored(made: Factory) -> None:
    newcomer = Newcomer()
    content = [*cbor.loads(AppStart.decode(newcomer.app_start()).info), b"\x02\x00\x5e\x10\x00\x00", None, 7, "x"]
    first = await made.send(10, AppStart(cbor.dumps(content)).encode())
    assert (await made.send(12, newcomer.set_hmac(first), first.token)).number == 13


# What must not become a voucher.


async def refused(made: Factory, code: int, number: int, body: bytes, token: str | None = None) -> str:
    reply = await made.send(number, body, token)
    told = error(reply)
    assert told is not None, reply
    assert (told.code, told.previous, reply.token, reply.status) == (code, number, None, 200)
    assert not (await made.store.newest(None, None, after=None, limit=1)).rows
    return told.text


async def test_an_hmac_without_a_session_is_refused(made: Factory) -> None:
    newcomer = Newcomer()
    body = newcomer.set_hmac(await made.send(10, newcomer.app_start()))
    await refused(made, 1, 12, body)
    await refused(made, 1, 12, body, "bm9uc2Vuc2U")


async def test_a_token_is_good_for_one_hmac_only(made: Factory) -> None:
    newcomer = Newcomer()
    first = await made.send(10, newcomer.app_start())
    body = newcomer.set_hmac(first)
    both = await asyncio.gather(*(made.send(12, body, first.token) for _ in range(2)))
    assert sorted(reply.number for reply in both) == [13, 255]
    assert (await made.send(12, body, first.token)).number == 255
    assert len((await made.store.newest(None, None, after=None, limit=9)).rows) == 1


async def test_an_expired_token_is_refused(made: Factory) -> None:
    newcomer = Newcomer()
    first = await made.send(10, newcomer.app_start())
    made.clock.now += 601
    assert "expired" in await refused(made, 1, 12, newcomer.set_hmac(first), first.token)


async def test_a_token_of_another_protocol_is_refused(made: Factory) -> None:
    newcomer = Newcomer()
    body = newcomer.set_hmac(await made.send(10, newcomer.app_start()))
    foreign = Sealer(bytes(32)).seal("rendezvous 2", cbor.dumps([11, "one", bytes(16)]), expires_at=2_000_000_000)
    await refused(made, 1, 12, body, foreign)


async def test_a_session_ends_with_an_error(made: Factory) -> None:
    newcomer = Newcomer()
    first = await made.send(10, newcomer.app_start())
    await refused(made, 100, 12, b"\x81", first.token)
    await refused(made, 1, 12, newcomer.set_hmac(first), first.token)


@pytest.mark.parametrize("number", [13, 20, 30, 60, 0, 254])
async def test_messages_that_are_not_the_manufacturers_are_refused(made: Factory, number: int) -> None:
    await refused(made, 101, number, b"\x80")


@pytest.mark.parametrize("cut", [0, 1, 10, -1])
async def test_a_truncated_body_is_refused(made: Factory, cut: int) -> None:
    await refused(made, 100, 10, Newcomer().app_start()[:cut])


async def test_trailing_bytes_are_refused(made: Factory) -> None:
    newcomer = Newcomer()
    assert "trailing" in await refused(made, 100, 10, newcomer.app_start() + b"\x00")
    inner = AppStart(AppStart.decode(newcomer.app_start()).info + b"\x00")
    assert "trailing" in await refused(made, 100, 10, inner.encode())
    first = await made.send(10, newcomer.app_start())
    await refused(made, 100, 12, newcomer.set_hmac(first) + b"\x80", first.token)


async def test_a_request_of_another_kind_than_declared_is_refused(made: Factory) -> None:
    text = await refused(made, 101, 10, Newcomer("p384", declared=KeyType.SECP256R1).app_start())
    assert "SECP256R1" in text
    assert "SECP384R1" in text


async def test_a_request_that_does_not_sign_itself_is_refused(made: Factory) -> None:
    content = cbor.loads(AppStart.decode(Newcomer().app_start()).info)
    assert isinstance(content, list)
    content[4] = content[4][:-1] + bytes([content[4][-1] ^ 1])
    await refused(made, 101, 10, AppStart(cbor.dumps(content)).encode())
    content[4] = b"no request"
    await refused(made, 101, 10, AppStart(cbor.dumps(content)).encode())


async def test_a_hash_in_place_of_the_hmac_is_refused(made: Factory) -> None:
    first = await made.send(10, Newcomer().app_start())
    body = SetHmac(Hash(HashType.SHA256, bytes(32))).encode()
    await refused(made, 101, 12, body, first.token)


# Trouble of our own.


async def test_a_full_disk_sends_the_device_away_and_leaves_nothing_half(made: Factory) -> None:
    await made.limit_pages(1)
    told: list[str] = []
    while True:
        newcomer = Newcomer()
        first = await made.send(10, newcomer.app_start())
        body = newcomer.set_hmac(first)
        last = await made.send(12, body, first.token)
        guid = newcomer.credential.guid.hex()
        if last.number == 255:
            break
        told.append(f"voucher-issued.{guid}")
        assert len(told) < 100
    assert (last.status, error(last).code) == (500, 500)
    assert await made.store.find(guid) is None
    await made.limit_pages(1_000_000)
    assert await made.published(len(told)) == told
    assert (await made.send(12, body, first.token)).number == 13
    assert await made.published(len(told) + 1) == [*told, f"voucher-issued.{guid}"]


async def test_a_voucher_whose_commit_was_not_heard_of_is_stored_once(anywhere: Factory) -> None:
    newcomer = Newcomer()
    first = await anywhere.send(10, newcomer.app_start())
    body = newcomer.set_hmac(first)
    waiting = anywhere.exchange.sessions.get(newcomer.credential.guid.hex())
    assert (await anywhere.send(12, body, first.token)).number == 13
    anywhere.exchange.sessions.put(newcomer.credential.guid.hex(), waiting)
    assert (await anywhere.send(12, body, first.token)).number == 13
    assert await anywhere.published(1) == [f"voucher-issued.{newcomer.credential.guid.hex()}"]


async def test_events_wait_while_the_bus_is_away(tmp_path: Path) -> None:
    bus = MemoryBus()
    async with factory(tmp_path, bus) as made:
        await bus.close()
        guid = await made.initialise(Newcomer())
        made.bus = MemoryBus()
        assert await made.published(1) == [f"voucher-issued.{guid}"]


@asynccontextmanager
async def serving(one: Factory) -> AsyncIterator[None]:
    """The replica takes what others pass on, until the block ends."""
    task = asyncio.create_task(one.exchange.serve_for_ever())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_another_replica_passes_the_message_on(tmp_path: Path) -> None:
    bus = MemoryBus()
    async with factory(tmp_path, bus) as one:
        two = Factory(tmp_path, one.database, bus, clock=one.clock, replica="two")
        newcomer = Newcomer()
        async with serving(one):
            first = await one.send(10, newcomer.app_start())
            assert (await two.send(12, newcomer.set_hmac(first), first.token)).number == 13
            first = await one.send(10, newcomer.app_start())
        lost = error(await two.send(12, newcomer.set_hmac(first), first.token))
        assert lost is not None
        assert lost.code == 1


async def test_a_message_that_is_passed_on_keeps_its_trace(tmp_path: Path) -> None:
    trace = f"00-{'1' * 32}-{'2' * 16}-01"
    bus = MemoryBus()
    async with factory(tmp_path, bus) as one, serving(one):
        two = Factory(tmp_path, one.database, bus, clock=one.clock, replica="two")
        newcomer = Newcomer()
        first = await one.send(10, newcomer.app_start())
        last = FdoRequest(12, newcomer.set_hmac(first), first.token, "192.0.2.1", trace)
        assert (await two.exchange(last)).number == 13
        await one.published(1)
    async for _, envelope in bus.follow([">"], replay=True):
        assert envelope.traceparent == trace
        break
