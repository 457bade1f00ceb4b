"""A manufacturer as the service builds it, with a real database and a bus in memory, and devices that come to it."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from ashore import cose
from ashore.bus.memory import MemoryBus
from ashore.fdo import di, rvinfo
from ashore.fdo.credential import Credential
from ashore.fdo.messages import ErrorMessage, SetCredentials, SetHmac
from ashore.fdo.types import KeyEncoding, KeyType, key_types
from ashore.http.api import api
from ashore.http.auth import Auth
from ashore.http.fdo import FdoReply, FdoRequest
from ashore.keys import FileKeyStore
from ashore.sessions import Sealer
from ashore.sql import CursorInvalid, Database, StorageUnavailable, ValueImpossible
from ashore.sql.outbox import Relay
from ashore_manufacturer.api import Api
from ashore_manufacturer.model import Policy
from ashore_manufacturer.protocol import Keyring, ManufacturerExchange, Policies
from ashore_manufacturer.store import MIGRATIONS, OUTBOX, Store
from tests import fdo_kit
from tests.contract.sql_fixtures import fresh_url

RV_INFO = rvinfo.encode([rvinfo.Directive(dns="rv.example", protocol="http", device_port=8040, owner_port=8040)])
TOKEN = "admin"


class Clock:
    """A clock that only the test moves."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


class Factory:
    """One replica of the manufacturer."""

    def __init__(self, tmp_path: Path, database: Database, bus: MemoryBus, **given) -> None:
        self.clock = given.get("clock") or Clock()
        self.bus = bus
        self.database = database
        self.store = Store(database)
        self.keyring = Keyring(FileKeyStore(tmp_path / "keys"), given.get("choice", "match"))
        policy = Policy(RV_INFO, sell_to=given.get("sell_to"))
        self.policies = Policies(self.store, policy, self.clock)
        self.exchange = ManufacturerExchange(
            Sealer(bytes(32)),
            bus,
            given.get("replica", "one"),
            keyring=self.keyring,
            store=self.store,
            policies=self.policies,
            clock=self.clock,
        )
        routes = Api(self.store, self.policies, self.keyring, "one").routes()
        problems = {CursorInvalid: 422, ValueImpossible: 422, StorageUnavailable: 503}
        application = api(routes, auth=Auth.of(TOKEN), title="manufacturer", version="0", problems=problems)
        headers = {"Authorization": f"Bearer {TOKEN}"}
        transport = httpx.ASGITransport(app=application)
        self.http = httpx.AsyncClient(transport=transport, base_url="http://factory/api/v1", headers=headers)

    async def send(self, number: int, body: bytes, token: str | None = None) -> FdoReply:
        return await self.exchange(FdoRequest(number, body, token, "192.0.2.1"))

    async def initialise(self, newcomer: "Newcomer") -> str:
        """A whole DI; the answer is the GUID, in hex."""
        first = await self.send(10, newcomer.app_start())
        last = await self.send(12, newcomer.set_hmac(first), first.token)
        assert (first.number, last.number, last.body, last.token) == (11, 13, b"\x80", None), error(last)
        assert newcomer.credential is not None
        return newcomer.credential.guid.hex()

    async def limit_pages(self, pages: int) -> None:
        """Fill the disk, or make room again."""
        limit = f"PRAGMA max_page_count = {pages}"
        await self.database.write(lambda connection: connection.exec_driver_sql(limit) and None)

    async def published(self, count: int) -> list[str]:
        """The subjects of the first events on the bus, relayed from the outbox."""
        relay = asyncio.create_task(Relay(self.database, self.bus, OUTBOX, poll=0.05).run())
        try:
            async with asyncio.timeout(5):
                subjects = []
                async for _, envelope in self.bus.follow([">"], replay=True):
                    subjects.append(envelope.subject)
                    if len(subjects) == count:
                        return subjects
        finally:
            relay.cancel()
        raise AssertionError


class Newcomer:
    """A device before its DI."""

    def __init__(
        self,
        kind: str = "p256",
        encoding: KeyEncoding = KeyEncoding.X509,
        serial: str = "SN-1",
        declared: KeyType | None = None,
    ) -> None:
        self.key = fdo_kit.private_key(kind)
        self.public = self.key.public_key()
        self.secret = os.urandom(32)
        self.credential: Credential | None = None
        declared = declared or key_types(self.public)[0]
        self.info = di.ManufacturingInfo(declared, encoding, serial, "gotest", signing_request(self.key))

    def app_start(self) -> bytes:
        return di.app_start(self.info).encode()

    def set_hmac(self, reply: FdoReply) -> bytes:
        assert reply.number == SetCredentials.number, error(reply)
        self.credential, message = di.set_hmac(SetCredentials.decode(reply.body), self.public, self.secret)
        return SetHmac.encode(message)


def signing_request(key: cose.PrivateKey) -> bytes:
    """PKCS#10 with a subject that every C client has, signed with SHA-256 whatever the key."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "fdo")])
    builder = x509.CertificateSigningRequestBuilder().subject_name(name)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


def error(reply: FdoReply) -> ErrorMessage | None:
    return ErrorMessage.decode(reply.body) if reply.number == ErrorMessage.number else None


@asynccontextmanager
async def factory(tmp_path: Path, bus: MemoryBus | None = None, **given) -> AsyncIterator[Factory]:
    database = await Database.open(given.pop("url", f"sqlite:///{tmp_path}/manufacturer.db"), MIGRATIONS)
    made = Factory(tmp_path, database, bus or MemoryBus(), **given)
    try:
        async with made.http:
            yield made
    finally:
        await database.close()


@pytest.fixture
async def made(tmp_path: Path) -> AsyncIterator[Factory]:
    """A manufacturer on SQLite."""
    async with factory(tmp_path) as one:
        yield one


@pytest.fixture(params=["sqlite", "postgresql"])
async def anywhere(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Factory]:
    """A manufacturer on either database."""
    async with fresh_url(request.param, tmp_path) as url, factory(tmp_path, url=url) as one:
        yield one
