"""What every database promises: the same tests for an SQLite file and a PostgreSQL server."""

import asyncio
import threading
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest
import sqlalchemy as sa

from ashore.sql import CursorInvalid, Database, LocationInvalid, StorageUnavailable
from ashore.sql.paging import Page, page
from tests.contract.sql_fixtures import (
    INSERT_OWNER,
    POSTGRESQL_URL,
    VOUCHERS,
    fresh_url,
    guid,
    guids,
    opened,
    voucher,
)

KINDS = [
    "sqlite",
    pytest.param(
        "postgresql",
        marks=pytest.mark.skipif(POSTGRESQL_URL is None, reason="ASHORE_TEST_POSTGRESQL_URL names no server"),
    ),
]


@pytest.fixture(params=KINDS)
async def url(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[str]:
    async with fresh_url(request.param, tmp_path) as fresh:
        yield fresh


@pytest.fixture
async def database(url: str) -> AsyncIterator[Database]:
    async with opened(url) as database:
        yield database


async def test_what_is_written_can_be_read(database: Database) -> None:
    await database.write(voucher(1))
    assert await database.read(guids) == [guid(1)]


async def test_what_is_written_can_be_looked_up(database: Database) -> None:
    for number in range(3):
        await database.write(voucher(number))
        assert guid(number) in await database.look_up(guids)


async def test_a_unit_gives_its_result_to_its_caller(database: Database) -> None:
    assert await database.write(lambda connection: connection.execute(sa.select(sa.literal(7))).scalar()) == 7


async def test_what_was_written_is_there_after_opening_again(url: str) -> None:
    async with opened(url) as database:
        await database.write(voucher(1))
    async with opened(url) as database:
        assert await database.read(guids) == [guid(1)]


async def test_a_unit_that_raises_leaves_no_trace(database: Database) -> None:
    def fails(connection: sa.Connection) -> None:
        voucher(1)(connection)
        raise LookupError("no such owner")

    with pytest.raises(LookupError, match="no such owner"):
        await database.write(fails)
    assert await database.read(guids) == []


async def test_a_key_taken_twice_reaches_its_caller_as_an_integrity_error(database: Database) -> None:
    await database.write(voucher(1))
    with pytest.raises(sa.exc.IntegrityError):
        await database.write(voucher(1))


async def test_errors_do_not_show_what_was_to_be_written(database: Database) -> None:
    await database.write(voucher(1))
    with pytest.raises(sa.exc.IntegrityError) as raised:
        await database.write(voucher(1))
    assert "serial-1" not in str(raised.value)


async def test_units_that_fail_do_not_harm_the_units_beside_them(database: Database) -> None:
    await database.write(voucher(7))
    outcomes = await asyncio.gather(
        *(database.write(voucher(number)) for number in (1, 7, 2, 7, 3)), return_exceptions=True
    )
    assert [type(outcome) for outcome in outcomes].count(sa.exc.IntegrityError) == 2
    assert await database.read(guids) == [guid(number) for number in (1, 2, 3, 7)]


async def test_a_constraint_checked_at_the_commit_fails_only_the_unit_that_breaks_it(database: Database) -> None:
    def owner_of_nothing(connection: sa.Connection) -> None:
        connection.execute(INSERT_OWNER, {"name": "nobody", "guid": guid(99)})

    outcomes = await asyncio.gather(
        database.write(voucher(1)),
        database.write(owner_of_nothing),
        database.write(voucher(2)),
        return_exceptions=True,
    )
    assert outcomes[0] is None
    assert isinstance(outcomes[1], sa.exc.IntegrityError)
    assert await database.read(guids) == [guid(1), guid(2)]


async def test_a_unit_that_raises_stop_iteration_does_not_leave_its_caller_waiting(database: Database) -> None:
    empty = iter(())
    with pytest.raises(RuntimeError, match="StopIteration"):
        await database.write(lambda _: next(empty))


async def test_a_unit_may_use_savepoints_of_its_own(database: Database) -> None:
    await database.write(voucher(1))

    def insert_or_ignore(connection: sa.Connection) -> None:
        try:
            with connection.begin_nested():
                voucher(1)(connection)
        except sa.exc.IntegrityError:
            voucher(2)(connection)

    await database.write(insert_or_ignore)
    assert await database.read(guids) == [guid(1), guid(2)]


async def test_units_that_read_before_they_write_lose_no_update(database: Database) -> None:
    await database.write(voucher(1, size=0))

    def grow(connection: sa.Connection) -> None:
        body = connection.execute(sa.select(VOUCHERS.c.body)).scalar_one()
        connection.execute(sa.update(VOUCHERS).values(body=body + b"x"))

    outcomes = await asyncio.gather(*(database.write(grow) for _ in range(12)), return_exceptions=True)
    body = await database.read(lambda connection: connection.execute(sa.select(VOUCHERS.c.body)).scalar_one())
    assert len(body) == outcomes.count(None)
    assert all(outcome is None or isinstance(outcome, StorageUnavailable) for outcome in outcomes)


async def test_a_query_cannot_write(database: Database) -> None:
    with pytest.raises((sa.exc.DBAPIError, StorageUnavailable)):
        await database.read(voucher(1))
    assert await database.read(guids) == []


async def test_a_query_sees_one_snapshot(database: Database) -> None:
    loop = asyncio.get_running_loop()
    started = asyncio.Event()
    written = threading.Event()

    def twice(connection: sa.Connection) -> tuple[list[str], list[str]]:
        before = guids(connection)
        loop.call_soon_threadsafe(started.set)
        assert written.wait(10)
        return before, guids(connection)

    reading = asyncio.create_task(database.read(twice))
    await started.wait()
    await database.write(voucher(1))
    written.set()
    assert await reading == ([], [])


async def test_listeners_hear_of_commits_while_they_listen(database: Database) -> None:
    heard = asyncio.Event()
    with database.listening(heard.set):
        await database.write(voucher(1))
        await asyncio.wait_for(heard.wait(), 5)
    heard.clear()
    await database.write(voucher(2))
    assert not heard.is_set()


async def test_a_sound_database_passes_its_check(database: Database) -> None:
    await database.check()


async def test_a_closed_database_says_so(url: str) -> None:
    async with opened(url) as database:
        pass
    with pytest.raises(StorageUnavailable, match="closed"):
        await database.write(voucher(1))
    with pytest.raises(StorageUnavailable, match="closed"):
        await database.read(guids)


async def test_a_unit_that_nobody_waits_for_is_written_before_long(database: Database) -> None:
    async with asyncio.timeout(10):
        assert await database.write_soon(lambda connection: voucher(1)(connection) or 7) == 7
    assert await database.read(guids) == [guid(1)]


async def test_a_unit_that_nobody_waits_for_fails_alone(database: Database) -> None:
    await database.write(voucher(1))
    failing, sound = database.write_soon(voucher(1)), database.write_soon(voucher(2))
    await database.write(voucher(3))
    with pytest.raises(sa.exc.IntegrityError):
        await failing
    await sound
    assert await database.read(guids) == [guid(1), guid(2), guid(3)]


async def test_a_unit_runs_after_the_one_that_it_names(database: Database) -> None:
    for number in range(10):
        first = database.write_soon(voucher(number))
        assert guid(number) in await database.write(guids, after=first)


async def test_a_unit_raises_what_the_one_before_it_raised(database: Database) -> None:
    await database.write(voucher(1))
    with pytest.raises(sa.exc.IntegrityError):
        await database.write(voucher(2), after=database.write_soon(voucher(1)))

    def fails(connection: sa.Connection) -> None:
        raise LookupError("no such owner")

    with pytest.raises(sa.exc.IntegrityError):
        await database.write(fails, after=database.write_soon(voucher(1)))
    with pytest.raises(LookupError):
        await database.write(fails, after=database.write_soon(voucher(3)))


async def test_closing_finishes_the_units_that_nobody_waits_for(url: str) -> None:
    async with opened(url) as database:
        writing = [database.write_soon(voucher(number)) for number in range(5)]
    await asyncio.gather(*writing)
    async with opened(url) as database:
        assert len(await database.read(guids)) == 5


async def test_closing_finishes_the_units_already_handed_in(url: str) -> None:
    async with opened(url) as database:
        writing = [asyncio.create_task(database.write(voucher(number))) for number in range(20)]
        await asyncio.sleep(0)
    await asyncio.gather(*writing)
    async with opened(url) as database:
        assert len(await database.read(guids)) == 20


async def test_a_cancelled_caller_harms_nobody(database: Database) -> None:
    cancelled = asyncio.create_task(database.write(voucher(1)))
    await asyncio.sleep(0)
    cancelled.cancel()
    await database.write(voucher(2))
    assert guid(2) in await database.read(guids)


async def test_only_one_holds_a_lock_at_a_time(url: str) -> None:
    async with opened(url) as first, opened(url) as second:
        async with first.alone("relay") as mine, second.alone("relay") as also_mine, second.alone("other") as other:
            assert (mine, also_mine, other) == (True, False, True)
        async with second.alone("relay") as mine:
            assert mine


async def test_a_lock_is_free_after_its_taker_was_cancelled(database: Database) -> None:
    async def take() -> None:
        async with database.alone("relay"):
            await asyncio.sleep(60)

    for delay in (0, 0.001, 0.005, 0.05):
        taker = asyncio.create_task(take())
        await asyncio.sleep(delay)
        taker.cancel()
        await asyncio.gather(taker, return_exceptions=True)
        async with database.alone("relay") as mine:
            assert mine


async def test_pages_follow_one_another_without_gap_or_repetition(database: Database) -> None:
    for number in range(7):
        await database.write(voucher(number))

    for newest_first in (False, True):

        def next_page(after: str | None, connection: sa.Connection, newest_first: bool = newest_first) -> Page:
            by = (VOUCHERS.c.serial, VOUCHERS.c.guid)
            return page(connection, sa.select(VOUCHERS), by=by, after=after, limit=3, newest_first=newest_first)

        found = await database.read(partial(next_page, None))
        seen = [row.guid for row in found.rows]
        while found.next is not None:
            found = await database.read(partial(next_page, found.next))
            seen += [row.guid for row in found.rows]
        assert seen == sorted((guid(number) for number in range(7)), reverse=newest_first)


@pytest.mark.parametrize("cursor", ["", "%%%", "AAAA", "WzFd", "WyJhIl0", "WyJhIiwxXQ", "é"])
async def test_a_cursor_of_strange_origin_is_refused(database: Database, cursor: str) -> None:
    with pytest.raises(CursorInvalid):
        await database.read(
            lambda connection: page(
                connection, sa.select(VOUCHERS), by=(VOUCHERS.c.serial, VOUCHERS.c.guid), after=cursor
            )
        )


@pytest.mark.parametrize("url", ["", "nonsense", "mysql://host/name", "sqlite://"])
async def test_a_url_of_no_use_is_refused(url: str, tmp_path: Path) -> None:
    with pytest.raises(LocationInvalid):
        await Database.open(url, tmp_path)
