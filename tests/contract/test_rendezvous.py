"""TO0 and TO1 at the rendezvous: who is let in, who is led where, and all that must not be."""

import asyncio
from dataclasses import replace

import pytest

from ashore import cbor
from ashore.bus.memory import MemoryBus
from ashore.events import DeviceRedirected, OwnerRegistered, open_event
from ashore.fdo import to1
from ashore.fdo.messages import HelloRV, OwnerSign, SigInfo
from ashore.fdo.types import To2Address, Transport
from tests import fdo_kit
from tests.contract.rendezvous_kit import (
    Clock,
    Rendezvous,
    error,
    fingerprint_of,
    made,
    owner_sign,
    proof,
    refused,
    rendezvous,
)
from tests.fdo_kit import ADDRESSES

__all__ = ["made"]


@pytest.mark.parametrize("owner_kind", fdo_kit.KINDS)
@pytest.mark.parametrize("device_kind", fdo_kit.KINDS)
async def test_every_device_is_led_to_its_owner(device_kind: str, owner_kind: str) -> None:
    device, voucher, owner = fdo_kit.owned(device_kind, owner_kind, sales=2)
    async with rendezvous(trusted=frozenset({fingerprint_of("manufacturer", owner_kind)})) as made:
        assert await made.accepted(voucher, owner) == 3600
        assert await made.redirect(device) == ADDRESSES


async def test_both_facts_are_told(made: Rendezvous) -> None:
    device, voucher, owner = fdo_kit.owned()
    await made.accepted(voucher, owner)
    await made.redirect(device)
    await made.publisher.flush()
    facts = []
    async for _, envelope in made.bus.follow([">"], replay=True):
        facts.append(open_event(envelope))
        if len(facts) == 2:
            break
    guid, urls = voucher.guid.hex(), ["http://owner.example:8042"]
    assert facts == [
        OwnerRegistered(guid=guid, addresses=urls, wait_seconds=3600, expires_at="2027-01-15T09:00:00+00:00"),
        DeviceRedirected(guid=guid, addresses=urls),
    ]


@pytest.mark.parametrize(("asked", "granted"), [(0, 60), (3600, 3600), (2**32 - 1, 86_400)])
async def test_the_granted_time_is_bounded(made: Rendezvous, asked: int, granted: int) -> None:
    _, voucher, owner = fdo_kit.owned()
    assert await made.accepted(voucher, owner, seconds=asked) == granted


async def test_a_registration_ends_with_its_time(made: Rendezvous) -> None:
    device, voucher, owner = fdo_kit.owned()
    await made.accepted(voucher, owner)
    first = await made.greet(device)
    made.clock.now += 599
    assert (await made.send(32, proof(first, device), first.token)).number == 33
    made.clock.now += 3600
    refused(await made.greet(device), 6)


async def test_a_device_that_nobody_has_registered_is_told_so(made: Rendezvous) -> None:
    refused(await made.greet(fdo_kit.owned()[0]), 6, "no owner has registered")


async def test_any_replica_answers_any_message() -> None:
    clock = Clock()
    bus = MemoryBus(clock=clock)
    one, two = (Rendezvous(bus, clock, replica=name) for name in ("one", "two"))
    device, voucher, owner = fdo_kit.owned()
    ack, token = await one.hello()
    assert (await two.send(22, owner_sign(ack, voucher, owner).encode(), token)).number == 23
    first = await one.greet(device)
    assert (await two.send(32, proof(first, device), first.token)).number == 33


# What lies, or comes wrong.


async def test_a_blob_by_a_stranger_is_refused(made: Rendezvous) -> None:
    _, voucher, _ = fdo_kit.owned()
    refused(await made.register(voucher, fdo_kit.signer("thief", "p256")), 3, "not signed by the voucher's owner")


async def test_a_swapped_device_chain_is_refused(made: Rendezvous) -> None:
    _, voucher, owner = fdo_kit.owned()
    refused(await made.register(replace(voucher, chain=fdo_kit.initialise()[1].chain), owner), 2, "certificates")


async def test_a_voucher_that_was_never_sold_is_refused(made: Rendezvous) -> None:
    _, voucher = fdo_kit.initialise()
    refused(await made.register(voucher, fdo_kit.signer("manufacturer", "p256")), 3, "not been extended")


@pytest.mark.parametrize(
    ("address", "code"),
    [
        (To2Address(None, None, 80, Transport.HTTP), 4),
        (To2Address(b"\x7f\x00\x00\x00\x01", None, 80, Transport.HTTP), 4),
    ],
)
async def test_an_address_that_is_none_is_refused(made: Rendezvous, address: To2Address, code: int) -> None:
    _, voucher, owner = fdo_kit.owned()
    refused(await made.register(voucher, owner, addresses=[address]), code)


@pytest.mark.parametrize("count", [0, 65])
async def test_no_address_or_too_many_are_refused(made: Rendezvous, count: int) -> None:
    _, voucher, owner = fdo_kit.owned()
    refused(await made.register(voucher, owner, addresses=ADDRESSES * count), 3, f"{count} addresses")


async def test_a_registration_cannot_be_replayed(made: Rendezvous) -> None:
    _, voucher, owner = fdo_kit.owned()
    ack, token = await made.hello()
    body = owner_sign(ack, voucher, owner).encode()
    both = await asyncio.gather(*(made.send(22, body, token) for _ in range(2)))
    assert sorted(reply.number for reply in both) == [23, 255]
    refused(await made.send(22, body, token), 1)
    _, fresh = await made.hello()
    refused(await made.send(22, body, fresh), 101, "another nonce")


async def test_a_proof_cannot_be_replayed(made: Rendezvous) -> None:
    device, voucher, owner = fdo_kit.owned()
    await made.accepted(voucher, owner)
    first = await made.greet(device)
    body = proof(first, device)
    assert (await made.send(32, body, first.token)).number == 33
    refused(await made.send(32, body, first.token), 1)
    refused(await made.send(32, body, (await made.greet(device)).token), 101, "another nonce")


async def test_an_expired_token_is_refused(made: Rendezvous) -> None:
    _, voucher, owner = fdo_kit.owned()
    ack, token = await made.hello()
    made.clock.now += 601
    refused(await made.send(22, owner_sign(ack, voucher, owner).encode(), token), 1, "expired")


async def test_a_token_of_the_other_protocol_is_refused(made: Rendezvous) -> None:
    device, voucher, owner = fdo_kit.owned()
    await made.accepted(voucher, owner)
    _, to0_token = await made.hello()
    first = await made.greet(device)
    refused(await made.send(32, proof(first, device), to0_token), 1)
    ack, _ = await made.hello()
    refused(await made.send(22, owner_sign(ack, voucher, owner).encode(), first.token), 1)


@pytest.mark.parametrize("number", [10, 21, 23, 31, 33, 60, 66])
async def test_messages_that_are_not_the_rendezvous_are_refused(made: Rendezvous, number: int) -> None:
    refused(await made.send(number, b"\x80"), 101)


@pytest.mark.parametrize("number", [22, 32])
async def test_a_second_message_cannot_come_first(made: Rendezvous, number: int) -> None:
    refused(await made.send(number, b"\x80"), 1)


@pytest.mark.parametrize("cut", [0, 1, 100, -1])
async def test_a_truncated_registration_is_refused(made: Rendezvous, cut: int) -> None:
    _, voucher, owner = fdo_kit.owned()
    ack, token = await made.hello()
    refused(await made.send(22, owner_sign(ack, voucher, owner).encode()[:cut], token), 100)


async def test_trailing_bytes_are_refused(made: Rendezvous) -> None:
    _, voucher, owner = fdo_kit.owned()
    refused(await made.send(20, b"\x80\x00"), 100, "trailing")
    ack, token = await made.hello()
    message = owner_sign(ack, voucher, owner)
    refused(await made.send(22, OwnerSign(message.to0d + b"\x00", message.to1d).encode(), token), 100, "trailing")


@pytest.mark.parametrize(
    "to0d", [b"\x80", b"\xf6", cbor.dumps([None, 1, bytes(16)]), cbor.dumps([[101], 1, bytes(16)])]
)
async def test_what_is_no_registration_is_told_so(made: Rendezvous, to0d: bytes) -> None:
    _, voucher, owner = fdo_kit.owned()
    ack, token = await made.hello()
    message = OwnerSign(to0d, owner_sign(ack, voucher, owner).to1d)
    told = error(await made.send(22, message.encode(), token))
    assert told is not None
    assert told.code in (2, 100)


async def test_a_device_that_signs_otherwise_than_its_certificate_is_refused(made: Rendezvous) -> None:
    device, voucher, owner = fdo_kit.owned()
    await made.accepted(voucher, owner)
    refused(await made.send(30, HelloRV(device.credential.guid, SigInfo(-35, b"")).encode()), 101, "-35")


async def test_a_stranger_is_not_told_where_the_owner_is(made: Rendezvous) -> None:
    device, voucher, owner = fdo_kit.owned()
    await made.accepted(voucher, owner)
    first = await made.greet(device)
    stranger = fdo_kit.Device(fdo_kit.owned()[0].signer, device.credential)
    refused(await made.send(32, proof(first, stranger), first.token), 101, "not signed by the device")
    refused(await made.send(32, proof(first, device), first.token), 1)


async def test_a_proof_about_another_device_is_refused(made: Rendezvous) -> None:
    device, voucher, owner = fdo_kit.owned()
    await made.accepted(voucher, owner)
    first = await made.greet(device)
    body = to1.prove_to_rv(to1.HelloRVAck.decode(first.body), bytes(16), device.signer).encode()
    refused(await made.send(32, body, first.token), 5)


# Trouble of our own.


async def test_without_the_bus_everybody_is_asked_to_come_again(made: Rendezvous) -> None:
    device, voucher, owner = fdo_kit.owned()
    await made.accepted(voucher, owner)
    first = await made.greet(device)
    ack, token = await made.hello()
    await made.bus.close()
    for reply in (
        await made.greet(device),
        await made.send(32, proof(first, device), first.token),
        await made.send(22, owner_sign(ack, voucher, owner).encode(), token),
    ):
        told = error(reply)
        assert told is not None
        assert (reply.status, told.code, "try again later" in told.text) == (500, 500, True)


async def test_a_fact_that_cannot_be_told_yet_does_not_hold_the_device_up(made: Rendezvous) -> None:
    device, voucher, owner = fdo_kit.owned()
    await made.accepted(voucher, owner)
    await made.redirect(device)
    assert len(made.publisher) == 1
    working = asyncio.create_task(made.publisher.run())
    async for _, envelope in made.bus.follow(["device-redirected.>"], replay=True):
        assert envelope.subject == f"device-redirected.{voucher.guid.hex()}"
        break
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)
