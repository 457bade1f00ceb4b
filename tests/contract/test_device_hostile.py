"""Whatever is wrong with an answer, the device says what came of it, keeps what it has, and onboards the next time."""

from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from ashore import cose
from ashore.fdo.codec import Message
from ashore.fdo.messages import ErrorMessage, OVNextEntry
from ashore.fdo.serviceinfo.command import RunCommand
from ashore.fdo.serviceinfo.fdo_sys import WriteFile
from ashore.fdo.serviceinfo.modules import OwnerModule
from ashore_device.device import Device, Settings
from ashore_device.errors import InitialisationError, OnboardingError
from ashore_device.fetching import Fetcher
from ashore_device.initialise import Request
from ashore_device.onboard import Options
from ashore_device.transport import HttpTransport, Transport
from tests.alterations import alterations
from tests.contract.device_world import MAKER_URL, InProcess, Talk, World, rvinfo, serve

ONCE = Options(first_delay=0.001, longest_delay=0.002, rounds=1, done_pauses=())
REQUEST = Request(serial="S-1", device_info="test")
TRIED = 60
"""Alterations of each answer, evenly chosen: a device takes a while for each."""
TO2 = (61, 63, 65, 67, 69, 71)


class Altered:
    """A message that is not encoded as it should be."""

    def __init__(self, message: Message, alter: Callable[[bytes], bytes]) -> None:
        self.number, self.encrypted = message.number, message.encrypted
        self._body, self._alter = message.encode(), alter

    def encode(self) -> bytes:
        return self._alter(self._body)


@dataclass
class Liar(World):
    """The services, of which one alters its answers of one number: what is sent, in them, or really signed in them."""

    number: int = 0
    alter: Callable[[bytes], bytes] = bytes
    where: str = "inside"
    sample: bytes = b""

    async def _answer(self, message: Message, body: bytes, talk: Talk) -> Message:
        answer = await super()._answer(message, body, talk)
        if answer.number != self.number or self.where == "sent":
            return answer
        if self.where == "signed":
            signer = self.maker if answer.number == OVNextEntry.number else self.owner
            self.sample = answer.sign1.payload
            answer.sign1 = cose.sign1(signer, self.alter(self.sample), dict(answer.sign1.unprotected))
            return answer
        self.sample = answer.encode()
        return Altered(answer, self.alter)

    async def handle(self, number: int, body: bytes, token: str | None) -> tuple[int, bytes, str | None]:
        number, content, token = await super().handle(number, body, token)
        if number == self.number and self.where == "sent":
            self.sample = content
            content = self.alter(content)
        return number, content, token


def steps() -> list[OwnerModule]:
    return [WriteFile("hello.txt", b"hello"), RunCommand(["true"])]


@pytest.fixture
async def fetcher() -> AsyncIterator[Fetcher]:
    async with Fetcher() as opened:
        yield opened


def device(folder: Path, transport: Transport, fetcher: Fetcher) -> Device:
    return Device(folder / "device", transport, fetcher, settings=Settings(options=ONCE))


def chosen(sample: bytes) -> list:
    found = alterations(sample)
    return found[:: max(1, len(found) // TRIED)]


@pytest.mark.parametrize("number", [11, 13])
async def test_a_device_is_initialised_after_every_wrong_answer(tmp_path: Path, fetcher: Fetcher, number: int) -> None:
    world = Liar(number=number)
    await device(tmp_path / "first", InProcess(world), fetcher).initialise(MAKER_URL, REQUEST)
    for index, one in enumerate(chosen(world.sample)):
        world.alter = one.of
        trying = device(tmp_path / str(index), InProcess(world), fetcher)
        try:
            await trying.initialise(MAKER_URL, REQUEST)
        except InitialisationError:
            world.alter = bytes
            await trying.initialise(MAKER_URL, REQUEST)
        assert trying.show().state == "initialised"


@pytest.mark.parametrize(
    ("number", "where"),
    [
        *((number, "inside") for number in (31, 33, *TO2)),
        *((number, "sent") for number in (65, 71)),
    ],
)
async def test_a_device_onboards_after_every_wrong_answer(
    tmp_path: Path, fetcher: Fetcher, number: int, where: str
) -> None:
    world = Liar(number=number, where=where, steps=steps)
    trying = device(tmp_path, InProcess(world), fetcher)
    await trying.initialise(MAKER_URL, REQUEST)
    await trying.onboard()
    for one in chosen(world.sample):
        world.alter = one.of
        with suppress(OnboardingError):
            await trying.onboard(again=True)
    world.alter = bytes
    assert (await trying.onboard(again=True)).confirmed


@pytest.mark.parametrize("number", [33, 61, 63, 65])
async def test_a_device_takes_nothing_wrong_because_it_is_signed(tmp_path: Path, fetcher: Fetcher, number: int) -> None:
    world = Liar(number=number, where="signed", steps=steps)
    first = device(tmp_path / "first", InProcess(world), fetcher)
    await first.initialise(MAKER_URL, REQUEST)
    await first.onboard()
    for index, one in enumerate(chosen(world.sample)):
        # A new one each time: its owner may really give it a useless credential.
        trying = device(tmp_path / str(index), InProcess(world), fetcher)
        await trying.initialise(MAKER_URL, REQUEST)
        world.alter = one.of
        try:
            await trying.onboard()
        except OnboardingError:
            world.alter = bytes
            assert (await trying.onboard()).confirmed, one.name
        world.alter = bytes


@pytest.mark.parametrize("number", [60, 64, 68, 70])
async def test_an_error_message_may_hold_anything(tmp_path: Path, fetcher: Fetcher, number: int) -> None:
    class Refusing(World):
        async def handle(self, given: int, body: bytes, token: str | None) -> tuple[int, bytes, str | None]:
            answer = await super().handle(given, body, token)
            return (255, self.refusal, None) if given == number and self.refusal else answer

        refusal = b""

    report = ErrorMessage(100, number, "no space left\x00\u2028\U0001f4a9", -(1 << 63), None).encode()
    world = Refusing(steps=steps)
    async with serve(world) as port, HttpTransport() as transport:
        url = f"http://127.0.0.1:{port}"
        world.directives = [rvinfo.Directive(ip="127.0.0.1", protocol="http", device_port=port)]
        world.addresses = [type(world.addresses[0])(b"\x7f\0\0\1", None, port, world.addresses[0].protocol)]
        trying = device(tmp_path, transport, fetcher)
        await trying.initialise(url, REQUEST)
        for one in alterations(report)[::8]:
            world.refusal = one.of(report)
            with suppress(OnboardingError):
                await trying.onboard(again=True)
        world.refusal = b""
        assert (await trying.onboard(again=True)).confirmed
