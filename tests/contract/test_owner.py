"""The owner service's TO2 over its real shell: real tokens, real SQLite, the bus in memory, a device made of ours."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ashore.fdo import to2_device
from ashore.fdo.ciphers import CipherSuite
from ashore.fdo.kex import KexSuite
from ashore.fdo.messages import (
    Done2,
    ErrorMessage,
    OVNextEntry,
    OwnerServiceInfoReady,
    ProveOVHdr,
    SetupDevice,
)
from ashore_owner.profiles import DownloadStep, Profile, Rule, RunCommandStep
from tests import fdo_kit as kit
from tests.contract.owner_world import NOW, Client, Refused, World, events_of, opened_world
from tests.contract.sql_fixtures import fresh_url


@pytest.fixture(params=["sqlite", "postgresql"])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    async with fresh_url(request.param, tmp_path) as url, opened_world(url) as world:
        yield world


async def test_a_device_comes_ashore_and_its_story_is_kept(world: World) -> None:
    device, voucher = await world.adopt()
    client = Client(device, world.replica())
    new_guid = await client.onboard()
    assert "hello.txt" in client.host.files
    old = await world.queries.device(voucher.guid.hex())
    new = await world.queries.device(new_guid)
    assert (old.state, old.replaced_by) == ("onboarded", new_guid)
    assert (new.state, new.replaces, new.serial) == ("onboarded", voucher.guid.hex(), "SN-1")
    ledger = await world.queries.ledger(new_guid)
    assert [step.state for step in ledger[0].steps] == ["done"] * len(ledger[0].steps)
    assert await events_of(world) == ["voucher-received", "onboarding-started", "device-onboarded"]


async def test_the_token_is_the_same_for_the_whole_session(world: World) -> None:
    device, _ = await world.adopt()
    client = Client(device, world.replica())
    await client.onboard()
    assert {reply.token for reply in client.replies[:-1]} == {client.token}
    assert len(client.token) <= 300


async def test_replicas_share_one_onboarding(world: World) -> None:
    device, _ = await world.adopt()
    replicas = [world.replica("a"), world.replica("b"), world.replica("c")]
    serving = [asyncio.create_task(replica.serve_for_ever()) for replica in replicas]
    await asyncio.sleep(0)
    try:
        assert await Client(device, *replicas).onboard()
    finally:
        for task in serving:
            task.cancel()


async def test_a_lost_replica_means_to_begin_again(world: World) -> None:
    device, _voucher = await world.adopt()
    first = world.replica("a")
    client = Client(device, first)
    await client.onboard(until=67)
    client.exchanges = (world.replica("b"),)
    with pytest.raises(Refused, match="begin again with TO1"):
        await client._service_info()
    world.time += 1
    assert await Client(device, world.replica("b")).onboard()


@pytest.mark.parametrize("until", [61, 63, 65, 67, 69])
async def test_a_device_killed_between_any_two_messages_onboards_again(world: World, until: int) -> None:
    device, voucher = await world.adopt()
    exchange = world.replica()
    await Client(device, exchange).onboard(until=until)
    world.time += 1
    assert await Client(device, exchange).onboard()
    assert (await events_of(world)).count("device-onboarded") == 1
    assert await world.state(voucher) == "onboarded"


async def test_a_device_that_lost_message_71_onboards_again_with_its_old_credential(world: World) -> None:
    device, voucher = await world.adopt()
    exchange = world.replica()
    first = await Client(device, exchange).onboard()
    second = await Client(device, exchange).onboard()
    assert first != second
    assert (await world.queries.device(voucher.guid.hex())).replaced_by == second


async def test_a_device_that_lost_message_71_may_ask_for_it_again(world: World) -> None:
    device, _ = await world.adopt()
    client = Client(device, world.replica())
    await client.onboard()
    last = client.sent[-1]
    assert last[0] == 70
    assert await client.send(*last) == client.replies[-2]
    refused = await client.send(70, last[1][:-1] + b"x")
    assert refused.number == 255
    assert (await events_of(world)).count("device-onboarded") == 1


async def test_of_two_onboardings_at_once_the_later_wins_and_the_earlier_is_told(world: World) -> None:
    device, _voucher = await world.adopt()
    exchange = world.replica()
    earlier = Client(device, exchange)
    await earlier.onboard(until=67)
    world.time += 1
    assert await Client(device, exchange).onboard()
    with pytest.raises(Refused) as refused:
        await earlier._service_info()
    assert refused.value.code == 1
    assert (await events_of(world)).count("device-onboarded") == 1


async def test_of_two_onboardings_on_two_replicas_only_the_later_ends(world: World) -> None:
    device, _voucher = await world.adopt()
    asked = to2_device.hello_device(device.credential, device.signer, KexSuite.ECDH256, CipherSuite.A128GCM, b"n" * 16)
    earlier = Client(device, world.replica("a"))
    proving = to2_device.prove_owner(await earlier.say(asked.message, ProveOVHdr), asked, device.credential, None)
    proving = to2_device.prove_entry(await earlier.say(to2_device.get_next_entry(proving), OVNextEntry), proving)
    joined, proof = to2_device.prove_device(proving, asked, device.signer, kit.ENTROPY)
    earlier.keys = joined.keys
    setup = to2_device.accept_setup(
        await earlier.say(proof, SetupDevice), joined, device.credential, 1300, allow_reuse=True
    )
    await earlier.say(setup.message, OwnerServiceInfoReady)
    await earlier._service_info()
    world.time += 1
    assert await Client(device, world.replica("b")).onboard()
    with pytest.raises(Refused, match="another onboarding"):
        await earlier.say(to2_device.done(joined), Done2)
    assert (await events_of(world)).count("device-onboarded") == 1


async def test_a_clock_that_was_wrong_keeps_no_device_from_coming_ashore(world: World) -> None:
    device, _ = await world.adopt()
    world.time += 365 * 86_400
    await Client(device, world.replica()).onboard(until=67)
    world.time = NOW / 1000
    assert await Client(device, world.replica()).onboard()


async def test_a_credential_is_reused_where_the_profile_says_so(world: World) -> None:
    await world.catalogue.put_profile(Profile(name="keep", credential="reuse"), NOW)
    await world.catalogue.put_rules([Rule(profile="keep")], NOW)
    device, voucher = await world.adopt()
    exchange = world.replica()
    assert await Client(device, exchange).onboard() == voucher.guid.hex()
    assert await Client(device, exchange).onboard() == voucher.guid.hex()
    ledger = await world.queries.ledger(voucher.guid.hex())
    assert [entry.credential_reuse for entry in ledger] == [True, True]


async def test_an_unknown_device_waits_and_the_operator_sees_why(world: World) -> None:
    device, _ = kit.initialise()
    with pytest.raises(Refused) as refused:
        await Client(device, world.replica()).onboard()
    assert refused.value.code == 6
    await asyncio.sleep(0.05)
    waiting = await world.queries.waiting()
    assert [(one.guid, one.times) for one in waiting] == [(device.credential.guid.hex(), 1)]
    assert "ashore voucher import" in waiting[0].remedy


async def test_a_device_without_a_profile_waits_until_it_has_one(world: World) -> None:
    await world.catalogue.put_rules([], NOW)
    device, voucher = await world.adopt()
    exchange = world.replica()
    with pytest.raises(Refused, match="no profile"):
        await Client(device, exchange).onboard()
    await asyncio.sleep(0.05)
    assert "profile assign" in (await world.queries.waiting())[0].remedy
    await world.store.choose_profile(voucher.guid.hex(), "hello")
    assert await Client(device, exchange).onboard()
    assert await world.queries.waiting() == []


async def test_a_rule_may_look_at_what_the_device_says_of_itself(world: World) -> None:
    await world.catalogue.put_profile(Profile(name="for-linux"), NOW)
    await world.catalogue.put_rules(
        [Rule(profile="hello", devmod={"os": "win*"}), Rule(profile="for-linux", devmod={"os": "linux"})], NOW
    )
    device, voucher = await world.adopt()
    assert await Client(device, world.replica()).onboard()
    assert (await world.queries.ledger(voucher.guid.hex()))[0].profile == "for-linux"


async def test_a_step_that_fails_fails_the_onboarding_and_keeps_its_output(world: World) -> None:
    await world.catalogue.put_profile(Profile(name="bad", steps=[RunCommandStep(arguments=["false"])]), NOW)
    await world.catalogue.put_rules([Rule(profile="bad")], NOW)
    device, voucher = await world.adopt()
    client = Client(device, world.replica())
    with pytest.raises(Refused) as refused:
        await client.onboard()
    assert refused.value.code == 500
    await asyncio.sleep(0.05)
    shown = await world.queries.device(voucher.guid.hex())
    assert shown.state == "failed"
    assert "profile" in shown.failure.remedy
    assert await events_of(world) == ["voucher-received", "onboarding-started", "onboarding-failed"]


async def test_a_resource_that_is_not_there_is_told_with_what_to_mend(world: World) -> None:
    device, voucher = await world.adopt()
    profile = Profile(name="logo", steps=[DownloadStep(name="logo", resource="logo")])
    await world.catalogue.put_profile(profile, NOW)
    await world.catalogue.put_rules([Rule(profile="logo")], NOW)
    exchange = world.replica()
    with pytest.raises(Refused, match="'logo', which is not there"):
        await Client(device, exchange).onboard()
    await exchange.drain()
    assert "mend the profile" in (await world.queries.device(voucher.guid.hex())).failure.remedy


async def test_of_too_many_onboardings_the_longest_silent_is_given_up_and_told_why(world: World) -> None:
    exchange = world.replica(capacity=1)
    (first, voucher), (second, _) = await world.adopt(), await world.adopt()
    await Client(first, exchange).onboard(until=65)
    await Client(second, exchange).onboard(until=65)
    await exchange.drain()
    assert "more than 1 onboardings" in (await world.queries.device(voucher.guid.hex())).failure.reason


async def test_a_silent_device_is_given_up(world: World) -> None:
    device, voucher = await world.adopt()
    exchange = world.replica()
    await Client(device, exchange).onboard(until=65)
    assert exchange.sessions == 1
    world.time += 601
    exchange.give_up_the_silent()
    await exchange.drain()
    shown = await world.queries.device(voucher.guid.hex())
    assert shown.state == "failed"
    assert "silent" in shown.failure.reason
    assert exchange.sessions == 0


async def test_an_expired_token_is_refused(world: World) -> None:
    device, _ = await world.adopt()
    client = Client(device, world.replica())
    await client.onboard(until=61)
    world.time += 601
    with pytest.raises(Refused) as refused:
        await client.say(to2_device.GetOVNextEntry(0), OVNextEntry)
    assert refused.value.code == 1


async def test_a_token_is_of_no_use_once_the_session_is_over(world: World) -> None:
    device, _ = await world.adopt()
    client = Client(device, world.replica())
    await client.onboard()
    with pytest.raises(Refused) as refused:
        await client.say(to2_device.GetOVNextEntry(0), OVNextEntry)
    assert refused.value.code == 1


async def test_a_message_64_that_comes_twice_ends_the_session_and_not_the_voucher(world: World) -> None:
    device, voucher = await world.adopt()
    exchange = world.replica()
    client = Client(device, exchange)
    await client.onboard(until=65)
    sent = client.replies
    assert sent[-1].number == 65
    with pytest.raises(Refused) as refused:
        await client.say(to2_device.ProveDevice(kit.register(voucher, world.owner, b"n" * 16).to1d), SetupDevice)
    assert refused.value.code == 101
    world.time += 1
    assert await Client(device, exchange).onboard()


@pytest.mark.parametrize("number", [62, 64, 66, 68, 70])
async def test_a_message_without_a_token_is_refused(world: World, number: int) -> None:
    client = Client(kit.initialise()[0], world.replica())
    reply = await client.send(number, b"\x80")
    assert (reply.number, ErrorMessage.decode(reply.body).code) == (255, 1)


@pytest.mark.parametrize(
    "body", [b"", b"\x86", b"\x80", b"\xff" * 100, b"\x9f\xff", b"\x86" + b"\x00" * 6, b"\x80\x80"]
)
async def test_a_hello_that_is_no_message_is_refused_in_the_protocols_form(world: World, body: bytes) -> None:
    reply = await Client(kit.initialise()[0], world.replica()).send(60, body)
    error = ErrorMessage.decode(reply.body)
    assert (reply.number, reply.status, error.code, error.previous) == (255, 200, 100, 60)
    assert isinstance(error.timestamp, int)


async def test_a_message_of_another_service_is_refused(world: World) -> None:
    reply = await Client(kit.initialise()[0], world.replica()).send(30, b"\x80")
    assert ErrorMessage.decode(reply.body).code == 101


async def test_a_device_that_reports_an_error_ends_its_onboarding(world: World) -> None:
    device, voucher = await world.adopt()
    client = Client(device, world.replica())
    await client.onboard(until=67)
    report = ErrorMessage(100, 69, "disk full on the device", 1, 0)
    await client.send(255, report.encode())
    await client.exchanges[0].drain()
    assert "disk full" in (await world.queries.device(voucher.guid.hex())).failure.reason


async def test_a_report_of_an_error_reaches_the_replica_of_its_session(world: World) -> None:
    device, voucher = await world.adopt()
    one, other = world.replica("a"), world.replica("b")
    serving = asyncio.create_task(one.serve_for_ever())
    client = Client(device, one)
    await client.onboard(until=67)
    client.exchanges = (other,)
    reply = await client.send(255, ErrorMessage(100, 69, "disk full on the device", 1, 0).encode())
    assert (reply.number, reply.status) == (255, 200)
    await one.drain()
    assert one.sessions == 0
    assert "disk full" in (await world.queries.device(voucher.guid.hex())).failure.reason
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)


async def test_a_device_is_redirected_once_and_never_falls_back(world: World) -> None:
    device, voucher = await world.adopt()
    await world.store.redirected(voucher.guid.hex())
    assert await world.state(voucher) == "redirected"
    assert await Client(device, world.replica()).onboard()
    await world.store.redirected(voucher.guid.hex())
    assert await world.state(voucher) == "onboarded"


@pytest.mark.parametrize("size", [1, 5, 20, -1])
async def test_an_encrypted_message_that_is_cut_is_answered_in_the_protocols_own_form(world: World, size: int) -> None:
    device, _ = await world.adopt()
    exchange = world.replica()
    client = Client(device, exchange)
    await client.onboard(until=65)
    whole = client.keys.encrypt(b"\x80", bytes(client.keys.iv_size))
    reply = await client.send(66, whole[:size])
    assert (reply.number, reply.status) == (ErrorMessage.number, 200)
    assert ErrorMessage.decode(reply.body).code == 100
    assert await Client(device, exchange).onboard()
