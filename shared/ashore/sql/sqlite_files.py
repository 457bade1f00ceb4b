"""How SQLite files are opened, and what the driver's errors mean to people.

Connections leave transactions to their user: the driver is in autocommit, and SQLAlchemy believes in one endless
transaction, which costs nothing. A unit that would commit or roll back is refused, since its batch is shared.
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple, cast

from sqlalchemy import URL, Engine, create_engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from ashore.sql.errors import LocationInvalid, StorageUnavailable, ValueImpossible
from ashore.sql.prepared import DRIVER

BUSY_SECONDS = 5.0
WAL_LIMIT = 64 * 1024 * 1024  # What the log file shrinks to after a burst; it would keep its largest size for ever.

_MEANING = {
    sqlite3.SQLITE_FULL: "is on a full disk: free some space, then writing resumes by itself",
    sqlite3.SQLITE_IOERR: "cannot be read or written: check the disk, its quota and the mount",
    sqlite3.SQLITE_BUSY: "is locked by another program: close what holds it open (a backup, a database shell)",
    sqlite3.SQLITE_LOCKED: "is locked by another program: close what holds it open (a backup, a database shell)",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened: check that its folder exists and belongs to this user",
    sqlite3.SQLITE_PERM: "cannot be opened: check its owner and mode",
    sqlite3.SQLITE_READONLY: "cannot be written: check its owner and mode, and that a query does not try to write",
    sqlite3.SQLITE_CORRUPT: "is damaged: stop the service and restore a backup",
    sqlite3.SQLITE_NOTADB: "is not an SQLite database, or damaged: check the URL, or restore a backup",
    sqlite3.SQLITE_NOMEM: "cannot be used for want of memory: give the service more",
}


class UnitConnection(sqlite3.Connection):
    """A driver connection whose transaction only its owner ends, by SQL."""

    def commit(self) -> None:
        """Refuse within a transaction."""
        self._refuse()

    def rollback(self) -> None:
        """Refuse within a transaction."""
        self._refuse()

    def _refuse(self) -> None:
        if self.in_transaction:
            raise sqlite3.ProgrammingError("a unit of work must neither commit nor roll back: raise to undo it")


class Line:
    """A connection held for good, inside the transaction that SQLAlchemy is to believe in."""

    def __init__(self, engine: Engine) -> None:
        connection = engine.connect()
        self.driver = cast("UnitConnection", connection.connection.dbapi_connection)
        self.connection = connection.execution_options(**{DRIVER: self.driver})
        self._belief = self.connection.begin()

    @property
    def intact(self) -> bool:
        """Whether a unit has left SQLAlchemy's transaction as it found it."""
        connection = self.connection
        return (
            self._belief.is_active
            and connection.get_transaction() is self._belief
            and not connection.in_nested_transaction()
        )

    def roll_back(self) -> None:
        """End the real transaction, if there is one."""
        if self.driver.in_transaction:
            self.driver.execute("ROLLBACK")

    def close(self) -> None:
        """Close the connection."""
        self.roll_back()
        self.connection.close()


class Identity(NamedTuple):
    """Which file it is, whatever stands at its path by now."""

    device: int
    inode: int

    @classmethod
    def of(cls, path: Path) -> "Identity":
        """Look at the path; raises StorageUnavailable when nothing is there."""
        try:
            status = path.stat()
        except OSError as error:
            raise StorageUnavailable(
                f"{path} is gone ({error.strerror}): restore it and restart the service"
            ) from error
        return cls(status.st_dev, status.st_ino)

    def verify(self, path: Path) -> None:
        """Raise StorageUnavailable unless the file is still there: what is written to a removed one is lost."""
        if Identity.of(path) != self:
            raise StorageUnavailable(f"{path} was replaced while in use: restart the service")


def open_file(url: URL) -> Path:
    """Make the file and its folder, readable by their owner alone."""
    if not url.database or url.database == ":memory:":
        raise LocationInvalid("the database URL names no file: use sqlite:///relative.db or sqlite:////absolute.db")
    path = Path(url.database).absolute()
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
        if path.stat().st_mode & 0o077:
            path.chmod(0o600)
    except OSError as error:
        raise StorageUnavailable(f"{path} cannot be opened ({error.strerror}): check its folder and owner") from error
    return path


def engine(path: Path, *, read_only: bool = False, foreign_keys: bool = True, patience: float = BUSY_SECONDS) -> Engine:
    """Make an engine which opens this one file; `patience` is how long a statement waits for another program, s.

    What runs in the event loop must not wait so, but come again.
    """
    creator = partial(_open, path, read_only=read_only, foreign_keys=foreign_keys, patience=patience)
    # Named parameters are what `ashore.sql.prepared` hands to the driver.
    return create_engine("sqlite://", creator=creator, paramstyle="named", poolclass=NullPool, hide_parameters=True)


def _open(path: Path, *, read_only: bool, foreign_keys: bool, patience: float) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"{path.as_uri()}?mode={'ro' if read_only else 'rw'}",
        uri=True,
        timeout=patience,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=256,
        factory=UnitConnection,
    )
    connection.execute(f"PRAGMA foreign_keys = {'ON' if foreign_keys else 'OFF'}")
    if read_only:
        connection.execute("PRAGMA query_only = ON")
    else:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA journal_size_limit = {WAL_LIMIT}")
    return connection


def explain(error: BaseException, path: Path) -> BaseException:
    """Turn trouble of the storage into StorageUnavailable; any other error stays as it is."""
    origin = error.orig if isinstance(error, DBAPIError) else error
    # The low byte of an extended code is the primary one: SQLITE_IOERR_WRITE is an SQLITE_IOERR.
    meaning = _MEANING.get((getattr(origin, "sqlite_errorcode", None) or 0) & 0xFF)
    if meaning is None:
        return error
    told = StorageUnavailable(f"{path} {meaning} ({origin})")
    told.__cause__ = error
    return told


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Raise trouble of the storage as StorageUnavailable, and a number beyond 64 bits as ValueImpossible."""
    try:
        yield
    except OverflowError as error:
        raise ValueImpossible(f"the database cannot hold such a value: {error}") from error
    except (DBAPIError, sqlite3.Error) as error:
        told = explain(error, path)
        if told is error:
            raise
        raise told from error
