"""The rendezvous service, put together."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from ashore import bundles
from ashore.bundles import BundleError
from ashore.bus import BusRefused, StoreFull
from ashore.fdo.types import fingerprint
from ashore.keys import FileKeyStore, KeysError
from ashore.service import App, Context, StartError
from ashore.sessions import Sealer
from ashore_rendezvous.api import Api
from ashore_rendezvous.config import RendezvousSettings
from ashore_rendezvous.protocol import RendezvousExchange
from ashore_rendezvous.publisher import Publisher
from ashore_rendezvous.store import Registrations, Rules


@asynccontextmanager
async def build(context: Context[RendezvousSettings]) -> AsyncIterator[App]:
    """Everything that the rendezvous service consists of, until the block ends."""
    settings, bus, clock = context.settings, context.bus, time.time
    rules = Rules(bus, clock, read_trusted(settings.trusted_keys))
    registrations, publisher = Registrations(bus, clock), Publisher(bus)
    context.metrics.outbox.set_function(lambda: len(publisher))
    context.metrics.outbox_age.set_function(lambda: publisher.oldest_seconds(clock()))
    exchange = RendezvousExchange(
        Sealer(read_session_key(settings)),
        bus,
        context.replica,
        registrations=registrations,
        rules=rules,
        publisher=publisher,
        wait_seconds=(settings.min_wait_seconds, settings.max_wait_seconds),
        clock=clock,
    )
    try:
        yield App(
            fdo=exchange,
            routes=Api(registrations, rules, clock).routes(),
            tasks=[publisher.run],
            problems={StoreFull: 507, BusRefused: 500},
        )
    finally:
        await publisher.drain()


def read_session_key(settings: RendezvousSettings) -> bytes:
    """The key that seals tokens; raise StartError."""
    given = settings.session_key.reveal() if settings.session_key else None
    try:
        return FileKeyStore(settings.data_dir / "keys").session_key(given)
    except KeysError as error:
        raise StartError(str(error)) from error


def read_trusted(path: Path | None) -> frozenset[str]:
    """Fingerprints of the keys in a bundle; raise StartError."""
    if path is None:
        return frozenset()
    try:
        return frozenset(map(fingerprint, bundles.read(path.read_bytes())))
    except (OSError, BundleError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise StartError(f"ASHORE_TRUSTED_KEYS is '{path}': the file cannot be used ({reason})") from error
