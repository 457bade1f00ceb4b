"""What other FDO servers get wrong, each a test of ours. Where the core alone decides, the test is in tests/unit/fdo.

1. TO0 takes a blob signed by a stranger, in a voucher with a swapped device chain.
2. The device does not check who signed SetupDevice(65).
3. Two onboardings at once can end the server.
4. An entry index out of range, a short signature, modules out of range, a null chain hash can end the server.
5. A device's key must be of its owner's kind.
6. The new voucher's key is made of the device CA's certificates where keys are chains.
7. After credential reuse the device never counts as onboarded, and is registered for ever.
8. Sessions leave their keys behind.
9. A voucher that is sold on is dropped before the buyer has it.
"""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import select

from ashore.fdo import voucher as vouchers
from ashore.fdo.types import KeyEncoding, encode_public_key, fingerprint
from ashore_owner.profiles import Profile, Rule
from ashore_owner.tables import devices, outbox
from tests import fdo_kit as kit
from tests.contract.owner_world import NOW, Client, World, opened_world

SMALL_LOAD = 24


def on_disk(folder: Path) -> bytes:
    """All that a service has written."""
    return b"".join(path.read_bytes() for path in folder.iterdir() if path.is_file())


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with opened_world(f"sqlite:///{tmp_path / 'owner.db'}") as world:
        yield world


async def test_3_many_onboardings_at_once_all_end(world: World) -> None:
    exchange = world.replica()
    fleet = [(await world.adopt())[0] for _ in range(SMALL_LOAD)]
    new = await asyncio.gather(*(Client(device, exchange).onboard() for device in fleet))
    assert len(set(new)) == SMALL_LOAD
    assert exchange.sessions == 0


async def test_3_one_device_with_many_onboardings_at_once_ends_one_at_least(world: World) -> None:
    device, voucher = await world.adopt()
    exchange = world.replica()
    results = await asyncio.gather(*(Client(device, exchange).onboard() for _ in range(8)), return_exceptions=True)
    ashore = [result for result in results if isinstance(result, str)]
    assert ashore
    assert (await world.queries.device(voucher.guid.hex())).replaced_by == ashore[-1] or len(ashore) > 1
    assert exchange.sessions == 0


async def test_5_a_device_may_have_another_kind_of_key_than_its_owner(world: World) -> None:
    strong = kit.signer("owner 0", "p384")
    exchange = world.replica(signers={fingerprint(strong.public_key): strong})
    device, voucher, _ = kit.owned("p256", "p384")
    await world.store.add(voucher, serial="mixed", origin="upload", now=NOW)
    assert await Client(device, exchange, kex=kit.KEX["p384"]).onboard()


async def test_6_the_new_voucher_begins_with_the_owners_own_certificates(world: World) -> None:
    device, voucher, owner = kit.owned(encoding=KeyEncoding.X5CHAIN)
    await world.store.add(voucher, serial="chain", origin="upload", now=NOW)
    new = await world.store.voucher(await Client(device, world.replica()).onboard())
    assert new.header.public_key == encode_public_key(owner.public_key, KeyEncoding.X5CHAIN, owner.chain)
    vouchers.verify(new)


async def test_7_a_device_that_keeps_its_credential_is_onboarded_and_registered_no_more(world: World) -> None:
    await world.catalogue.put_profile(Profile(name="keep", credential="reuse"), NOW)
    await world.catalogue.put_rules([Rule(profile="keep")], NOW)
    device, _voucher = await world.adopt()
    await Client(device, world.replica()).onboard()
    query = select(devices.c.state, devices.c.to0_due, devices.c.onboarded_at)
    row = await world.database.read(lambda connection: connection.execute(query).one())
    assert (row.state, row.to0_due) == ("onboarded", None)
    assert row.onboarded_at is not None


async def test_8_no_key_of_a_session_is_ever_written(world: World, tmp_path: Path) -> None:
    device, _ = await world.adopt()
    exchange = world.replica()
    client = Client(device, exchange)
    await client.onboard()
    keys = client.keys
    bodies = await world.database.read(lambda connection: connection.execute(select(outbox.c.body)).scalars().all())
    written = on_disk(tmp_path) + b"".join(bodies)
    for secret in (keys.sek, keys.sek.hex().encode(), client.token.encode()):
        assert secret not in written
    assert exchange.sessions == 0


async def test_9_a_voucher_that_was_sold_on_stays_with_the_seller(world: World) -> None:
    _, voucher = await world.adopt()
    buyer = kit.signer("buyer", "p256")
    extended = kit.sell(voucher, world.owner, buyer)
    await world.store.sell(voucher.guid.hex(), extended)
    assert await world.store.voucher(voucher.guid.hex()) == extended
    assert (await world.queries.device(voucher.guid.hex())).sold_to == fingerprint(buyer.public_key)
    assert await world.store.candidate(voucher.guid.hex()) is None
