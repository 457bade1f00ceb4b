"""The one thread that writes an SQLite file, with group commit.

It runs the units that `ashore.sql.batching` has gathered in one BEGIN IMMEDIATE, and pays for one COMMIT, that is one
fsync. The callers hear of it after that COMMIT, all in one call into the event loop.
"""

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar, cast

from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from ashore.sql.batching import Batches
from ashore.sql.database import call
from ashore.sql.errors import StorageUnavailable
from ashore.sql.lane import Job, Outcome
from ashore.sql.sqlite_files import Identity, Line, engine, explain

T = TypeVar("T")
Batch = list[Job]


class BatchBroken(Exception):  # noqa: N818 - never leaves this module
    """The transaction of the whole batch is of no use any more, through the fault of one unit."""


class Writer:
    """The one thread that writes. `units` and `commits` count what it did."""

    def __init__(self, path: Path, loop: asyncio.AbstractEventLoop, committed: Callable[[], None]) -> None:
        self.units = 0
        self.commits = 0
        self.failing = False
        self._path = path
        self._loop = loop
        self._committed = committed
        self._closed = False
        self._queue: queue.SimpleQueue[Batch | None] = queue.SimpleQueue()
        self._batches = Batches(loop, self._queue.put)
        self._engine = engine(path)
        self._identity = Identity.of(path)
        self._line: Line | None = None
        self._thread = threading.Thread(target=self._run, name="sql-writer", daemon=True)
        self._thread.start()

    def submit(self, unit: Callable[[Connection], T], *, soon: bool = False) -> asyncio.Future[T]:
        """Queue a unit; its future is resolved after the COMMIT."""
        if self._closed:
            raise StorageUnavailable(f"{self._path} is closed: the service is stopping")
        return self._batches.add(unit, soon=soon)

    def verify(self) -> None:
        """Raise StorageUnavailable unless the file that is open is the one at the path."""
        self._identity.verify(self._path)

    async def close(self) -> None:
        """Commit what is queued, then end the thread."""
        if not self._closed:
            self._closed = True
            self._batches.flush()
            self._queue.put(None)
        await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        while (batch := self._queue.get()) is not None:
            outcomes = self._process([job for job in batch if not job.future.cancelled()])
            try:
                self._loop.call_soon_threadsafe(self._resolve, outcomes)
            except RuntimeError:
                # The loop was closed without closing the database: nobody is left who could hear it.
                break
        self._hang_up()

    def _resolve(self, outcomes: list[Outcome]) -> None:
        self._batches.came_back(outcomes)
        self._committed()

    def _process(self, batch: Batch) -> list[Outcome]:
        try:
            return self._settle(batch) if batch else []
        except Exception as error:  # noqa: BLE001 - whatever it is, the callers must hear of it and the thread live on
            self._abandon()
            self.failing = True
            return [Outcome(job.future, None, self._unavailable(error)) for job in batch]

    def _settle(self, batch: Batch) -> list[Outcome]:
        """Run a batch so that only a guilty unit fails: bare, else in savepoints, else each in its own transaction."""
        blamed: Exception
        for guarded in (False, True) if len(batch) > 1 else (False,):
            try:
                return self._transact(batch, guarded=guarded)
            except (BatchBroken, sqlite3.IntegrityError) as error:
                # A unit has raised, or spoilt the transaction of all: SQLite rolls back by itself when the disk is
                # full, and a deferred constraint fails at COMMIT.
                self._abandon()
                blamed = error
        if len(batch) == 1:
            return [Outcome(batch[0].future, None, self._blame(blamed))]
        return [outcome for job in batch for outcome in self._process([job])]

    def _transact(self, batch: Batch, *, guarded: bool = False) -> list[Outcome]:
        self.verify()
        if self._line is None:
            self._line = Line(self._engine)
        line = self._line
        # Only the rare batch in which a unit fails pays for savepoints: two statements for each unit.
        attempt = self._guarded if guarded else self._bare
        line.driver.execute("BEGIN IMMEDIATE")
        outcomes = [attempt(job, line) for job in batch]
        line.driver.execute("COMMIT")
        self.commits += 1
        self.units += len(batch)
        self.failing = False
        return outcomes

    def _bare(self, job: Job, line: Line) -> Outcome:
        try:
            result = call(job.work, line.connection)
        except BaseException as error:
            raise BatchBroken from error
        if not (line.intact and line.driver.in_transaction):
            raise BatchBroken from RuntimeError("a unit of work must leave the transaction as it found it")
        return Outcome(job.future, result, None)

    def _guarded(self, job: Job, line: Line) -> Outcome:
        execute = line.driver.execute
        execute("SAVEPOINT unit")
        try:
            outcome = self._bare(job, line)
        except BatchBroken as error:
            if not (line.intact and line.driver.in_transaction):
                raise
            execute("ROLLBACK TO unit")
            outcome = Outcome(job.future, None, self._blame(error))
        execute("RELEASE unit")
        return outcome

    def _blame(self, error: BaseException) -> BaseException:
        """Say what the caller of a failed unit should hear."""
        match error:
            case BatchBroken(__cause__=BaseException() as cause):
                return self._blame(cause)
            case sqlite3.IntegrityError():
                return IntegrityError(None, None, error)
            case _:
                told = explain(error, self._path)
                self.failing = self.failing or told is not error
                return told

    def _unavailable(self, error: Exception) -> StorageUnavailable:
        told = explain(error, self._path)
        # Every caller gets an exception of its own, because each adds its own traceback to it.
        return StorageUnavailable(str(told)) if told is error else cast("StorageUnavailable", told)

    def _abandon(self) -> None:
        """Undo the batch; a connection that a unit left in disorder is made anew."""
        try:
            if self._line is not None:
                self._line.roll_back()
                if not self._line.intact:
                    self._hang_up()
        except (sqlite3.Error, SQLAlchemyError):
            # The disk is failing. SQLite ends the transaction by itself, and a new connection tells what is wrong.
            self.failing = True
            self._line = None

    def _hang_up(self) -> None:
        if self._line is not None:
            self._line.close()
            self._line = None
