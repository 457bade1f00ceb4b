"""Bring a schema to the newest migration, importing Alembic (13 MB) only when there is something to do.

A service keeps its version files in one flat folder, `migrations/0001_vouchers.py` and so on; there is no `alembic.ini`
and no `env.py` beside them, the one in `environment/` serves all. Which revision is the newest is read from the
files' text. Replicas that start together wait for each other: by an advisory lock on PostgreSQL, SQLite's write lock.
"""

import os
import re
import threading
from importlib.resources import files
from pathlib import Path

from sqlalchemy import Connection, Engine, inspect, text

from ashore.sql.errors import LocationInvalid, SchemaUnknown

_LINE = r"^{}(?:\s*:[^=\n]+)?\s*=\s*(?:[\"']([\w-]+)[\"']|None)\s*(?:#.*)?$"
_REVISION = re.compile(_LINE.format("revision"), re.MULTILINE)
_DOWN_REVISION = re.compile(_LINE.format("down_revision"), re.MULTILINE)
_IN_PACKAGE = re.compile(r"([\w.]+):(.+)")
_LOCK = text("SELECT pg_advisory_xact_lock(hashtextextended('ashore-migrations ' || current_schema(), 0))")

# Alembic keeps its context in a global, which two databases opened at once in one process would take from each other.
_alembic = threading.Lock()


def folder(location: str | os.PathLike[str]) -> Path:
    """Find the version files: a path, or `package:folder` inside an installed package."""
    within = _IN_PACKAGE.fullmatch(location) if isinstance(location, str) else None
    try:
        found = Path(str(files(within[1]) / within[2])) if within else Path(location)
    except ModuleNotFoundError as error:
        raise LocationInvalid(f"the migrations {location} do not exist: was the service installed whole?") from error
    if not found.is_dir():
        raise LocationInvalid(f"the migrations {found} do not exist: was the service installed whole?")
    return found


def revisions(versions: Path) -> dict[str, str | None]:
    """Read every revision with the one before it."""
    found: dict[str, str | None] = {}
    for file in sorted(versions.glob("*.py")):
        source = file.read_text("utf-8")
        revision = _REVISION.search(source)
        before = _DOWN_REVISION.search(source)
        if revision and before and revision[1]:
            found[revision[1]] = before[1]
    return found


def head(known: dict[str, str | None]) -> str | None:
    """Name the newest revision; None where there is none."""
    heads = known.keys() - set(known.values())
    if len(heads) > 1 or (known and not heads):
        raise SchemaUnknown(f"the migrations are not one line, their heads are {sorted(heads)}: give each one parent")
    return next(iter(heads), None)


def current(connection: Connection) -> str | None:
    """Read which revision the database has; None for an empty one."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def upgrade_sqlite(engine: Engine, location: str | os.PathLike[str]) -> None:
    """Migrate a file. Foreign keys must be off in it, because SQLite alters a table by making it anew."""
    versions = folder(location)
    with engine.connect() as connection:
        if not _behind(connection, versions):
            return
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        try:
            if _behind(connection, versions):
                _run(connection, versions)
                _check_references(connection)
        except BaseException:
            connection.exec_driver_sql("ROLLBACK")
            raise
        connection.exec_driver_sql("COMMIT")


def upgrade_postgresql(engine: Engine, location: str | os.PathLike[str]) -> None:
    """Migrate a schema on a server, one replica at a time and all or nothing."""
    versions = folder(location)
    # Another isolation level would keep the snapshot from before the lock, where the other replica's work is not seen.
    with engine.execution_options(isolation_level="READ COMMITTED").connect() as connection:
        if not _behind(connection, versions):
            return
        connection.rollback()
        connection.execute(text("SET LOCAL statement_timeout = 0"))
        connection.execute(text("SET LOCAL lock_timeout = 0"))
        connection.execute(_LOCK)
        if _behind(connection, versions):
            _run(connection, versions)
        connection.commit()


def _behind(connection: Connection, versions: Path) -> bool:
    known = revisions(versions)
    has = current(connection)
    if has is not None and has not in known:
        raise SchemaUnknown(
            f"the database has revision {has}, which this release does not know: start the release that made it, "
            "or restore the backup that belongs to this one"
        )
    return has != head(known)


def _run(connection: Connection, versions: Path) -> None:
    from alembic import command  # noqa: PLC0415 - 13 MB which only a schema that is behind is worth
    from alembic.config import Config  # noqa: PLC0415 - likewise

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", _escaped(Path(__file__).parent / "environment"))
    config.set_main_option("path_separator", "newline")
    config.set_main_option("version_locations", _escaped(versions))
    with _alembic:
        command.upgrade(config, "head")


def _escaped(path: Path) -> str:
    """Write a path as an option: the parser behind them expands `%`."""
    return str(path).replace("%", "%%")


def _check_references(connection: Connection) -> None:
    broken = connection.exec_driver_sql("PRAGMA foreign_key_check").first()
    if broken is not None:
        raise SchemaUnknown(f"a migration left rows of {broken[0]} which refer to nothing: nothing was changed")
