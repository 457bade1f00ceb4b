"""The waiting room under a crowd, and when the clock jumps."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ashore.fdo.errors import NotFoundError
from ashore_owner.waiting import AT_ONCE, WaitingRoom
from tests.contract.owner_world import World, opened_world
from tests.contract.sql_fixtures import fresh_url

UNKNOWN = NotFoundError("this owner has no voucher for it")


@pytest.fixture(params=["sqlite", "postgresql"])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    async with fresh_url(request.param, tmp_path) as url, opened_world(url) as world:
        yield world


async def test_of_a_flood_of_strangers_a_few_are_written_down_and_the_others_when_they_come_again(world: World) -> None:
    room = WaitingRoom(world.store, lambda: world.time)
    strangers = [f"{number:032x}" for number in range(500)]
    await asyncio.gather(*(room.refused(guid, UNKNOWN) for guid in strangers))
    written = {waiting.guid for waiting in await world.queries.waiting()}
    # A server may refuse some that it is given at once.
    assert written
    assert written <= set(strangers[:AT_ONCE])
    await room.refused(strangers[-1], UNKNOWN)
    assert strangers[-1] in {waiting.guid for waiting in await world.queries.waiting()}


async def test_a_device_is_written_down_once_a_minute_and_also_after_the_clock_was_set_back(world: World) -> None:
    room = WaitingRoom(world.store, lambda: world.time)
    for seconds in (0, 30, 31, -3600, -3500):
        world.time += seconds
        await room.refused("0" * 32, UNKNOWN)
    assert [waiting.times for waiting in await world.queries.waiting()] == [4]
