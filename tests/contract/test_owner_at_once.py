"""Two messages of one session at once, or one twice: what was told to the device is what the owner keeps."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest

from ashore.fdo.messages import ErrorMessage, ProveDevice
from ashore.http.fdo import FdoReply
from ashore_owner.catalogue import RESOURCE
from ashore_owner.profiles import DownloadStep, Profile, Rule, WriteFileStep
from ashore_owner.protocol import OwnerExchange
from tests import fdo_kit as kit
from tests.contract.owner_world import NOW, Client, Refused, World, events_of, opened_world
from tests.contract.sql_fixtures import fresh_url

REPORT = ErrorMessage(500, 70, "out of patience", 1, 0).encode()


@pytest.fixture(params=["sqlite", "postgresql"])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    async with fresh_url(request.param, tmp_path) as url, opened_world(url) as world:
        yield world


class Hasty(Client):
    """A device that sends another message of its session while one of this number is being answered."""

    def __init__(self, device: kit.Device, exchange: OwnerExchange, number: int, beside: bytes | None = None) -> None:
        super().__init__(device, exchange)
        self.number, self.beside = number, beside

    async def send(self, number: int, body: bytes) -> FdoReply:
        if number != self.number:
            return await super().send(number, body)
        self.number = 0
        second = (number, body) if self.beside is None else (255, self.beside)
        reply, _ = await asyncio.gather(super().send(number, body), super().send(*second))
        return reply


async def test_a_message_64_that_comes_twice_at_once_ends_the_session_and_not_the_voucher(world: World) -> None:
    device, _ = await world.adopt()
    exchange = world.replica()
    with pytest.raises(Refused) as refused:
        await Hasty(device, exchange, 64).onboard()
    assert (refused.value.code, refused.value.previous) == (1, 66)
    world.time += 1
    new_guid = await Client(device, exchange).onboard()
    assert await world.queries.device(new_guid)


class Forgetful(Client):
    """A device that gets no answer to any message, from 64 on, before it has sent the same bytes again."""

    async def send(self, number: int, body: bytes) -> FdoReply:
        reply = await super().send(number, body)
        return await super().send(number, body) if number >= ProveDevice.number else reply


async def test_an_answer_that_was_lost_is_given_again_and_nothing_is_done_twice(world: World) -> None:
    device, _ = await world.adopt()
    steps = [WriteFileStep(name="long.txt", text="0123456789" * 1000), WriteFileStep(name="short.txt", text="x")]
    await world.catalogue.put_profile(Profile(name="files", steps=steps), NOW)
    await world.catalogue.put_rules([Rule(profile="files")], NOW)
    client = Forgetful(device, world.replica())
    assert await client.onboard()
    assert client.host.files == {"long.txt": b"0123456789" * 1000, "short.txt": b"x"}
    assert await events_of(world) == ["voucher-received", "onboarding-started", "device-onboarded"]


async def test_a_session_that_ends_while_a_message_is_answered_does_not_come_back(world: World) -> None:
    device, _ = await world.adopt()
    await world.documents.put(RESOURCE, "logo", b"a logo", NOW)
    profile = Profile(name="logo", steps=[DownloadStep(name="logo", resource="logo", optional=True)])
    await world.catalogue.put_profile(profile, NOW)
    await world.catalogue.put_rules([Rule(profile="logo")], NOW)
    exchange = world.replica()
    with pytest.raises(Refused) as refused:
        await Hasty(device, exchange, 68, REPORT).onboard()
    assert (refused.value.code, refused.value.previous) == (1, 68)
    assert exchange.sessions == 0


async def test_a_device_is_told_that_it_is_ashore_where_that_is_on_disk_whatever_came_meanwhile(world: World) -> None:
    device, _ = await world.adopt()
    exchange = world.replica()
    new_guid = ""
    # Its own report of an error may be written first, where several units are written at once.
    with suppress(Refused):
        new_guid = await Hasty(device, exchange, 70, REPORT).onboard()
    await exchange.drain()
    end = "device-onboarded" if new_guid else "onboarding-failed"
    assert await events_of(world) == ["voucher-received", "onboarding-started", end]
    assert bool(new_guid) == bool(await world.queries.device(new_guid))
