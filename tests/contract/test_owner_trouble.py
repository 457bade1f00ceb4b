"""The owner when its disk is full: the device is told, nothing acknowledged is lost, and it works again afterwards."""

import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

import pytest
from structlog.testing import capture_logs

from ashore.bus.memory import MemoryBus
from ashore.fdo.messages import ErrorMessage
from ashore.sql import Database
from ashore.sql.sqlite import SqliteDatabase
from ashore_owner.profiles import FetchFileStep, Profile, Rule
from tests.contract.owner_world import NOW, Client, Refused, World, events_of


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    database = await Database.open(f"sqlite:///{tmp_path / 'owner.db'}", "ashore_owner:migrations")
    world = World(database, MemoryBus())
    await world.catalogue.put_profile(Profile(name="fetch", steps=[FetchFileStep(name="log.txt")]), NOW)
    await world.catalogue.put_rules([Rule(profile="fetch")], NOW)
    yield world
    await database.close()


async def pages(world: World, limit: int) -> None:
    await world.database.write(lambda connection: connection.exec_driver_sql(f"PRAGMA max_page_count = {limit}").all())


async def test_a_full_disk_fails_the_onboarding_and_not_the_device(world: World) -> None:
    device, voucher = await world.adopt()
    exchange = world.replica()
    client = Client(device, exchange)
    client.host.files["log.txt"] = b"x" * 100_000
    await pages(world, 1)
    with pytest.raises(Refused) as refused:
        await client.onboard()
    assert refused.value.code == 500
    assert client.replies[-1].status == 500
    assert ErrorMessage.decode(client.replies[-1].body).previous == 70
    assert (await world.queries.device(voucher.guid.hex())).replaced_by is None
    assert "device-onboarded" not in await events_of(world)

    await pages(world, 1_000_000)
    again = Client(device, exchange)
    again.host.files["log.txt"] = b"x" * 100_000
    assert await again.onboard()
    assert (await events_of(world)).count("device-onboarded") == 1
    ledger = await world.queries.ledger(voucher.guid.hex())
    assert await world.queries.file(ledger[0].id, 0) == b"x" * 100_000


async def test_a_beginning_that_was_not_written_is_told_at_the_end_and_not_taken_for_another_onboarding(
    world: World, tmp_path: Path
) -> None:
    device, voucher = await world.adopt()
    cast(SqliteDatabase, world.database).writer.patience = 0.02
    other = sqlite3.connect(tmp_path / "owner.db", isolation_level=None)
    exchange = world.replica()

    class Lucky(Client):
        async def _service_info(self) -> None:
            await super()._service_info()
            await exchange.drain()
            other.execute("ROLLBACK")

    client = Lucky(device, exchange)
    client.host.files["log.txt"] = b"x"
    other.execute("BEGIN IMMEDIATE")
    with capture_logs() as lines, pytest.raises(Refused, match="cannot store") as refused:
        await client.onboard()
    other.close()
    assert "a part of an onboarding's story is not stored" in {line["event"] for line in lines}
    assert (refused.value.code, refused.value.previous) == (500, 70)
    assert (await world.queries.device(voucher.guid.hex())).state == "owned"
    assert await events_of(world) == ["voucher-received"]
