"""What PostgreSQL promises beyond the contract: lost connections and collisions are repeated where that is safe."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa

from ashore.sql import Database, StorageUnavailable
from tests.contract.sql_fixtures import MIGRATIONS, POSTGRESQL_URL, fresh_url, guid, guids, opened, voucher

pytestmark = pytest.mark.skipif(POSTGRESQL_URL is None, reason="ASHORE_TEST_POSTGRESQL_URL names no server")


@pytest.fixture
async def url(tmp_path: Path) -> AsyncIterator[str]:
    async with fresh_url("postgresql", tmp_path) as fresh:
        yield fresh


@pytest.fixture
async def database(url: str) -> AsyncIterator[Database]:
    async with opened(url) as database:
        yield database


def cut_connections(url: str) -> None:
    """Have the server end all connections of the database that was opened with this URL."""
    name = sa.make_url(url).query["application_name"]
    with closing(psycopg.connect(POSTGRESQL_URL or "", autocommit=True)) as admin:
        admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s", [name])


def once_cut(url: str, unit: Callable[[sa.Connection], None]) -> Callable[[sa.Connection], None]:
    """The same unit, but its connection is lost the first time that it runs."""
    runs: list[int] = []

    def cut(connection: sa.Connection) -> None:
        unit(connection)
        runs.append(1)
        if len(runs) == 1:
            cut_connections(url)
            connection.execute(sa.text("SELECT 1"))

    return cut


async def test_connections_lost_while_idle_are_made_anew(database: Database, url: str) -> None:
    await database.write(voucher(1))
    await database.read(guids)
    cut_connections(url)
    await database.write(voucher(2))
    cut_connections(url)
    assert await database.read(guids) == [guid(1), guid(2)]
    cut_connections(url)
    async with database.alone("relay") as mine:
        assert mine


async def test_a_unit_whose_connection_is_lost_is_run_again_and_counts_once(database: Database, url: str) -> None:
    await database.write(once_cut(url, voucher(1)))
    assert await database.read(guids) == [guid(1)]


async def test_a_lock_whose_connection_is_lost_is_given_up_without_an_error(database: Database, url: str) -> None:
    async with database.alone("relay") as mine:
        assert mine
        cut_connections(url)
    async with database.alone("relay") as mine:
        assert mine


async def test_units_that_would_break_each_other_s_assumption_are_run_one_after_the_other(database: Database) -> None:
    """Each may add a voucher only where there is none: at any weaker level than SERIALIZABLE both would."""
    together = threading.Barrier(2)
    waited: set[int] = set()

    def add_the_first(number: int) -> Callable[[sa.Connection], bool]:
        def unit(connection: sa.Connection) -> bool:
            found = guids(connection)
            if number not in waited:
                waited.add(number)
                together.wait(10)
            if not found:
                voucher(number)(connection)
            return not found

        return unit

    added = await asyncio.gather(database.write(add_the_first(1)), database.write(add_the_first(2)))
    assert sorted(added) == [False, True]
    assert len(await database.read(guids)) == 1


async def test_a_full_disk_is_told(database: Database) -> None:
    def fails(connection: sa.Connection) -> None:
        connection.exec_driver_sql("DO $$ BEGIN RAISE 'could not extend file' USING ERRCODE = 'disk_full'; END $$")

    with pytest.raises(StorageUnavailable, match="could not extend file"):
        await database.write(fails)
    await database.write(voucher(1))


async def test_a_server_that_is_away_is_told_without_its_password() -> None:
    with pytest.raises(StorageUnavailable, match="refused") as raised:
        await Database.open("postgresql://ashore:hidden@127.0.0.1:1/ashore", MIGRATIONS)
    assert "hidden" not in str(raised.value)
