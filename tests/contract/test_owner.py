"""The owner service's TO2 over its real shell: real tokens, real SQLite, the bus in memory, a device made of ours."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ashore.bus.memory import MemoryBus
from ashore.fdo import to2_device
from ashore.fdo.ciphers import CipherSuite, SvkLength
from ashore.fdo.kex import KexSuite
from ashore.fdo.messages import (
    DeviceServiceInfo,
    Done2,
    ErrorMessage,
    Message,
    OVNextEntry,
    OwnerServiceInfo,
    OwnerServiceInfoReady,
    ProveOVHdr,
    SetupDevice,
)
from ashore.fdo.serviceinfo import OwnerTurn
from ashore.fdo.serviceinfo.command import CommandDevice
from ashore.fdo.serviceinfo.device import DeviceConversation
from ashore.fdo.serviceinfo.devmod import Devmod
from ashore.fdo.serviceinfo.fdo_sys import FdoSysDevice
from ashore.fdo.types import fingerprint
from ashore.fdo.voucher import Voucher
from ashore.http.fdo import FdoReply, FdoRequest
from ashore.sessions import Sealer
from ashore.sql import Database
from ashore_owner.catalogue import Catalogue
from ashore_owner.profiles import Profile, Rule, RunCommandStep
from ashore_owner.protocol import OwnerExchange
from ashore_owner.queries import Queries
from ashore_owner.store import Store
from ashore_owner.waiting import WaitingRoom
from tests import fdo_kit as kit
from tests.unit.serviceinfo.kit import MemoryHost, Program

NOW = 1_800_000_000_000


class World:
    """An owner service with its database, and as many replicas as wanted."""

    def __init__(self, database: Database, bus: MemoryBus) -> None:
        self.database = database
        self.bus = bus
        self.store = Store(database)
        self.queries = Queries(database)
        self.catalogue = Catalogue(self.store)
        self.owner = kit.signer("owner 0", "p256")
        self.key = os.urandom(32)
        self.time = NOW / 1000

    def replica(self, name: str = "a", **changes: object) -> OwnerExchange:
        settings: dict[str, object] = {
            "store": self.store,
            "catalogue": self.catalogue,
            "room": WaitingRoom(self.store, lambda: self.time),
            "signers": {fingerprint(self.owner.public_key): self.owner},
            "svk_length": SvkLength.GO,
            "capacity": 100,
            "sealer": Sealer(self.key),
            "bus": self.bus,
            "replica": name,
            "clock": lambda: self.time,
        }
        return OwnerExchange(**(settings | changes))

    async def adopt(self) -> tuple[kit.Device, Voucher]:
        device, voucher, _ = kit.owned()
        assert await self.store.add(voucher, serial="SN-1", origin="upload", now=NOW)
        return device, voucher

    async def state(self, voucher: Voucher) -> str:
        device = await self.queries.device(voucher.guid.hex())
        return device.state.value


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    database = await Database.open(f"sqlite:///{tmp_path / 'owner.db'}", "ashore_owner:migrations")
    world = World(database, MemoryBus())
    await world.catalogue.seed(NOW)
    yield world
    await database.close()


class Client:
    """A device that can stop before any message, and send what it should not."""

    def __init__(
        self, device: kit.Device, *exchanges: OwnerExchange, cipher: CipherSuite = CipherSuite.A128GCM
    ) -> None:
        self.device = device
        self.exchanges = exchanges
        self.cipher = cipher
        self.token: str | None = None
        self.turns = 0
        self.keys = None
        self.host = MemoryHost(
            programs={"/bin/sh": Program(stdout=b"Welcome\n"), "false": Program(code=3, stderr=b"no")}
        )
        self.replies: list[FdoReply] = []

    async def send(self, number: int, body: bytes) -> FdoReply:
        exchange = self.exchanges[self.turns % len(self.exchanges)]
        self.turns += 1
        reply = await exchange(FdoRequest(number, body, self.token, "127.0.0.1"))
        self.replies.append(reply)
        # As the C client does, the first token is kept.
        self.token = self.token or reply.token
        return reply

    async def say(self, message: Message, expected: type[Message]) -> Message:
        body = message.encode()
        if message.encrypted:
            body = self.keys.encrypt(body, os.urandom(self.keys.iv_size))
        reply = await self.send(message.number, body)
        if reply.number == ErrorMessage.number:
            error = ErrorMessage.decode(reply.body)
            raise Refused(error.code, error.previous, error.text)
        plain = self.keys.decrypt(reply.body) if expected.encrypted else reply.body
        return expected.decode(plain)

    async def onboard(self, *, until: int = 71) -> str | None:
        """Run TO2, up to and including the message that answers `until`; the new GUID when it is complete."""
        asked = to2_device.hello_device(
            self.device.credential, self.device.signer, KexSuite.ECDH256, self.cipher, os.urandom(16)
        )
        proving = to2_device.prove_owner(await self.say(asked.message, ProveOVHdr), asked, self.device.credential, None)
        if until <= 61:
            return None
        while (request := to2_device.get_next_entry(proving)) is not None:
            proving = to2_device.prove_entry(await self.say(request, OVNextEntry), proving)
        if until <= 63:
            return None
        joined, proof = to2_device.prove_device(proving, asked, self.device.signer, kit.ENTROPY)
        self.keys = joined.keys
        setup = to2_device.accept_setup(
            await self.say(proof, SetupDevice), joined, self.device.credential, 1300, allow_reuse=True
        )
        if until <= 65:
            return None
        await self.say(setup.message, OwnerServiceInfoReady)
        if until <= 67:
            return None
        await self._service_info()
        if until <= 69:
            return None
        to2_device.finish(await self.say(to2_device.done(joined), Done2), joined)
        return setup.credential.guid.hex()

    async def _service_info(self) -> None:
        conversation = DeviceConversation(
            [FdoSysDevice(self.host), CommandDevice(self.host)], Devmod(os="linux", device="test", sep=":"), 1300
        )
        turn = conversation.start()
        while True:
            reply = await self.say(DeviceServiceInfo(turn.is_more, list(turn.items)), OwnerServiceInfo)
            if reply.is_done:
                break
            turn = await conversation.step(OwnerTurn(reply.is_more, reply.is_done, reply.items))
        await conversation.close()


class Refused(Exception):
    def __init__(self, code: int, previous: int, text: str) -> None:
        super().__init__(f"{code} after {previous}: {text}")
        self.code, self.previous, self.text = code, previous, text


async def events_of(world: World) -> list[str]:
    rows = await world.database.read(
        lambda connection: connection.exec_driver_sql("SELECT subject FROM outbox ORDER BY seq").all()
    )
    return [row.subject.split(".")[0] for row in rows]


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
    device, voucher = await world.adopt()
    first = world.replica("a")
    client = Client(device, first)
    await client.onboard(until=67)
    client.exchanges = (world.replica("b"),)
    with pytest.raises(Refused, match="begin again with TO1"):
        await client._service_info()
    assert await Client(device, world.replica("b")).onboard()


@pytest.mark.parametrize("until", [61, 63, 65, 67, 69])
async def test_a_device_killed_between_any_two_messages_onboards_again(world: World, until: int) -> None:
    device, voucher = await world.adopt()
    exchange = world.replica()
    await Client(device, exchange).onboard(until=until)
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


async def test_of_two_onboardings_at_once_the_later_wins_and_the_earlier_is_told(world: World) -> None:
    device, voucher = await world.adopt()
    exchange = world.replica()
    earlier = Client(device, exchange)
    await earlier.onboard(until=67)
    assert await Client(device, exchange).onboard()
    with pytest.raises(Refused) as refused:
        await earlier._service_info()
    assert refused.value.code == 1
    assert (await events_of(world)).count("device-onboarded") == 1


async def test_of_two_onboardings_on_two_replicas_only_the_later_ends(world: World) -> None:
    device, voucher = await world.adopt()
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
    assert await Client(device, world.replica("b")).onboard()
    with pytest.raises(Refused, match="another onboarding"):
        await earlier.say(to2_device.done(joined), Done2)
    assert (await events_of(world)).count("device-onboarded") == 1


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
