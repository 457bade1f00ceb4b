"""The one thread that writes an SQLite file, with group commit.

It takes all units that are waiting, runs each in its own SAVEPOINT inside one BEGIN IMMEDIATE, and pays for one COMMIT,
that is one fsync. The callers hear of it after that COMMIT, all in one call into the event loop.
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

from ashore.sql.database import call
from ashore.sql.errors import StorageUnavailable
from ashore.sql.lane import Job, Outcome
from ashore.sql.sqlite_files import Identity, Line, engine, explain

T = TypeVar("T")

MAX_BATCH = 256  # Bounds how long the first unit of a batch waits for the last one: about 15 ms.


class BatchBroken(Exception):  # noqa: N818 - never leaves this module
    """The transaction of the whole batch is gone, through the fault of one unit."""


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
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._engine = engine(path)
        self._identity = Identity.of(path)
        self._line: Line | None = None
        self._thread = threading.Thread(target=self._run, name="sql-writer", daemon=True)
        self._thread.start()

    def submit(self, unit: Callable[[Connection], T]) -> asyncio.Future[T]:
        """Queue a unit; its future is resolved after the COMMIT."""
        if self._closed:
            raise StorageUnavailable(f"{self._path} is closed: the service is stopping")
        future: asyncio.Future[T] = self._loop.create_future()
        self._jobs.put(Job(unit, future))
        return future

    def verify(self) -> None:
        """Raise StorageUnavailable unless the file that is open is the one at the path."""
        self._identity.verify(self._path)

    async def close(self) -> None:
        """Commit what is queued, then end the thread."""
        if not self._closed:
            self._closed = True
            self._jobs.put(None)
        await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        stopping = False
        while not stopping:
            batch, stopping = self._next_batch()
            if batch:
                self._process(batch)
        self._hang_up()

    def _next_batch(self) -> tuple[list[Job], bool]:
        """Wait for a unit, then take all others that are there too; True when it was the last batch."""
        batch: list[Job] = []
        job = self._jobs.get()
        while job is not None:
            if not job.future.cancelled():
                batch.append(job)
            if len(batch) == MAX_BATCH or self._jobs.empty():
                return batch, False
            job = self._jobs.get()
        return batch, True

    def _process(self, batch: list[Job]) -> None:
        try:
            outcomes = self._transact(batch)
        except (BatchBroken, sqlite3.IntegrityError) as error:
            # One unit has spoilt the transaction of all (SQLite rolls back by itself when the disk is full, and a
            # deferred constraint fails at COMMIT). Each gets a transaction of its own, so only the guilty one fails.
            self._abandon()
            if len(batch) > 1:
                for job in batch:
                    self._process([job])
                return
            outcomes = [Outcome(batch[0].future, None, self._blame(error))]
        except Exception as error:  # noqa: BLE001 - whatever it is, the callers must hear of it and the thread live on
            self._abandon()
            self.failing = True
            outcomes = [Outcome(job.future, None, self._unavailable(error)) for job in batch]
        self._tell(outcomes)

    def _transact(self, batch: list[Job]) -> list[Outcome]:
        self.verify()
        if self._line is None:
            self._line = Line(self._engine)
        line = self._line
        line.driver.execute("BEGIN IMMEDIATE")
        outcomes = [self._attempt(job, line) for job in batch]
        line.driver.execute("COMMIT")
        self.commits += 1
        self.units += len(batch)
        self.failing = False
        return outcomes

    def _attempt(self, job: Job, line: Line) -> Outcome:
        execute = line.driver.execute
        execute("SAVEPOINT unit")
        try:
            result = call(job.work, line.connection)
        except BaseException as error:
            if not (line.intact and line.driver.in_transaction):
                raise BatchBroken from error
            execute("ROLLBACK TO unit")
            execute("RELEASE unit")
            return Outcome(job.future, None, self._blame(error))
        if not (line.intact and line.driver.in_transaction):
            raise BatchBroken from RuntimeError("a unit of work must leave the transaction as it found it")
        execute("RELEASE unit")
        return Outcome(job.future, result, None)

    def _blame(self, error: BaseException) -> BaseException:
        """Say what the caller of a failed unit should hear."""
        match error:
            case BatchBroken(__cause__=BaseException() as cause):
                return self._blame(cause)
            case sqlite3.IntegrityError():
                return IntegrityError("COMMIT", None, error)
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

    def _tell(self, outcomes: list[Outcome]) -> None:
        try:
            self._loop.call_soon_threadsafe(self._resolve, outcomes)
        except RuntimeError:
            # The loop was closed without closing the database: nobody is left who could hear it.
            self._closed = True

    def _resolve(self, outcomes: list[Outcome]) -> None:
        for outcome in outcomes:
            outcome.tell()
        self._committed()
