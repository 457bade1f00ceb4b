"""What SQLite promises beyond the contract: group commit, and what was acknowledged survives whatever happens."""

import asyncio
import signal
import sqlite3
import sys
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import pytest
import sqlalchemy as sa

from ashore.sql import StorageUnavailable
from ashore.sql.sqlite import SqliteDatabase
from tests.contract.sql_fixtures import MIGRATIONS, fresh_url, guid, guids, opened, voucher


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[SqliteDatabase]:
    async with fresh_url("sqlite", tmp_path) as url, opened(url) as database:
        yield cast("SqliteDatabase", database)


@asynccontextmanager
async def writer_held(database: SqliteDatabase) -> AsyncIterator[None]:
    """Keep the writer waiting, so that the units handed in meanwhile become one batch."""
    other = sqlite3.connect(database._path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    held = asyncio.create_task(database.write(lambda _: None))
    await asyncio.sleep(0.02)
    try:
        yield
    finally:
        other.execute("ROLLBACK")
        other.close()
    await held


async def test_units_that_wait_together_share_one_commit(database: SqliteDatabase) -> None:
    before = database.writer.commits
    async with writer_held(database):
        writing = [asyncio.create_task(database.write(voucher(number))) for number in range(50)]
        await asyncio.sleep(0)
    await asyncio.gather(*writing)
    assert database.writer.commits - before == 2
    assert len(await database.read(guids)) == 50


async def test_units_that_nobody_waits_for_go_along_with_the_next_one_in_their_order(database: SqliteDatabase) -> None:
    before = database.writer.commits
    soon = [database.write_soon(voucher(number)) for number in range(3)]
    assert await database.write(guids) == [guid(0), guid(1), guid(2)]
    assert all(unit.done() for unit in soon)
    assert database.writer.commits - before == 1


async def test_a_unit_is_acknowledged_only_when_others_can_read_it(database: SqliteDatabase) -> None:
    for number in range(20):
        await database.write(voucher(number))
        assert guid(number) in await database.read(guids)


@pytest.mark.parametrize("statement", ["ROLLBACK", "INSERT OR ROLLBACK INTO vouchers VALUES ('x', 'x', 'x')"])
async def test_a_unit_that_rolls_the_shared_transaction_back_harms_nobody_else(
    database: SqliteDatabase, statement: str
) -> None:
    def villain(connection: sa.Connection) -> None:
        connection.exec_driver_sql("INSERT INTO vouchers VALUES ('x', 'x', 'x')")
        connection.exec_driver_sql(statement)

    async with writer_held(database):
        writing = [asyncio.create_task(database.write(unit)) for unit in (voucher(1), villain, voucher(2))]
        await asyncio.sleep(0)
    outcomes = await asyncio.gather(*writing, return_exceptions=True)
    assert outcomes[0] is outcomes[2] is None
    assert isinstance(outcomes[1], (RuntimeError, sa.exc.IntegrityError))
    assert {guid(1), guid(2)} <= set(await database.read(guids))


def commits(connection: sa.Connection) -> None:
    voucher(9)(connection)
    connection.commit()


def rolls_back(connection: sa.Connection) -> None:
    voucher(9)(connection)
    connection.rollback()


def leaves_a_savepoint_open(connection: sa.Connection) -> None:
    connection.begin_nested()
    voucher(9)(connection)


@pytest.mark.parametrize("villain", [commits, rolls_back, leaves_a_savepoint_open])
async def test_a_unit_that_meddles_with_the_transaction_is_refused(
    database: SqliteDatabase, villain: Callable[[sa.Connection], None]
) -> None:
    async with writer_held(database):
        writing = [asyncio.create_task(database.write(unit)) for unit in (voucher(1), villain, voucher(2))]
        await asyncio.sleep(0)
    outcomes = await asyncio.gather(*writing, return_exceptions=True)
    assert outcomes[0] is outcomes[2] is None
    assert "must neither commit" in str(outcomes[1]) or "as it found it" in str(outcomes[1])
    await database.write(voucher(3))
    assert await database.read(guids) == [guid(1), guid(2), guid(3)]


async def test_the_files_are_readable_by_their_owner_alone(database: SqliteDatabase, tmp_path: Path) -> None:
    await database.write(voucher(1))
    folder = tmp_path / "data"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {file.stat().st_mode & 0o777 for file in folder.iterdir()} == {0o600}


async def test_commits_reach_the_disk_before_they_are_acknowledged(database: SqliteDatabase) -> None:
    def settings(connection: sa.Connection) -> tuple[object, ...]:
        pragmas = ("synchronous", "journal_mode", "foreign_keys")
        return tuple(connection.exec_driver_sql(f"PRAGMA {pragma}").scalar() for pragma in pragmas)

    assert await database.write(settings) == (2, "wal", 1)


async def test_a_full_disk_is_told_and_writing_resumes_when_there_is_room(database: SqliteDatabase) -> None:
    def limit(pages: int) -> None:
        database.writer.submit(lambda connection: connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}"))

    await database.write(voucher(1))
    limit(1)
    with pytest.raises(StorageUnavailable, match="full disk"):
        await database.write(voucher(2, size=100_000))
    limit(1_000_000)
    await database.write(voucher(3, size=100_000))
    assert await database.read(guids) == [guid(1), guid(3)]


async def test_one_unit_too_large_for_the_disk_does_not_take_the_small_ones_with_it(database: SqliteDatabase) -> None:
    await database.write(lambda connection: connection.exec_driver_sql("PRAGMA max_page_count = 60"))
    async with writer_held(database):
        writing = [
            asyncio.create_task(database.write(unit)) for unit in (voucher(1), voucher(2, size=1_000_000), voucher(3))
        ]
        await asyncio.sleep(0)
    outcomes = await asyncio.gather(*writing, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [type(None), StorageUnavailable, type(None)]
    assert await database.read(guids) == [guid(1), guid(3)]


async def test_a_lock_held_by_another_program_is_told(database: SqliteDatabase, tmp_path: Path) -> None:
    database.writer.patience = 0.02
    other = sqlite3.connect(tmp_path / "data" / "test.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StorageUnavailable, match="locked by another program"):
        await database.write(voucher(1))
    with pytest.raises(StorageUnavailable, match="locked by another program"):
        await database.check()
    other.execute("ROLLBACK")
    other.close()
    await database.check()
    await database.write(voucher(2))
    assert await database.read(guids) == [guid(2)]


async def test_a_long_query_holds_nobody_up(database: SqliteDatabase) -> None:
    release = threading.Event()
    long = asyncio.create_task(database.read(lambda _: release.wait(10)))
    await asyncio.sleep(0.02)
    assert await database.read(guids) == []
    release.set()
    assert await long


async def test_while_another_program_writes_the_loop_goes_on_and_the_unit_follows(database: SqliteDatabase) -> None:
    async with writer_held(database):
        writing = asyncio.create_task(database.write(voucher(1)))
        for _ in range(5):
            await asyncio.sleep(0.01)
            assert await database.read(guids) == await database.look_up(guids) == []
    await writing
    assert await database.look_up(guids) == [guid(1)]


@pytest.mark.parametrize("seconds", [0.0, 1.0], ids=["a fast disk", "a slow disk"])
async def test_it_is_the_same_wherever_the_commit_is_made(database: SqliteDatabase, seconds: float) -> None:
    database.writer._commit_seconds = seconds
    await database.write(voucher(1))
    with pytest.raises(sa.exc.IntegrityError):
        await database.write(voucher(1))
    await database.write(voucher(2))
    assert await database.read(guids) == [guid(1), guid(2)]
    assert database.writer._commit_seconds != seconds


async def test_a_file_removed_under_the_service_is_noticed(database: SqliteDatabase, tmp_path: Path) -> None:
    (tmp_path / "data" / "test.db").unlink()
    with pytest.raises(StorageUnavailable, match="is gone"):
        await database.write(voucher(1))
    with pytest.raises(StorageUnavailable, match="is gone"):
        await database.check()


async def test_a_file_that_is_no_database_is_told(tmp_path: Path) -> None:
    (tmp_path / "notes.db").write_text("these are the notes of a meeting, at some length\n" * 100)
    with pytest.raises(StorageUnavailable, match="is not an SQLite database"):
        await SqliteDatabase.open(f"sqlite:///{tmp_path}/notes.db", MIGRATIONS)


WRITE_UNTIL_KILLED = """
import asyncio, itertools, sys
from tests.contract.sql_fixtures import opened, voucher

async def main(url):
    numbers = itertools.count()
    async with opened(url) as database:
        async def write():
            for number in numbers:
                await database.write(voucher(number))
                print(number, flush=True)
        await asyncio.gather(*(write() for _ in range(16)))

asyncio.run(main(sys.argv[1]))
"""


async def test_everything_acknowledged_survives_a_killed_process(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/data/test.db"
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", WRITE_UNTIL_KILLED, url, stdout=asyncio.subprocess.PIPE
    )
    assert child.stdout is not None
    acknowledged = [int(await child.stdout.readline()) for _ in range(500)]
    child.send_signal(signal.SIGKILL)
    acknowledged += [
        int(line) for line in (await child.stdout.read()).splitlines(keepends=True) if line.endswith(b"\n")
    ]
    await child.wait()
    async with opened(url) as database:
        kept = set(await database.read(guids))
    assert {guid(number) for number in acknowledged} <= kept


FILL_THE_DISK = """
import asyncio, resource, sys
from ashore.sql import StorageUnavailable
from tests.contract.sql_fixtures import guids, opened, voucher

async def main(url):
    async with opened(url) as database:
        await database.write(voucher(1))
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY))
        outcomes = await asyncio.gather(
            *(database.write(voucher(number, size=50_000)) for number in range(2, 12)), return_exceptions=True
        )
        assert any(isinstance(outcome, StorageUnavailable) for outcome in outcomes), outcomes
        try:
            await database.check()
        except StorageUnavailable as error:
            print(error)
        acknowledged = [1] + [number for number, outcome in enumerate(outcomes, 2) if outcome is None]
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        await database.write(voucher(99, size=50_000))
        await database.check()
        kept = [int(guid, 16) for guid in await database.read(guids)]
        assert kept == [*acknowledged, 99], (kept, acknowledged)
        print("recovered")

asyncio.run(main(sys.argv[1]))
"""


async def test_a_commit_that_the_disk_refuses_is_told_and_writing_resumes(tmp_path: Path) -> None:
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", FILL_THE_DISK, f"sqlite:///{tmp_path}/test.db", stdout=asyncio.subprocess.PIPE
    )
    output, _ = await child.communicate()
    assert b"recovered" in output
