"""Opening brings a schema up to date: once, whole, and without Alembic where there is nothing to do."""

import asyncio
import shutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from ashore.sql import Database, LocationInvalid, SchemaUnknown
from tests.contract.sql_fixtures import MIGRATIONS, fresh_url, guid, guids, opened, voucher
from tests.contract.test_sql import KINDS

BROKEN = """
from alembic import op
import sqlalchemy as sa
revision = "0003"
down_revision = "0002"
def upgrade():
    op.create_table("batches", sa.Column("name", sa.Text))
    op.execute("INSERT INTO no_such_table VALUES (1)")
"""


@pytest.fixture(params=KINDS)
async def url(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[str]:
    async with fresh_url(request.param, tmp_path) as fresh:
        yield fresh


@pytest.fixture
def migrations(tmp_path: Path) -> Path:
    """A copy of the migrations that can be changed; its name would upset a careless configuration."""
    return Path(shutil.copytree(MIGRATIONS, tmp_path / "100 % of: them, all" / "migrations"))


def tables(connection: sa.Connection) -> set[str]:
    return set(sa.inspect(connection).get_table_names())


async def test_an_empty_database_gets_the_newest_schema(url: str, migrations: Path) -> None:
    database = await Database.open(url, migrations)
    assert await database.read(tables) == {"alembic_version", "outbox", "owners", "vouchers"}
    await database.close()


async def test_an_older_database_is_brought_forward_with_its_rows(url: str, migrations: Path) -> None:
    second = migrations / "0002_owners.py"
    later = second.rename(migrations.parent / second.name)
    database = await Database.open(url, migrations)
    assert "owners" not in await database.read(tables)
    await database.write(voucher(1))
    await database.close()
    later.rename(second)
    async with opened(url) as database:
        assert "owners" in await database.read(tables)
        assert await database.read(guids) == [guid(1)]


async def test_a_migration_that_fails_leaves_no_trace(url: str, migrations: Path) -> None:
    (migrations / "0003_broken.py").write_text(BROKEN)
    with pytest.raises(sa.exc.DBAPIError):
        await Database.open(url, migrations)
    (migrations / "0003_broken.py").unlink()
    database = await Database.open(url, migrations)
    assert await database.read(tables) == {"alembic_version", "outbox", "owners", "vouchers"}
    await database.close()


OPEN = """
import asyncio, sys
from tests.contract.sql_fixtures import opened

async def main():
    async with opened(sys.argv[1]):
        print("alembic" in sys.modules)

asyncio.run(main())
"""


async def open_in_a_process(url: str) -> bytes:
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", OPEN, url, stdout=asyncio.subprocess.PIPE)
    output, _ = await child.communicate()
    assert child.returncode == 0
    return output.strip()


async def test_replicas_that_start_together_migrate_once(url: str) -> None:
    outputs = await asyncio.gather(*(open_in_a_process(url) for _ in range(3)))
    assert set(outputs) <= {b"True", b"False"}
    async with opened(url) as database:
        assert await database.read(guids) == []


async def test_a_schema_that_is_up_to_date_costs_no_alembic(url: str) -> None:
    assert await open_in_a_process(url) == b"True"
    assert await open_in_a_process(url) == b"False"


async def test_databases_opened_at_once_in_one_process_get_their_own_schema(tmp_path: Path) -> None:
    urls = [f"sqlite:///{tmp_path}/{number}.db" for number in range(4)]
    databases = await asyncio.gather(*(Database.open(url, MIGRATIONS) for url in urls))
    for database in databases:
        assert "vouchers" in await database.read(tables)
        await database.close()


async def test_a_database_of_a_newer_release_is_refused(url: str, migrations: Path) -> None:
    async with opened(url):
        pass
    (migrations / "0002_owners.py").unlink()
    with pytest.raises(SchemaUnknown, match="0002"):
        await Database.open(url, migrations)


async def test_migrations_with_two_heads_are_refused(url: str, migrations: Path) -> None:
    (migrations / "0002_other.py").write_text('revision = "0002b"\ndown_revision = "0001"\n')
    with pytest.raises(SchemaUnknown, match="0002b"):
        await Database.open(url, migrations)


@pytest.mark.parametrize("location", ["/nowhere/at/all", "ashore.sql:nowhere", "no_such_package:migrations"])
async def test_a_missing_folder_of_migrations_is_told(tmp_path: Path, location: str) -> None:
    with pytest.raises(LocationInvalid, match="do not exist"):
        await Database.open(f"sqlite:///{tmp_path}/test.db", location)


async def test_migrations_are_found_inside_a_package(tmp_path: Path) -> None:
    database = await Database.open(f"sqlite:///{tmp_path}/test.db", "tests.contract:test_sql_migrations/migrations")
    assert "vouchers" in await database.read(tables)
    await database.close()
