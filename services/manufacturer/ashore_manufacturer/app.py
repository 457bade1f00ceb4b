"""The manufacturer service, put together."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from ashore import bundles
from ashore.bundles import BundleError
from ashore.fdo import rvinfo
from ashore.keys import FileKeyStore, KeysError
from ashore.service import App, Context, explained
from ashore.sessions import Sealer
from ashore.sql import CursorInvalid, Database, StorageError, StorageUnavailable, ValueImpossible
from ashore.sql.backlog import Backlog
from ashore.sql.outbox import Relay
from ashore_manufacturer.api import Api
from ashore_manufacturer.config import ManufacturerSettings
from ashore_manufacturer.model import Party, Policy, directives
from ashore_manufacturer.protocol import Keyring, ManufacturerExchange, Policies
from ashore_manufacturer.store import MIGRATIONS, OUTBOX, Store


@asynccontextmanager
async def build(context: Context[ManufacturerSettings]) -> AsyncIterator[App]:
    """Everything that the manufacturer service consists of, until the block ends."""
    with explained(StorageError, KeysError, BundleError):
        database = await Database.open(context.settings.database_url, MIGRATIONS)
    try:
        with explained(StorageError, KeysError, BundleError):
            app = await _app(context, database)
        yield app
    finally:
        await database.close()


async def _app(context: Context[ManufacturerSettings], database: Database) -> App:
    settings, store = context.settings, Store(database)
    keys = FileKeyStore(settings.data_dir / "keys")
    keyring = Keyring(keys, settings.manufacturer_key)
    await keyring.warm_up()
    policies = Policies(store, default_policy(settings))
    exchange = ManufacturerExchange(
        Sealer(keys.session_key(settings.session_key.reveal() if settings.session_key else None)),
        context.bus,
        context.replica,
        keyring=keyring,
        store=store,
        policies=policies,
        capacity=settings.session_capacity,
    )
    context.metrics.sessions.set_function(lambda: len(exchange.sessions))
    context.metrics.measured_by(Backlog(database, OUTBOX, context.metrics).measure)
    return App(
        fdo=exchange,
        routes=Api(store, policies, keyring, context.replica).routes(),
        tasks=[Relay(database, context.bus, OUTBOX).run, exchange.serve_for_ever],
        checks={"database": database.check},
        problems={CursorInvalid: 422, ValueImpossible: 422, StorageUnavailable: 503},
    )


def default_policy(settings: ManufacturerSettings) -> Policy:
    """What holds until people set something else; raise BundleError."""
    sell_to = read_bundle(settings.sell_to) if settings.sell_to else None
    return Policy(rvinfo.encode(directives(settings.rendezvous_urls)), sell_to=sell_to)


def read_bundle(path: Path) -> Party:
    """The public keys in a file; raise BundleError that names it."""
    try:
        return Party(bundles.read(path.read_bytes()))
    except OSError as error:
        raise BundleError(f"ASHORE_SELL_TO is '{path}': the file cannot be read ({error.strerror})") from error
    except BundleError as error:
        raise BundleError(f"ASHORE_SELL_TO is '{path}': {error}") from error
