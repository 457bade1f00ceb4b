"""Prepared statements mean the same as Core's, on either database."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from ashore.sql import Database
from ashore.sql.prepared import Prepared, insertion
from tests.contract.sql_fixtures import OUTBOX, VOUCHERS, fresh_url, guid, opened, voucher
from tests.contract.test_sql import KINDS

INSERT = insertion(VOUCHERS)
GUID = VOUCHERS.c.guid == sa.bindparam("which")
FIND = Prepared(sa.select(VOUCHERS.c.serial, VOUCHERS.c.body).where(GUID))
RENAME = Prepared(sa.update(VOUCHERS).where(GUID, VOUCHERS.c.serial != "kept").values(serial="new", body=b"none"))
REMOVE = Prepared(sa.delete(VOUCHERS).where(VOUCHERS.c.serial == sa.bindparam("name")))


@pytest.fixture(params=KINDS)
async def database(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    async with fresh_url(request.param, tmp_path) as url, opened(url) as database:
        yield database


def row(number: int, serial: str) -> dict[str, object]:
    return {"guid": guid(number), "serial": serial, "body": b"\x00\xff"}


async def test_a_row_is_inserted_and_found(database: Database) -> None:
    await database.write(lambda connection: INSERT.change(connection, row(1, "one")))
    found = await database.read(lambda connection: FIND.first(connection, {"which": guid(1)}))
    assert found is not None
    assert tuple(found) == ("one", b"\x00\xff")
    assert await database.read(lambda connection: FIND.first(connection, {"which": guid(2)})) is None


async def test_constants_and_values_both_reach_the_statement(database: Database) -> None:
    await database.write(lambda connection: INSERT.change(connection, row(1, "one")))
    await database.write(lambda connection: INSERT.change(connection, row(2, "kept")))
    assert await database.write(lambda connection: RENAME.change(connection, {"which": guid(1)})) == 1
    assert await database.write(lambda connection: RENAME.change(connection, {"which": guid(2)})) == 0
    found = await database.read(lambda connection: FIND.first(connection, {"which": guid(1)}))
    assert found is not None
    assert tuple(found) == ("new", b"none")
    assert await database.write(lambda connection: REMOVE.change(connection, {"name": "new"})) == 1


async def test_an_insertion_leaves_out_the_columns_that_it_does_not_name(database: Database) -> None:
    some = insertion(OUTBOX, "id", "subject", "body", "created_at")
    values = {"id": guid(1), "subject": "a.b", "body": b"{}", "created_at": 1}
    await database.write(lambda connection: some.change(connection, values))
    assert await database.read(lambda connection: connection.execute(sa.select(OUTBOX.c.seq)).scalar_one()) > 0


async def test_a_key_taken_twice_reaches_its_caller_as_cores_error(database: Database) -> None:
    await database.write(voucher(1))
    with pytest.raises(sa.exc.IntegrityError) as raised:
        await database.write(lambda connection: INSERT.change(connection, row(1, "secret")))
    assert "secret" not in str(raised.value)


async def test_a_value_that_is_not_given_is_missed(database: Database) -> None:
    with pytest.raises(Exception, match=r"binding parameter :body|required for bind parameter 'body'"):
        await database.write(lambda connection: INSERT.change(connection, {"guid": guid(1), "serial": "one"}))


async def test_a_statement_whose_text_varies_is_refused_on_sqlite(tmp_path: Path) -> None:
    several = Prepared(sa.delete(VOUCHERS).where(VOUCHERS.c.guid.in_(sa.bindparam("which", expanding=True))))
    async with fresh_url("sqlite", tmp_path) as url, opened(url) as database:
        with pytest.raises(TypeError, match="no text of its own"):
            await database.write(lambda connection: several.change(connection, {"which": [guid(1)]}))
