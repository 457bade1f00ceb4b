"""A small store as a service would write it, and databases to try it on."""

import os
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

from ashore.events import VoucherIssued
from ashore.sql import Database
from ashore.sql.outbox import append, outbox

MIGRATIONS = Path(__file__).parent / "test_sql_migrations" / "migrations"
POSTGRESQL_URL = os.environ.get("ASHORE_TEST_POSTGRESQL_URL")

METADATA = sa.MetaData()
VOUCHERS = sa.Table(
    "vouchers",
    METADATA,
    sa.Column("guid", sa.String(32), primary_key=True),
    sa.Column("serial", sa.Text, nullable=False, index=True),
    sa.Column("body", sa.LargeBinary, nullable=False),
)
OWNERS = sa.Table("owners", METADATA, sa.Column("name", sa.String(32)), sa.Column("guid", sa.String(32)))
OUTBOX = outbox(METADATA)
INSERT = VOUCHERS.insert().inline()
INSERT_OWNER = OWNERS.insert().inline()
GUIDS = sa.select(VOUCHERS.c.guid).order_by(VOUCHERS.c.guid)


def guid(number: int) -> str:
    return f"{number:032x}"


def voucher(number: int, *, size: int = 100) -> Callable[[sa.Connection], None]:
    """A unit of work which adds a voucher."""
    return lambda connection: _insert(connection, number, size)


def _insert(connection: sa.Connection, number: int, size: int) -> None:
    connection.execute(INSERT, {"guid": guid(number), "serial": f"serial-{number}", "body": bytes(size)})


def issue(number: int, serial: str | None = None) -> Callable[[sa.Connection], None]:
    """A unit of work which tells that a voucher was issued."""
    event = VoucherIssued(guid=guid(number), serial=serial or f"serial-{number}", device_info="x", key_type="SECP256R1")
    return lambda connection: append(connection, OUTBOX, event, source="/manufacturer/test")


def guids(connection: sa.Connection) -> list[str]:
    return list(connection.execute(GUIDS).scalars())


def waiting(connection: sa.Connection) -> int:
    return int(connection.execute(sa.select(sa.func.count()).select_from(OUTBOX)).scalar_one())


@asynccontextmanager
async def fresh_url(kind: str, tmp_path: Path) -> AsyncIterator[str]:
    """The URL of an empty database: a new file, or a new schema on the server; the test is skipped without a server."""
    if kind == "sqlite":
        yield f"sqlite:///{tmp_path}/data/test.db"
        return
    if POSTGRESQL_URL is None:
        pytest.skip("ASHORE_TEST_POSTGRESQL_URL names no PostgreSQL server")
    schema = f"test_{uuid.uuid4().hex}"
    url = sa.make_url(POSTGRESQL_URL)
    engine = sa.create_engine(url.set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sa.text(f"CREATE SCHEMA {schema}"))
        try:
            mine = url.update_query_dict({"options": f"-c search_path={schema}", "application_name": schema})
            yield mine.render_as_string(hide_password=False)
        finally:
            connection.execute(sa.text(f"DROP SCHEMA {schema} CASCADE"))
    engine.dispose()


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Database]:
    database = await Database.open(url, MIGRATIONS)
    try:
        yield database
    finally:
        await database.close()
