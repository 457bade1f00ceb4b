"""Opening brings a schema up to date: once, whole, and without Alembic in the memory of whoever opens."""

import asyncio
import os
import shutil
import sqlite3
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from ashore.sql import Database, LocationInvalid, MigrationFailed, SchemaUnknown
from tests.contract.sql_fixtures import MIGRATIONS, POSTGRESQL_URL, fresh_url, guid, guids, opened, voucher
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
    with pytest.raises(MigrationFailed, match=r"from nothing to 0003 failed and nothing was changed \(.*no_such_table"):
        await Database.open(url, migrations)
    (migrations / "0003_broken.py").unlink()
    database = await Database.open(url, migrations)
    assert await database.read(tables) == {"alembic_version", "outbox", "owners", "vouchers"}
    await database.close()


OPEN = """
import asyncio, sys
from ashore.sql import Database, StorageError

async def main():
    try:
        database = await Database.open(*sys.argv[1:])
    except StorageError as error:
        print(type(error).__name__, error)
    else:
        print("alembic" in sys.modules)
        await database.close()

asyncio.run(main())
"""


async def open_in_a_process(url: str, migrations: Path = MIGRATIONS, **variables: str) -> str:
    """What came of it: whether Alembic is in the memory of a process that has opened the database, or the error."""
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", OPEN, url, migrations),
        env={**os.environ, **variables},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await child.communicate()
    assert (child.returncode, errors.decode()) == (0, "")
    return output.decode().strip()


async def test_replicas_that_start_together_migrate_once(url: str) -> None:
    assert set(await asyncio.gather(*(open_in_a_process(url) for _ in range(3)))) == {"False"}
    async with opened(url) as database:
        assert await database.read(guids) == []


async def test_opening_leaves_no_alembic_in_memory_even_where_it_makes_the_schema(url: str) -> None:
    assert await open_in_a_process(url) == "False"
    async with opened(url) as database:
        assert "owners" in await database.read(tables)


async def test_a_migration_that_fails_in_its_own_process_is_told_like_any_other(url: str, migrations: Path) -> None:
    async with opened(url):
        pass
    (migrations / "0003_broken.py").write_text(f"print('not an answer')\n{BROKEN}")
    said = await open_in_a_process(url, migrations)
    assert said.startswith("MigrationFailed the migration of the database from 0002 to 0003 failed")
    assert "no_such_table" in said
    assert "\n" not in said


async def test_a_migration_whose_process_dies_is_told(url: str, migrations: Path) -> None:
    (migrations / "0003_deadly.py").write_text(f"import os, sys\nprint('alas', file=sys.stderr)\nos._exit(9)\n{BROKEN}")
    said = await open_in_a_process(url, migrations)
    assert said == ("MigrationFailed the database was not migrated, its process ended with code 9 and said last: alas")
    assert await open_in_a_process(url) == "False"


async def test_a_file_that_is_locked_while_it_shall_be_migrated_is_told(tmp_path: Path) -> None:
    path = tmp_path / "test.db"
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("PRAGMA journal_mode = WAL")
    holder.execute("BEGIN IMMEDIATE")
    said = await open_in_a_process(f"sqlite:///{path}")
    holder.close()
    assert said.startswith(f"StorageUnavailable {path} is locked by another program")


CURIOUS = """
import os, pathlib
seen = [pathlib.Path(f"/proc/self/{name}").read_text() for name in ("cmdline", "environ")]
pathlib.Path(os.environ["CURIOUS"]).write_text(str(os.getpid()) + "".join(seen))
revision = "0003"
down_revision = "0002"
def upgrade():
    pass
"""


@pytest.mark.skipif(POSTGRESQL_URL is None, reason="no PostgreSQL: set ASHORE_TEST_POSTGRESQL_URL")
async def test_the_password_of_a_database_is_not_seen_among_the_processes(tmp_path: Path, migrations: Path) -> None:
    (migrations / "0003_curious.py").write_text(CURIOUS)
    seen = tmp_path / "seen"
    async with fresh_url("postgresql", tmp_path) as url:
        private = sa.make_url(url).set(password="o-so-secret").render_as_string(hide_password=False)
        assert await open_in_a_process(private, migrations, CURIOUS=str(seen)) == "False"
    assert "ashore.sql.migrate" in seen.read_text()
    assert "o-so-secret" not in seen.read_text()


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
