"""Writing an SQLite file, with group commit: statements in the event loop, a slow COMMIT in a thread.

The units that `ashore.sql.batching` has gathered run one after the other in one BEGIN IMMEDIATE, and share one COMMIT,
that is one fsync. The callers hear of it after that COMMIT. A statement takes 5 to 20 us; in a thread of its own it
took ten times that, because it lets go of the interpreter and has to get it back from a busy loop. The fsync is the one
part that waits for the disk, so it has a thread wherever the disk is slow (decision record 0007).
"""

import asyncio
import sqlite3
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final, TypeVar, cast

from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from ashore.sql.batching import Batches
from ashore.sql.database import call
from ashore.sql.errors import StorageUnavailable
from ashore.sql.lane import Job, Lane, Outcome
from ashore.sql.sqlite_files import BUSY_SECONDS, Identity, Line, engine, explain

T = TypeVar("T")
Batch = list[Job]

_BUSY_PAUSE: Final = 0.01
FAST_COMMIT: Final = 0.001  # Seconds: a P-384 signature check holds the loop up for as long.
_RECENT_COMMITS: Final = 8


class BatchBroken(Exception):  # noqa: N818 - never leaves this module
    """The transaction of the whole batch is of no use any more, through the fault of one unit."""


class Writer:
    """The one who writes. `units` and `commits` count what it did."""

    def __init__(self, path: Path, loop: asyncio.AbstractEventLoop, committed: Callable[[], None]) -> None:
        self.units = 0
        self.commits = 0
        self.failing = False
        self.patience = BUSY_SECONDS
        """How long to wait for another program that writes into the same file, seconds."""
        self._path = path
        self._loop = loop
        self._committed = committed
        self._closed = False
        self._batches = Batches(loop, self._leave)
        self._working: set[asyncio.Task[None]] = set()
        self._turn = asyncio.Lock()
        self._engine = engine(path, patience=0)
        self._identity = Identity.of(path)
        self._line: Line | None = None
        self._committer = Lane("sql-committer")
        self._commit_seconds = FAST_COMMIT
        """How long a COMMIT takes nowadays."""

    def submit(self, unit: Callable[[Connection], T], *, soon: bool = False) -> asyncio.Future[T]:
        """Queue a unit; its future is resolved after the COMMIT."""
        if self._closed:
            raise StorageUnavailable(f"{self._path} is closed: the service is stopping")
        return self._batches.add(unit, soon=soon)

    def verify(self) -> None:
        """Raise StorageUnavailable unless the file that is open is the one at the path."""
        self._identity.verify(self._path)

    async def close(self) -> None:
        """Commit what is queued, then let go of the file."""
        if not self._closed:
            self._closed = True
            self._batches.flush()
        while self._working:
            await asyncio.wait(self._working)
        await self._committer.close()
        self._hang_up()

    def _leave(self, batch: Batch) -> None:
        working = self._loop.create_task(self._work(batch), name="sql-writer")
        self._working.add(working)
        working.add_done_callback(self._working.discard)

    async def _work(self, batch: Batch) -> None:
        # Batches leave one at a time, but for the last ones, which are flushed together.
        async with self._turn:
            outcomes = await self._process([job for job in batch if not job.future.cancelled()])
        self._batches.came_back(outcomes)
        self._committed()

    async def _process(self, batch: Batch) -> list[Outcome]:
        try:
            return await self._settle(batch) if batch else []
        except Exception as error:  # noqa: BLE001 - whatever it is, the callers must hear of it and the next batch run
            self._abandon()
            self.failing = True
            return [Outcome(job.future, None, self._unavailable(error)) for job in batch]

    async def _settle(self, batch: Batch) -> list[Outcome]:
        """Run a batch so that only a guilty unit fails: bare, else in savepoints, else each in its own transaction."""
        blamed: Exception
        for guarded in (False, True) if len(batch) > 1 else (False,):
            try:
                return await self._transact(batch, guarded=guarded)
            except (BatchBroken, sqlite3.IntegrityError) as error:
                # A unit has raised, or spoilt the transaction of all: SQLite rolls back by itself when the disk is
                # full, and a deferred constraint fails at COMMIT.
                self._abandon()
                blamed = error
        if len(batch) == 1:
            return [Outcome(batch[0].future, None, self._blame(blamed))]
        return [outcome for job in batch for outcome in await self._process([job])]

    async def _transact(self, batch: Batch, *, guarded: bool = False) -> list[Outcome]:
        self.verify()
        if self._line is None:
            self._line = Line(self._engine)
        line = self._line
        # Only the rare batch in which a unit fails pays for savepoints: two statements for each unit.
        attempt = self._guarded if guarded else self._bare
        await self._begin(line)
        outcomes = [attempt(job, line) for job in batch]
        await self._commit(line)
        self.commits += 1
        self.units += len(batch)
        self.failing = False
        return outcomes

    async def _begin(self, line: Line) -> None:
        """Begin, as soon as no other program writes; without blocking the loop as the driver's own waiting would."""
        until = self._loop.time() + self.patience
        while True:
            try:
                line.driver.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or self._loop.time() > until:
                    raise
                await asyncio.sleep(_BUSY_PAUSE)
            else:
                return

    async def _commit(self, line: Line) -> None:
        """Make it durable: here where the disk has been fast of late, else in the thread."""
        commit = partial(_commit, line)
        seconds = commit() if self._commit_seconds < FAST_COMMIT else await self._committer.submit(commit)
        self._commit_seconds += (seconds - self._commit_seconds) / _RECENT_COMMITS

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


def _commit(line: Line) -> float:
    began = time.perf_counter()
    line.driver.execute("COMMIT")
    return time.perf_counter() - began
