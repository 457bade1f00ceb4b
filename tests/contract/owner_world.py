"""An owner service with its database, and a device that can stop or misbehave at any message."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ashore.bus.memory import MemoryBus
from ashore.fdo import to2_device
from ashore.fdo.ciphers import CipherSuite, SvkLength
from ashore.fdo.codec import Message
from ashore.fdo.kex import KexSuite
from ashore.fdo.messages import (
    DeviceServiceInfo,
    Done2,
    ErrorMessage,
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
from ashore_owner.documents import Documents
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
        self.documents = Documents(database)
        self.catalogue = Catalogue(self.documents)
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


@asynccontextmanager
async def opened_world(url: str) -> AsyncIterator[World]:
    """An owner service on a database, with the profiles that every owner begins with."""
    database = await Database.open(url, "ashore_owner:migrations")
    world = World(database, MemoryBus())
    await world.catalogue.seed(NOW)
    try:
        yield world
    finally:
        await database.close()


class Client:
    """A device that can stop before any message, and send what it should not."""

    def __init__(
        self,
        device: kit.Device,
        *exchanges: OwnerExchange,
        cipher: CipherSuite = CipherSuite.A128GCM,
        kex: KexSuite = KexSuite.ECDH256,
    ) -> None:
        self.kex = kex
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
        self.sent: list[tuple[int, bytes]] = []

    async def send(self, number: int, body: bytes) -> FdoReply:
        exchange = self.exchanges[self.turns % len(self.exchanges)]
        self.turns += 1
        self.sent.append((number, body))
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
            self.device.credential, self.device.signer, self.kex, self.cipher, os.urandom(16)
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


class Refused(Exception):  # noqa: N818 - what the device was told
    def __init__(self, code: int, previous: int, text: str) -> None:
        super().__init__(f"{code} after {previous}: {text}")
        self.code, self.previous, self.text = code, previous, text


async def events_of(world: World) -> list[str]:
    rows = await world.database.read(
        lambda connection: connection.exec_driver_sql("SELECT subject FROM outbox ORDER BY seq").all()
    )
    return [row.subject.split(".")[0] for row in rows]
