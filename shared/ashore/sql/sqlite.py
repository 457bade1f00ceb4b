"""SQLite: a writer with group commit (`ashore.sql.sqlite_writer`), look-ups, and two threads for longer queries.

WAL lets the readers go on beside the writer; synchronous=FULL makes what was acknowledged survive a power cut. How
files are opened, and what the driver's errors mean, is in `ashore.sql.sqlite_files`.
"""

import asyncio
import fcntl
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import URL, Connection, text

from ashore.sql import migrations as schema
from ashore.sql.database import Database, call
from ashore.sql.errors import StorageUnavailable
from ashore.sql.lane import Lane
from ashore.sql.sqlite_files import Line, engine, explained, open_file
from ashore.sql.sqlite_writer import Writer

T = TypeVar("T")

# A thread that reads lets go of the interpreter with every statement, and must get it back from an event loop that may
# be busy. When units of work still ran so, a batch of 16 took 0.5 to 3.5 s with the usual 5 ms, 7 to 20 ms with 0.5 ms.
SWITCH_SECONDS = 0.0005


class Readers:
    """Two threads which read. The second one works only while the first is stuck in a long query."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._engine = engine(path, read_only=True)
        self._idle: list[Line] = []
        self._closed = False
        self._first = Lane("sql-reader-1")
        self._second = Lane("sql-reader-2")

    def submit(self, query: Callable[[Connection], T]) -> asyncio.Future[T]:
        """Run a query in a thread."""
        if self._closed:
            raise StorageUnavailable(f"{self._path} is closed: the service is stopping")
        lane = self._second if self._first.stuck else self._first
        return lane.submit(partial(self._run, query))

    def _run(self, query: Callable[[Connection], T]) -> T:
        with explained(self._path):
            line = self._idle.pop() if self._idle else Line(self._engine)
            try:
                line.driver.execute("BEGIN")
                return call(query, line.connection)
            finally:
                line.roll_back()
                self._idle.append(line)

    async def close(self) -> None:
        """Let running queries end, then close the connections."""
        self._closed = True
        await self._first.close()
        await self._second.close()
        while self._idle:
            self._idle.pop().close()


class SqliteDatabase(Database):
    """A database in one file, for one machine."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.writer = Writer(path, asyncio.get_running_loop(), self._notify)
        self._path = path
        self._readers = Readers(path)
        self._look_ups = Line(engine(path, read_only=True, patience=0))

    @classmethod
    async def start(cls, url: URL, migrations: str | os.PathLike[str]) -> "SqliteDatabase":
        """Make the file if need be, migrate it and start the threads."""
        path = open_file(url)
        sys.setswitchinterval(min(sys.getswitchinterval(), SWITCH_SECONDS))
        with explained(path):
            await asyncio.to_thread(schema.upgrade_sqlite, engine(path, foreign_keys=False), migrations)
            return cls(path)

    async def write(self, unit: Callable[[Connection], T], *, after: asyncio.Future[Any] | None = None) -> T:
        """Run a unit of work, sharing its COMMIT with the units that wait beside it."""
        # The queue keeps the order, so `after` need not be over before this one is in it: both may share a COMMIT.
        written = self.writer.submit(unit)
        try:
            return await written
        finally:
            if after is not None:
                await after

    def write_soon(self, unit: Callable[[Connection], T]) -> asyncio.Future[T]:
        """Run a unit of work together with the next one that somebody waits for."""
        return self.writer.submit(unit, soon=True)

    async def read(self, query: Callable[[Connection], T]) -> T:
        """Run a read-only query beside the writer."""
        return await self._readers.submit(query)

    async def look_up(self, query: Callable[[Connection], T]) -> T:
        """Run a query of a few microseconds where we are: to a thread and back it would cost twenty times as much."""
        with explained(self._path):
            return call(query, self._look_ups.connection)

    async def check(self) -> None:
        """Read; and after a failed COMMIT also write, to learn whether the trouble has passed."""
        self.writer.verify()
        await self._readers.submit(_probe)
        if self.writer.failing:
            await self.writer.submit(_probe_writing)

    async def close(self) -> None:
        """Commit what is queued and close the file."""
        await self.writer.close()
        await self._readers.close()
        self._look_ups.close()

    @asynccontextmanager
    async def alone(self, name: str) -> AsyncIterator[bool]:
        """Hold a lock file beside the database; the kernel frees it when the process dies."""
        descriptor = _lock_file(f"{self._path}-{name}.lock")
        try:
            yield _try_lock(descriptor)
        finally:
            os.close(descriptor)


def _lock_file(path: str) -> int:
    try:
        return os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StorageUnavailable(f"{path} cannot be opened ({error.strerror}): check its folder and owner") from error


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _probe(connection: Connection) -> None:
    connection.execute(text("SELECT 1"))


def _probe_writing(connection: Connection) -> None:
    # Setting a number to itself still writes the page, which is what a full disk refuses.
    version = connection.execute(text("PRAGMA user_version")).scalar_one()
    connection.exec_driver_sql(f"PRAGMA user_version = {int(version)}")
