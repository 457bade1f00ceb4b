"""Bring a schema to the newest migration; where there is something to do, a child process does it.

A service keeps its version files in one flat folder, `migrations/0001_vouchers.py` and so on. Which revision is the
newest is read from the files' text, and the database is asked for its own, so that a service never holds Alembic: that
is 10 MB, which Python would not give back. The child, `python -m ashore.sql.migrate`, gets its order on standard input,
since a database URL may hold a password, which the process list must not show. Here is also what it answers with.
"""

import os
import re
import subprocess
import sys
from importlib.resources import files
from pathlib import Path
from typing import Final

import msgspec
from sqlalchemy import URL, Connection, Engine, inspect, text

from ashore.sql import errors
from ashore.sql.errors import LocationInvalid, MigrationFailed, SchemaUnknown, StorageError

_FILE: Final = text("SELECT file FROM pragma_database_list WHERE name = 'main'")
_PROGRAM: Final = "ashore.sql.migrate"

_LINE = r"^{}(?:\s*:[^=\n]+)?\s*=\s*(?:[\"']([\w-]+)[\"']|None)\s*(?:#.*)?$"
_REVISION = re.compile(_LINE.format("revision"), re.MULTILINE)
_DOWN_REVISION = re.compile(_LINE.format("down_revision"), re.MULTILINE)
_IN_PACKAGE = re.compile(r"([\w.]+):(.+)")


class Order(msgspec.Struct, frozen=True):
    """What the child is told: a database, and the folder of its version files."""

    url: str
    versions: str


class Refusal(msgspec.Struct, frozen=True):
    """What the child tells when it fails: which of the errors of `ashore.sql`, and its text."""

    kind: str
    text: str


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


def is_behind(connection: Connection, versions: Path) -> bool:
    """Compare a database with the newest revision; raises SchemaUnknown if it was made by a newer release."""
    known = revisions(versions)
    has = current(connection)
    if has is not None and has not in known:
        raise SchemaUnknown(
            f"the database has revision {has}, which this release does not know: start the release that made it, "
            "or restore the backup that belongs to this one"
        )
    return has != head(known)


def upgrade_sqlite(engine: Engine, location: str | os.PathLike[str]) -> None:
    """Migrate a file."""
    versions = folder(location)
    with engine.connect() as connection:
        if not is_behind(connection, versions):
            return
        file = connection.execute(_FILE).scalar_one()
    _migrate(URL.create("sqlite", database=file), versions)


def upgrade_postgresql(engine: Engine, location: str | os.PathLike[str]) -> None:
    """Migrate a schema on a server."""
    versions = folder(location)
    with engine.connect() as connection:
        behind = is_behind(connection, versions)
    if behind:
        _migrate(engine.url, versions)


def _migrate(url: URL, versions: Path) -> None:
    order = Order(url.render_as_string(hide_password=False), str(versions.absolute()))
    if "alembic" in sys.modules:
        # Whoever holds Alembic anyway, as our tests do, need not wait for a child to import it.
        from ashore.sql.migrate import migrate  # noqa: PLC0415 - it imports Alembic

        migrate(order)
        return
    # In a session of its own, so that Ctrl-C does not interrupt it: it ends by itself, and its parent waits.
    child = subprocess.run(  # noqa: S603 - the arguments are our own
        [sys.executable, "-m", _PROGRAM],
        input=msgspec.json.encode(order),
        capture_output=True,
        check=False,
        start_new_session=True,
    )
    if child.returncode:
        raise _refusal(child)


def _refusal(child: subprocess.CompletedProcess[bytes]) -> StorageError:
    """The error that the child met, as if it had been met here; its traceback is a note to it."""
    said = child.stderr.decode("utf-8", "replace").strip()
    try:
        told = msgspec.json.decode(child.stdout, type=Refusal)
    except msgspec.DecodeError:
        last = said.rpartition("\n")[2] or "nothing"
        reason = f"its process ended with code {child.returncode} and said last: {last}"
        told = Refusal(MigrationFailed.__name__, f"the database was not migrated, {reason}")
    kind = getattr(errors, told.kind, MigrationFailed)
    error: StorageError = kind(told.text)
    if said:
        error.add_note(said)
    return error
