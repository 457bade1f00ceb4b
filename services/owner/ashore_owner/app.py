"""The owner service, put together."""

import ipaddress
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final, get_args
from urllib.parse import urlsplit

from ashore.config import SettingsError
from ashore.cose import Signer
from ashore.fdo.types import To2Address, Transport, fingerprint
from ashore.keys import FileKeyStore, KeyKind, KeysError
from ashore.service import App, Context, StartError, explained
from ashore.sessions import Sealer
from ashore.sql import CursorInvalid, Database, StorageError, StorageUnavailable, ValueImpossible
from ashore.sql.backlog import Backlog
from ashore.sql.outbox import Relay
from ashore.tls import TlsError, client_context
from ashore_owner.api import Api
from ashore_owner.api_profiles import ProfilesApi
from ashore_owner.catalogue import Catalogue
from ashore_owner.config import OwnerSettings
from ashore_owner.documents import Documents
from ashore_owner.downloads import Downloads
from ashore_owner.networks import Contacts, Networks
from ashore_owner.protocol import OwnerExchange
from ashore_owner.queries import Queries
from ashore_owner.store import Store
from ashore_owner.subscribers import Subscribers
from ashore_owner.tables import outbox
from ashore_owner.to0 import Registrar
from ashore_owner.waiting import WaitingRoom

ROLE: Final = "owner"
_TRANSPORTS: Final = {"http": (Transport.HTTP, 80), "https": (Transport.HTTPS, 443)}


@asynccontextmanager
async def build(context: Context[OwnerSettings]) -> AsyncIterator[App]:
    """Everything that the owner service consists of, until the block ends."""
    async with AsyncExitStack() as opened:
        with explained(StorageError, KeysError):
            app = await _app(context, opened)
        yield app


async def _app(context: Context[OwnerSettings], opened: AsyncExitStack) -> App:
    settings = context.settings
    keys = FileKeyStore(settings.data_dir / "keys")
    signers = load_signers(keys)
    database = await Database.open(settings.database_url, "ashore_owner:migrations")
    opened.push_async_callback(database.close)
    registrar = _registrar(settings, database, signers)
    store = Store(database, registrar.wake)
    documents, downloads = Documents(database), _downloads(settings)
    catalogue = Catalogue(documents, downloads)
    await catalogue.seed(int(time.time() * 1000))
    exchange = _exchange(context, keys, store, catalogue, signers)
    opened.push_async_callback(exchange.drain)
    opened.push_async_callback(downloads.close)
    profiles = ProfilesApi(documents, catalogue)
    devices = Api(store, Queries(database), catalogue, registrar, signers)
    subscribers = Subscribers(context.bus, store, signers)
    relay = Relay(database, context.bus, outbox)
    context.metrics.measured_by(Backlog(database, outbox, context.metrics).measure)
    return App(
        fdo=exchange,
        routes=[*devices.routes(), *profiles.routes()],
        tasks=[relay.run, registrar.run, subscribers.run, exchange.serve_for_ever, exchange.sweep],
        checks={"database": database.check},
        problems={CursorInvalid: 422, ValueImpossible: 422, StorageUnavailable: 503},
    )


def _registrar(settings: OwnerSettings, database: Database, signers: dict[str, Signer]) -> Registrar:
    return Registrar(
        database,
        signers,
        [to2_address(url) for url in settings.advertise],
        wait_seconds=settings.wait_seconds,
        parallel=settings.to0_parallel,
        contacts=Contacts(settings.rendezvous_hosts),
        tls=rendezvous_tls(settings.ca),
    )


def _exchange(
    context: Context[OwnerSettings],
    keys: FileKeyStore,
    store: Store,
    catalogue: Catalogue,
    signers: dict[str, Signer],
) -> OwnerExchange:
    settings = context.settings
    exchange = OwnerExchange(
        store=store,
        catalogue=catalogue,
        room=WaitingRoom(store),
        signers=signers,
        svk_length=settings.svk_length,
        capacity=settings.session_capacity,
        sealer=Sealer(keys.session_key(settings.session_key.reveal() if settings.session_key else None)),
        bus=context.bus,
        replica=context.replica,
        seconds=settings.session_seconds,
    )
    context.metrics.sessions.set_function(lambda: exchange.sessions)
    return exchange


def _downloads(settings: OwnerSettings) -> Downloads:
    networks = Networks(settings.download_networks)
    return Downloads(networks, limit=settings.download_limit, folder=settings.data_dir)


def load_signers(keys: FileKeyStore) -> dict[str, Signer]:
    """The owner's keys by their fingerprints, one of each kind."""
    signers = (keys.signer(ROLE, kind) for kind in get_args(KeyKind))
    return {fingerprint(signer.public_key): signer for signer in signers}


def rendezvous_tls(authorities: str | None) -> ssl.SSLContext | None:
    """Whom to believe at a rendezvous, where not the system's authorities alone; raise StartError."""
    try:
        return client_context(authorities, system=True) if authorities else None
    except TlsError as error:
        raise StartError(f"ASHORE_CA cannot be used: {error}") from error


def to2_address(url: str) -> To2Address:
    """An address for devices, from a URL; raise SettingsError."""
    problem = f"ASHORE_ADVERTISE has '{url}': expected http://HOST:PORT or https://HOST:PORT"
    try:
        parts = urlsplit(url)
        given = parts.port
    except ValueError as error:
        raise SettingsError([problem]) from error
    if parts.scheme not in _TRANSPORTS or not parts.hostname:
        raise SettingsError([problem])
    transport, port = _TRANSPORTS[parts.scheme]
    try:
        ip, dns = ipaddress.ip_address(parts.hostname).packed, None
    except ValueError:
        ip, dns = None, parts.hostname
    return To2Address(ip, dns, given or port, transport)
