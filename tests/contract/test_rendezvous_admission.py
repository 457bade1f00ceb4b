"""Whom the rendezvous lets in: rules, trusted keys, and who may follow whom."""

from dataclasses import replace

import pytest

from ashore.bus.memory import MemoryBus
from ashore.cose import Sign1
from ashore.fdo.types import To2Address, Transport
from tests import fdo_kit
from tests.contract.rendezvous_kit import (
    MANUFACTURER,
    Clock,
    Rendezvous,
    fingerprint_of,
    made,
    refused,
    reissued,
    rendezvous,
)
from tests.fdo_kit import ADDRESSES

__all__ = ["made"]


async def test_a_stranger_is_told_what_the_operator_must_do() -> None:
    _, voucher, owner = fdo_kit.owned()
    async with rendezvous(trusted=frozenset()) as made:
        text = refused(await made.register(voucher, owner), 3)
    assert f"ashore rendezvous allow manufacturer {MANUFACTURER}" in text
    assert f"ashore rendezvous allow voucher {voucher.guid.hex()}" in text


async def test_a_strangers_voucher_is_read_no_further_than_rules_look() -> None:
    _, voucher, owner = fdo_kit.owned(sales=3)
    first, second, last = voucher.entries
    junk = Sign1(second.protected, {}, b"junk", second.signature)
    async with rendezvous(trusted=frozenset()) as made:
        refused(await made.register(replace(voucher, entries=(first, junk, last)), owner), 3, "its operator allows")


@pytest.mark.parametrize("kind", ["owner", "manufacturer", "voucher"])
async def test_a_rule_allows_or_denies(kind: str) -> None:
    _, voucher, owner = fdo_kit.owned()
    names = {
        "owner": fingerprint_of("owner 0", "p256"),
        "manufacturer": MANUFACTURER,
        "voucher": voucher.guid.hex(),
    }
    async with rendezvous(trusted=frozenset()) as made:
        assert (await made.http.put(f"/rules/{kind}/{names[kind]}", json={"verdict": "allow"})).status_code == 200
        await made.accepted(voucher, owner)
        denial = {"verdict": "deny", "comment": "stolen"}
        assert (await made.http.put(f"/rules/{kind}/{names[kind]}", json=denial)).status_code == 200
        refused(await made.register(voucher, owner), 3, "stolen")


async def test_a_denial_beats_every_permission(made: Rendezvous) -> None:
    _, voucher, owner = fdo_kit.owned()
    await made.http.put(f"/rules/voucher/{voucher.guid.hex()}", json={"verdict": "allow"})
    await made.http.put(f"/rules/owner/{fingerprint_of('owner 0', 'p256')}", json={"verdict": "deny"})
    refused(await made.register(voucher, owner), 3, "denies the owner")


async def test_a_denied_owner_does_not_come_back_through_a_straw_man(made: Rendezvous) -> None:
    _, voucher, owner = fdo_kit.owned(sales=3)
    await made.http.put(f"/rules/owner/{fingerprint_of('owner 1', 'p256')}", json={"verdict": "deny"})
    refused(await made.register(voucher, owner), 3, "denies the owner")


async def known_to_two(clock: Clock) -> tuple[Rendezvous, Rendezvous, fdo_kit.Device]:
    """Two replicas, and a device that was registered at one and has asked the other."""
    bus = MemoryBus(clock=clock)
    one, two = (Rendezvous(bus, clock, replica=name) for name in ("one", "two"))
    device, voucher, owner = fdo_kit.owned()
    await one.accepted(voucher, owner)
    assert await two.redirect(device) == ADDRESSES
    return one, two, device


async def test_a_denial_reaches_other_replicas_and_those_already_registered() -> None:
    clock = Clock()
    one, two, device = await known_to_two(clock)
    await one.http.put(f"/rules/owner/{fingerprint_of('owner 0', 'p256')}", json={"verdict": "deny"})
    clock.now += 5
    refused(await two.greet(device), 6, "suspended")


async def test_a_denial_is_heeded_soon_also_after_the_clock_was_set_back() -> None:
    clock = Clock()
    one, two, device = await known_to_two(clock)
    clock.now -= 3600
    await one.http.put(f"/rules/owner/{fingerprint_of('owner 0', 'p256')}", json={"verdict": "deny"})
    clock.now += 5
    refused(await two.greet(device), 6, "suspended")


async def test_a_denied_device_is_no_longer_registered(made: Rendezvous) -> None:
    device, voucher, owner = fdo_kit.owned()
    await made.accepted(voucher, owner)
    await made.http.put(f"/rules/voucher/{voucher.guid.hex()}", json={"verdict": "deny"})
    refused(await made.greet(device), 6)


# Who may follow whom.


async def test_a_buyer_takes_over_from_the_seller_and_not_the_other_way(made: Rendezvous) -> None:
    device, voucher, seller = fdo_kit.owned()
    buyer = fdo_kit.signer("buyer", "p256")
    sold = fdo_kit.sell(voucher, seller, buyer)
    await made.accepted(voucher, seller)
    await made.accepted(voucher, seller)
    elsewhere = [To2Address(b"\xc0\x00\x02\x07", None, 443, Transport.HTTPS)]
    await made.accepted(sold, buyer, addresses=elsewhere)
    refused(await made.register(voucher, seller), 3, "registered by another owner")
    assert await made.redirect(device) == elsewhere
    made.clock.now += 3600
    await made.accepted(voucher, seller)


async def test_a_voucher_of_another_maker_does_not_take_a_guid_over(made: Rendezvous) -> None:
    _, voucher, owner = fdo_kit.owned()
    await made.accepted(voucher, owner)
    maker, thief = fdo_kit.signer("maker", "p256"), fdo_kit.signer("thief", "p256")
    forged = reissued(voucher, maker)
    await made.http.put(f"/rules/manufacturer/{fingerprint_of('maker', 'p256')}", json={"verdict": "allow"})
    refused(await made.register(fdo_kit.sell(forged, maker, thief), thief), 3, "another owner")


async def test_who_has_onboarded_a_device_may_sell_it_under_the_same_guid(made: Rendezvous) -> None:
    device, voucher, owner = fdo_kit.owned()
    await made.accepted(voucher, owner)
    buyer = fdo_kit.signer("buyer", "p256")
    await made.http.put(f"/rules/owner/{fingerprint_of('buyer', 'p256')}", json={"verdict": "allow"})
    await made.accepted(fdo_kit.sell(reissued(voucher, owner), owner, buyer), buyer)
    assert await made.redirect(device) == ADDRESSES
