"""The manufacturer's memory: vouchers, and what people have set for new ones.

Every method is one unit of work or one query. A voucher and the events that tell of it are one transaction. Vouchers
are never removed, whoever owns the device by now: the manufacturer is the last who can hand one out again. Times are
milliseconds since 1970.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, Final, Literal, NamedTuple

import sqlalchemy as sa
from sqlalchemy import Connection, Row, Select, bindparam, select
from sqlalchemy.exc import IntegrityError

from ashore.events import Event
from ashore.sql import Database
from ashore.sql.outbox import append, outbox
from ashore.sql.paging import Page, page
from ashore.sql.prefix import TEXT, begins
from ashore.sql.prepared import Prepared, insertion
from ashore_manufacturer.model import VoucherState

MIGRATIONS: Final = "ashore_manufacturer:migrations"
Document = Literal["rvinfo", "sale-rules"]

_METADATA: Final = sa.MetaData()
VOUCHERS: Final = sa.Table(
    "vouchers",
    _METADATA,
    sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
    sa.Column("guid", sa.String(32), nullable=False, unique=True),
    sa.Column("serial", TEXT, nullable=False),
    sa.Column("device_info", TEXT, nullable=False),
    sa.Column("state", sa.String(8), nullable=False),
    sa.Column("key_type", sa.String(16), nullable=False),
    sa.Column("owner_key", sa.String(64), nullable=False),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("extended_at", sa.BigInteger, nullable=True),
    sa.Column("voucher", sa.LargeBinary, nullable=False),
    sa.Index("vouchers_by_serial", "serial", "id"),
    sa.Index("vouchers_by_state", "state", "id"),
    sa.Index("vouchers_by_state_and_serial", "state", "serial", "id"),
)
DOCUMENTS: Final = sa.Table(
    "documents",
    _METADATA,
    sa.Column("name", sa.String(32), primary_key=True),
    sa.Column("body", sa.LargeBinary, nullable=False),
    sa.Column("updated_at", sa.BigInteger, nullable=False),
)
OUTBOX: Final = outbox(_METADATA)

_V: Final = VOUCHERS.c
_INSERT: Final = insertion(VOUCHERS, *(column.name for column in VOUCHERS.c if column is not _V.id))
_SUMMARY: Final = (_V.id, _V.guid, _V.serial, _V.device_info, _V.state, _V.key_type, _V.owner_key)
_TIMES: Final = (_V.created_at, _V.extended_at)
_LIST: Final[Select[Any]] = select(*_SUMMARY, *_TIMES)
_ONE: Final[Select[Any]] = select(*_SUMMARY, *_TIMES, _V.voucher).where(_V.guid == bindparam("which"))
_EXTEND: Final = Prepared(
    VOUCHERS.update()
    .where(_V.guid == bindparam("which"), _V.state == "issued")
    .values(
        state="extended",
        owner_key=bindparam("buyer"),
        voucher=bindparam("body", type_=sa.LargeBinary),
        extended_at=bindparam("at", type_=sa.BigInteger),
    )
)
_GUID_DIGITS: Final = 8
"""So many digits of a GUID name one device among billions; fewer are looked for among the serials only."""
_HEX: Final = frozenset("0123456789abcdef")


class VoucherRow(NamedTuple):
    """A voucher to be kept."""

    guid: str
    serial: str
    device_info: str
    state: VoucherState
    key_type: str
    owner_key: str
    created_at: int
    extended_at: int | None
    voucher: bytes


class Telling(NamedTuple):
    """The events that belong to a change, and who tells them."""

    events: Sequence[Event]
    source: str
    traceparent: str | None = None

    def append(self, connection: Connection) -> None:
        """Put them into the outbox."""
        for event in self.events:
            append(connection, OUTBOX, event, source=self.source, traceparent=self.traceparent)


class Store:
    """Vouchers and documents in a database; every method may raise StorageUnavailable."""

    def __init__(self, database: Database) -> None:
        self.database = database

    async def issue(self, row: VoucherRow, telling: Telling) -> None:
        """Keep a new voucher and tell of it; once more for the same GUID is no harm."""
        try:
            await self.database.write(partial(_issue, row, telling))
        except IntegrityError:
            # After a lost connection nobody knows whether the first try was committed. A GUID comes but once.
            if await self.find(row.guid) is None:
                raise

    async def extend(self, row: VoucherRow, telling: Telling) -> bool:
        """Replace a voucher by its extension and tell of it; False where it was extended meanwhile."""
        return await self.database.write(partial(_extend, row, telling))

    async def find(self, guid: str) -> Row[Any] | None:
        """One voucher, whole."""
        return await self.database.read(lambda connection: connection.execute(_ONE, {"which": guid}).first())

    async def newest(self, state: VoucherState | None, serial: str | None, *, after: str | None, limit: int) -> Page:
        """Vouchers without their bodies, newest first."""
        query = _in_state(_LIST, state)
        if serial is not None:
            query = query.where(_V.serial == serial)
        return await self.database.read(
            lambda connection: page(connection, query, by=[_V.id], after=after, limit=limit, newest_first=True)
        )

    async def search(self, state: VoucherState | None, text: str, *, after: str | None, limit: int) -> Page:
        """Vouchers whose serial or GUID begins with a text, by serial."""
        if after is None and (guids := await self._by_guid(state, text)):
            return Page(guids, None)
        query = _in_state(_LIST, state).where(begins(_V.serial, text))
        return await self.database.read(
            lambda connection: page(connection, query, by=[_V.serial, _V.id], after=after, limit=limit)
        )

    async def documents(self) -> dict[str, bytes]:
        """All that people have set, by name."""
        query = select(DOCUMENTS.c.name, DOCUMENTS.c.body)
        return await self.database.read(
            lambda connection: {name: bytes(body) for name, body in connection.execute(query)}
        )

    async def put_document(self, name: Document, body: bytes, now: int) -> None:
        """Set one."""
        await self.database.write(partial(_put_document, name, body, now))

    async def _by_guid(self, state: VoucherState | None, text: str) -> Sequence[Row[Any]]:
        digits = text.lower().replace("-", "")
        if len(digits) < _GUID_DIGITS or not _HEX.issuperset(digits):
            return ()
        query = _in_state(_LIST, state).where(begins(_V.guid, digits)).order_by(_V.guid).limit(100)
        return await self.database.read(lambda connection: connection.execute(query).all())


def _issue(row: VoucherRow, telling: Telling, connection: Connection) -> None:
    _INSERT.change(connection, row._asdict())
    telling.append(connection)


def _extend(row: VoucherRow, telling: Telling, connection: Connection) -> bool:
    values = {"which": row.guid, "buyer": row.owner_key, "body": row.voucher, "at": row.extended_at}
    if not _EXTEND.change(connection, values):
        return False
    telling.append(connection)
    return True


def _put_document(name: str, body: bytes, now: int, connection: Connection) -> None:
    values = {"body": body, "updated_at": now}
    changed = connection.execute(DOCUMENTS.update().where(DOCUMENTS.c.name == name).values(values))
    if not changed.rowcount:
        connection.execute(DOCUMENTS.insert().values(name=name, **values))


def _in_state(query: Select[Any], state: VoucherState | None) -> Select[Any]:
    return query if state is None else query.where(_V.state == state)
