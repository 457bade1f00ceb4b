"""`python -m ashore.sql.migrate`: apply the migrations of one database, in a process that ends afterwards.

`ashore.sql.migrations` starts it, gives the order on standard input, and reads from standard output what went wrong;
only this module imports Alembic. There is no `alembic.ini` and no `env.py` beside the version files, the one in
`environment/` serves all. Processes that migrate at once wait for each other, by SQLite's write lock or an advisory
lock on PostgreSQL, and look again when they have it. All migrations are applied, or none.
"""

import contextlib
import sys
import threading
import traceback
from pathlib import Path

import msgspec
from alembic import command
from alembic.config import Config
from sqlalchemy import URL, Connection, NullPool, create_engine, make_url, text
from sqlalchemy.exc import DBAPIError

from ashore.sql import sqlite_files
from ashore.sql.errors import MigrationFailed, SchemaUnknown, StorageError
from ashore.sql.migrations import Order, Refusal, current, head, is_behind, revisions

_LOCK = text("SELECT pg_advisory_xact_lock(hashtextextended('ashore-migrations ' || current_schema(), 0))")

# Alembic keeps its context in a global, which two databases opened at once in one process would take from each other.
_alembic = threading.Lock()


def main() -> int:
    """Carry out the order on standard input; the answer is the exit code."""
    order = msgspec.json.decode(sys.stdin.buffer.read(), type=Order)
    try:
        # What a migration prints would be taken for the answer.
        with contextlib.redirect_stdout(sys.stderr):
            migrate(order)
    except StorageError as error:
        traceback.print_exception(error)
        sys.stdout.buffer.write(msgspec.json.encode(Refusal(type(error).__name__, str(error))))
        return 1
    return 0


def migrate(order: Order) -> None:
    """Bring the database to its newest revision; raises StorageError."""
    url, versions = make_url(order.url), Path(order.versions)
    if url.get_backend_name() == "sqlite":
        _migrate_sqlite(Path(url.database or ""), versions)
    else:
        _migrate_postgresql(url, versions)


def _migrate_sqlite(path: Path, versions: Path) -> None:
    # Foreign keys are off, because SQLite alters a table by making it anew.
    engine = sqlite_files.engine(path, foreign_keys=False)
    with sqlite_files.explained(path), engine.connect() as connection:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        try:
            if is_behind(connection, versions):
                _run(connection, versions)
                _check_references(connection)
        except BaseException:
            connection.exec_driver_sql("ROLLBACK")
            raise
        connection.exec_driver_sql("COMMIT")


def _migrate_postgresql(url: URL, versions: Path) -> None:
    from ashore.sql import postgresql  # noqa: PLC0415 - psycopg is installed only where it is used

    # Another isolation level would keep the snapshot from before the lock, where the other replica's work is not seen.
    engine = create_engine(url, isolation_level="READ COMMITTED", hide_parameters=True, poolclass=NullPool)
    try:
        with engine.connect() as connection:
            connection.execute(text("SET LOCAL statement_timeout = 0"))
            connection.execute(text("SET LOCAL lock_timeout = 0"))
            connection.execute(_LOCK)
            if is_behind(connection, versions):
                _run(connection, versions)
            connection.commit()
    except DBAPIError as error:
        told = postgresql.explain(error, postgresql.where(url))
        if told is error:
            raise
        raise told from error


def _run(connection: Connection, versions: Path) -> None:
    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", _escaped(Path(__file__).parent / "environment"))
    config.set_main_option("path_separator", "newline")
    config.set_main_option("version_locations", _escaped(versions))
    begun = current(connection)
    try:
        with _alembic:
            command.upgrade(config, "head")
    except DBAPIError as error:
        raise _failed(begun, versions, error.orig or error) from error
    except Exception as error:
        raise _failed(begun, versions, error) from error


def _failed(begun: str | None, versions: Path, error: BaseException) -> MigrationFailed:
    way = f"from {begun or 'nothing'} to {head(revisions(versions))}"
    reason = str(error).strip().partition("\n")[0] or type(error).__name__
    return MigrationFailed(
        f"the migration of the database {way} failed and nothing was changed ({reason}): "
        "start the release that ran before, and report this one"
    )


def _escaped(path: Path) -> str:
    """Write a path as an option: the parser behind them expands `%`."""
    return str(path).replace("%", "%%")


def _check_references(connection: Connection) -> None:
    broken = connection.exec_driver_sql("PRAGMA foreign_key_check").first()
    if broken is not None:
        raise SchemaUnknown(f"a migration left rows of {broken[0]} which refer to nothing: nothing was changed")


if __name__ == "__main__":
    sys.exit(main())
