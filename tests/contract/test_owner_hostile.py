"""Whatever is wrong with a message of TO2, the owner says so, tells it as it was, and serves the device again."""

import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from ashore import cbor, cose
from ashore.fdo.ciphers import CipherSuite
from ashore.fdo.codec import Message
from ashore.fdo.messages import Done2, ErrorMessage, ProveDevice
from ashore.fdo.voucher import Voucher
from ashore.http.fdo import FdoReply
from ashore.sessions import Sealer
from ashore_owner.profiles import FetchFileStep, Profile, Rule, RunCommandStep, WriteFileStep
from ashore_owner.protocol import OwnerExchange
from tests import fdo_kit as kit
from tests.alterations import Alteration, alterations
from tests.contract.owner_world import NOW, Client, World, events_of, opened_world
from tests.contract.refusing import altered_tokens, quietly, told

Alter = Callable[[bytes], bytes]
PROVEN = (66, 68, 70)
"""These come when the device is proven, so that the story of its failure is told."""


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with opened_world(f"sqlite:///{tmp_path}/owner.db") as world:
        yield world


class Stopped(Exception):  # noqa: N818 - the device has said what it was to say
    """The altered message was answered."""


class Altering(Client):
    """A device that alters its message of one number: its plain body, what is sent, or what it signs in it."""

    def __init__(
        self, device: kit.Device, exchange: OwnerExchange, number: int, where: str, cipher: CipherSuite
    ) -> None:
        super().__init__(device, exchange, cipher=cipher)
        self.number, self.is_sent, self.is_signed = number, where == "sent", where == "signed"
        self.alter: Alter = bytes
        self.sample = b""
        self.skip = 0

    async def say(self, message: Message, expected: type[Message]) -> Message:
        if message.number != self.number or self.skip:
            self.skip -= message.number == self.number
            return await super().say(message, expected)
        body = self._body(message)
        raise Stopped(await self.send(message.number, body))

    def _body(self, message: Message) -> bytes:
        if self.is_signed:
            payload = self._altered(message.sign1.payload)
            return ProveDevice(cose.sign1(self.device.signer, payload, message.sign1.unprotected)).encode()
        body = message.encode()
        if message.encrypted:
            body = body if self.is_sent else self._altered(body)
            body = self.keys.encrypt(body, os.urandom(self.keys.iv_size))
        return self._altered(body) if self.is_sent or not message.encrypted else body

    def _altered(self, body: bytes) -> bytes:
        self.sample = body
        return self.alter(body)


class Trial:
    """One device that comes again and again, each time with something else that is wrong."""

    def __init__(self, world: World, device: kit.Device, voucher: Voucher) -> None:
        self.world, self.device, self.voucher = world, device, voucher
        self.exchange = world.replica(capacity=10_000)
        self.taken = 0
        """Onboardings that ended well although something was altered, or because nothing was."""

    async def answer(
        self, number: int, alter: Alter = bytes, *, where: str = "inside", skip: int = 0, cipher=CipherSuite.A128GCM
    ) -> tuple[FdoReply, bytes]:
        """The answer to an altered message, and what the message would have been."""
        client = Altering(self.device, self.exchange, number, where, cipher)
        client.alter, client.skip = alter, skip
        self.world.time += 1
        with pytest.raises(Stopped) as stopped:
            await client.onboard()
        (reply,) = stopped.value.args
        self.taken += reply.number == Done2.number
        return reply, client.sample

    async def all(self, number: int, **how) -> None:
        """Every alteration is refused, or taken where it happens to be right, and the story says which."""
        _, sample = await self.answer(number, **how)
        with quietly():
            for one in alterations(sample):
                reply, _ = await self.answer(number, one.of, **how)
                code = told(reply, number, one.name)
                if number in PROVEN:
                    await self.is_told(code, one)

    async def is_told(self, code: int | None, one: Alteration) -> None:
        await self.exchange.drain()
        shown = await self.world.queries.device(self.voucher.guid.hex())
        if code is not None:
            assert (shown.state, shown.failure.code) == ("failed", code), one.name

    async def ends_well(self) -> None:
        """The device onboards as if nothing had been, and no voucher came or went before."""
        await self.exchange.drain()
        assert await self._vouchers() == 1 + self.taken
        self.world.time += 1
        assert await Client(self.device, self.exchange).onboard()
        assert await self._vouchers() == 2 + self.taken
        events = await events_of(self.world)
        assert (events[0], events[-1]) == ("voucher-received", "device-onboarded")
        assert events.count("device-onboarded") == 1 + self.taken

    async def _vouchers(self) -> int:
        return await self.world.database.read(
            lambda connection: connection.exec_driver_sql("SELECT count(*) FROM devices").scalar_one()
        )


@pytest.fixture
async def trial(world: World) -> Trial:
    return Trial(world, *await world.adopt())


@pytest.mark.parametrize("number", [60, 62, 64, 66, 68])
async def test_every_wrong_message_is_refused_and_the_device_onboards_the_next_time(trial: Trial, number: int) -> None:
    await trial.all(number)
    await trial.ends_well()


@pytest.mark.parametrize("skip", [1, 2, 3])
async def test_every_wrong_value_of_a_module_is_refused(world: World, trial: Trial, skip: int) -> None:
    steps = [
        RunCommandStep(arguments=["/bin/sh"]),
        FetchFileStep(name="a", may_fail=True),
        WriteFileStep(name="b", text="b"),
    ]
    await world.catalogue.put_profile(Profile(name="all", steps=steps), NOW)
    await world.catalogue.put_rules([Rule(profile="all")], NOW)
    await trial.all(68, skip=skip)
    await trial.ends_well()


async def test_every_wrong_proof_is_refused_although_it_is_signed(trial: Trial) -> None:
    await trial.all(64, where="signed")
    await trial.ends_well()


async def test_every_wrong_last_message_is_refused_and_the_device_onboards_the_next_time(trial: Trial) -> None:
    nonce = cbor.dumps([bytes(16)])
    with quietly():
        for one in alterations(nonce):
            reply, _ = await trial.answer(70, one.of)
            assert told(reply, 70, one.name) is not None, one.name
            await trial.is_told(told(reply, 70, one.name), one)
    await trial.ends_well()


@pytest.mark.parametrize(
    ("number", "cipher"),
    [
        (66, CipherSuite.A128GCM),
        (68, CipherSuite.AES_CCM_16_128_128),
        (70, CipherSuite.COSEAES128CBC),
        (66, CipherSuite.COSEAES128CTR),
    ],
)
async def test_every_wrong_encryption_is_refused(trial: Trial, number: int, cipher: CipherSuite) -> None:
    await trial.all(number, where="sent", cipher=cipher)
    await trial.ends_well()


@pytest.mark.parametrize("until", [61, 63, 65, 67, 69])
async def test_a_wrong_token_is_refused_and_the_right_one_goes_on(trial: Trial, until: int) -> None:
    client = Client(trial.device, trial.exchange)
    await client.onboard(until=until)
    right, number = client.token, min(until + 1, 64)
    others = [Sealer(trial.world.key).seal(f"owner {ten}", b"\x80", expires_at=1 << 33) for ten in (1, 2, 3)]
    with quietly():
        for token in [*altered_tokens(right), *others]:
            client.token = token
            assert told(await client.send(number, b"\x80"), number, token) == 1
    client.token = right
    assert ErrorMessage.decode((await client.send(number, b"\x81\x00" * 2)).body).code in (100, 101)
    await trial.ends_well()


@pytest.mark.parametrize("until", [61, 63, 65, 67, 69])
async def test_a_report_of_an_error_ends_the_session_whatever_is_in_it(trial: Trial, until: int) -> None:
    report = ErrorMessage(100, until, "no space left\x00\u2028\U0001f4a9", -(1 << 63), None).encode()
    with quietly():
        for one in alterations(report)[::3]:
            client = Client(trial.device, trial.exchange)
            trial.world.time += 1
            await client.onboard(until=until)
            reply = await client.send(255, one.of(report))
            assert (reply.number, reply.status, reply.token) == (255, 200, None), one.name
    await trial.ends_well()


@pytest.mark.parametrize("until", [61, 63, 65, 67, 69])
async def test_what_comes_out_of_order_is_refused(trial: Trial, until: int) -> None:
    lawful = {61: (62, 64), 63: (62, 64), 65: (66,), 67: (68,), 69: (68, 70)}[until]
    with quietly():
        for number in {62, 64, 66, 68, 70} - set(lawful):
            client = Client(trial.device, trial.exchange)
            trial.world.time += 1
            await client.onboard(until=until)
            assert told(await client.send(number, b"\x80"), number, "out of order") in (1, 101)
    await trial.ends_well()
