"""A rendezvous as the service builds it, on a bus in memory, with owners and devices that come to it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import httpx
import msgspec
import pytest

from ashore.bus.memory import MemoryBus
from ashore.cose import KeySigner
from ashore.fdo import to0, to1
from ashore.fdo.messages import (
    AcceptOwner,
    ErrorMessage,
    HelloAck,
    HelloRVAck,
    OwnerSign,
    RVRedirect,
    To0Hello,
)
from ashore.fdo.types import KeyEncoding, To2Address, encode_public_key, fingerprint
from ashore.fdo.voucher import Voucher
from ashore.http.api import api
from ashore.http.auth import Auth
from ashore.http.fdo import FdoReply, FdoRequest
from ashore.sessions import Sealer
from ashore_rendezvous.api import Api
from ashore_rendezvous.protocol import RendezvousExchange
from ashore_rendezvous.publisher import Publisher
from ashore_rendezvous.store import Registrations, Rules
from tests import fdo_kit
from tests.fdo_kit import Device

TOKEN = "admin"


def fingerprint_of(role: str, kind: str) -> str:
    return fingerprint(fdo_kit.signer(role, kind).public_key)


def reissued(voucher: Voucher, maker: KeySigner) -> Voucher:
    """A new voucher of the same device and GUID, as after an onboarding by `maker`, or as a forger would make it."""
    header = msgspec.structs.replace(voucher.header, public_key=encode_public_key(maker.public_key, KeyEncoding.X509))
    return Voucher.decode(replace(voucher, header_bytes=header.encode(), header=header, entries=()).encode())


MANUFACTURER = fingerprint_of("manufacturer", "p256")


class Clock:
    """A clock that only the test moves."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


class Rendezvous:
    """One replica; several on one bus share everything but their memory."""

    def __init__(self, bus, clock: Clock, *, replica: str = "one", trusted: frozenset[str] | None = None) -> None:
        self.bus = bus
        self.clock = clock
        self.publisher = Publisher(bus)
        self.rules = Rules(bus, clock, frozenset({MANUFACTURER}) if trusted is None else trusted)
        self.registrations = Registrations(bus, clock)
        self.exchange = RendezvousExchange(
            Sealer(bytes(32)),
            bus,
            replica,
            registrations=self.registrations,
            rules=self.rules,
            publisher=self.publisher,
            wait_seconds=(60, 86_400),
            clock=clock,
        )
        routes = Api(self.registrations, self.rules, clock).routes()
        application = api(routes, auth=Auth.of(TOKEN), title="rendezvous", version="0")
        self.http = httpx.AsyncClient(
            transport=httpx.ASGITransport(app=application),
            base_url="http://rendezvous/api/v1",
            headers={"Authorization": f"Bearer {TOKEN}"},
        )

    async def send(self, number: int, body: bytes, token: str | None = None) -> FdoReply:
        return await self.exchange(FdoRequest(number, body, token, "192.0.2.1"))

    async def hello(self) -> tuple[HelloAck, str]:
        reply = await self.send(20, To0Hello().encode())
        assert reply.token is not None
        return HelloAck.decode(reply.body), reply.token

    async def register(self, voucher: Voucher, owner: KeySigner, **given) -> FdoReply:
        """TO0; the answer to 22."""
        ack, token = await self.hello()
        return await self.send(22, owner_sign(ack, voucher, owner, **given).encode(), token)

    async def accepted(self, voucher: Voucher, owner: KeySigner, **given) -> int:
        """TO0 that must succeed; the granted seconds."""
        reply = await self.register(voucher, owner, **given)
        assert reply.number == AcceptOwner.number, error(reply)
        return AcceptOwner.decode(reply.body).wait_seconds

    async def greet(self, device: Device) -> FdoReply:
        """HelloRV; the answer to 30."""
        return await self.send(30, to1.hello_rv(device.credential.guid, device.signer).encode())

    async def redirect(self, device: Device) -> list[To2Address]:
        """TO1 that must succeed; where to go."""
        first = await self.greet(device)
        assert first.number == HelloRVAck.number, error(first)
        last = await self.send(32, proof(first, device), first.token)
        assert (last.number, last.token) == (RVRedirect.number, None), error(last)
        return to1.read_redirect(RVRedirect.decode(last.body))


def owner_sign(
    ack: HelloAck,
    voucher: Voucher,
    owner: KeySigner,
    *,
    seconds: int = 3600,
    addresses: list[To2Address] | None = None,
) -> OwnerSign:
    """OwnerSign, the addresses as given even where there are none."""
    return to0.owner_sign(ack, voucher, seconds, fdo_kit.ADDRESSES if addresses is None else addresses, owner)


def proof(reply: FdoReply, device: Device) -> bytes:
    """ProveToRV for the answer to 30."""
    return to1.prove_to_rv(HelloRVAck.decode(reply.body), device.credential.guid, device.signer).encode()


def error(reply: FdoReply) -> ErrorMessage | None:
    return ErrorMessage.decode(reply.body) if reply.number == ErrorMessage.number else None


def refused(reply: FdoReply, code: int, words: str = "") -> str:
    told = error(reply)
    assert told is not None, reply
    assert (told.code, reply.status, reply.token) == (code, 200, None), told
    assert words in told.text
    return told.text


@asynccontextmanager
async def rendezvous(**given) -> AsyncIterator[Rendezvous]:
    clock = Clock()
    made = Rendezvous(MemoryBus(clock=clock), clock, **given)
    async with made.http:
        yield made


@pytest.fixture
async def made() -> AsyncIterator[Rendezvous]:
    async with rendezvous() as one:
        yield one
