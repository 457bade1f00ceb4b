"""PostgreSQL: psycopg 3 through SQLAlchemy, a small pool of connections, each used by a thread of its own.

Units run SERIALIZABLE, so that they mean the same as on SQLite, where only one runs at a time; the price is that the
server may refuse one, which is then run again. So is a unit whose connection broke before its COMMIT was sent. A COMMIT
without an answer is not repeated: nobody knows whether it happened, and the caller is told so.
"""

import asyncio
import os
import random
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

from sqlalchemy import URL, Connection, create_engine, text
from sqlalchemy.exc import DataError, DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from ashore.sql import migrations as schema
from ashore.sql.database import Database, call
from ashore.sql.errors import StorageUnavailable, ValueImpossible

T = TypeVar("T")

WRITERS = 4
READERS = 4
LOCKS = 1
ATTEMPTS = 5
RETRY_SECONDS = 0.01  # Doubled each time, and jittered, so that two units which collided do not do so again.

_RETRY = frozenset({"40001", "40P01"})  # serialization_failure, deadlock_detected
# Classes of SQLSTATE: connection, insufficient resources (disk, connections), operator intervention, system error.
_UNAVAILABLE_CLASSES = frozenset({"08", "53", "57", "58"})
# read_only_sql_transaction (a standby after fail-over), lock_not_available, and what is left after ATTEMPTS.
_UNAVAILABLE = frozenset({"25006", "55P03"}) | _RETRY

_TRY_LOCK = text("SELECT pg_try_advisory_lock(hashtextextended(current_schema() || ' ' || :name, 0))")
_UNLOCK = text("SELECT pg_advisory_unlock(hashtextextended(current_schema() || ' ' || :name, 0))")

_CONNECT = {
    "application_name": "ashore",
    "connect_timeout": "5",
    # A server that vanished without a word is noticed after about 15 s, instead of two hours.
    "keepalives_idle": "5",
    "keepalives_interval": "5",
    "keepalives_count": "2",
    "tcp_user_timeout": "15000",
}
_OPTIONS = "-c statement_timeout=30s -c lock_timeout=10s -c idle_in_transaction_session_timeout=60s"


class PostgresqlDatabase(Database):
    """A database on a server, shared by all replicas of a service."""

    def __init__(self, url: URL) -> None:
        super().__init__()
        self._closed = False
        self._writing: set[asyncio.Task[Any]] = set()
        self._where = where(url)
        self._engine = create_engine(
            _completed(url),
            pool_size=WRITERS + READERS + LOCKS,
            max_overflow=0,
            pool_use_lifo=True,
            isolation_level="SERIALIZABLE",
            hide_parameters=True,  # They may be private, and errors end in logs.
        )
        self._snapshots = self._engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        self._autocommit = self._engine.execution_options(isolation_level="AUTOCOMMIT")
        self._writers = ThreadPoolExecutor(WRITERS, thread_name_prefix="sql-writer")
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="sql-reader")
        self._lockers = ThreadPoolExecutor(LOCKS, thread_name_prefix="sql-lock")

    @classmethod
    async def start(cls, url: URL, migrations: str | os.PathLike[str]) -> "PostgresqlDatabase":
        """Connect and migrate."""
        database = cls(url)
        try:
            await database._in(database._writers, lambda: schema.upgrade_postgresql(database._engine, migrations))
        except BaseException:
            await database.close()
            raise
        return database

    async def write(self, unit: Callable[[Connection], T], *, after: asyncio.Future[Any] | None = None) -> T:
        """Run a unit of work in a transaction of its own."""
        if after is not None:
            await after
        result = await self._in(self._writers, lambda: self._write(unit))
        self._notify()
        return result

    def write_soon(self, unit: Callable[[Connection], T]) -> asyncio.Future[T]:
        """Run a unit of work at once: the server itself lets transactions share a sync of its log."""
        self._verify_open()
        writing = asyncio.create_task(self.write(unit))
        self._writing.add(writing)
        writing.add_done_callback(self._writing.discard)
        return writing

    async def read(self, query: Callable[[Connection], T]) -> T:
        """Run a read-only query."""
        return await self._in(self._readers, lambda: self._retrying(lambda: self._read(query)))

    async def look_up(self, query: Callable[[Connection], T]) -> T:
        """Run a query of one row: the server is as far away for it as for any other."""
        return await self.read(query)

    async def check(self) -> None:
        """Raise StorageUnavailable unless the server answers and takes writes."""
        if await self.read(_is_standby):
            raise StorageUnavailable(f"{self._where} is a standby that takes no writes: point the URL at the primary")

    async def close(self) -> None:
        """Finish what is running and close the connections."""
        await asyncio.gather(*self._writing, return_exceptions=True)
        self._closed = True
        for threads in (self._writers, self._readers, self._lockers):
            await asyncio.to_thread(threads.shutdown)
        self._engine.dispose()

    @asynccontextmanager
    async def alone(self, name: str) -> AsyncIterator[bool]:
        """Hold an advisory lock on a connection of its own; the server frees it when the connection is lost."""
        taking = asyncio.create_task(self._in(self._lockers, lambda: self._lock(name)))
        try:
            # Shielded: a lock that is taken after its taker was cancelled would be held for ever.
            yield await asyncio.shield(taking) is not None
        finally:
            await asyncio.shield(self._release(taking, name))

    async def _release(self, taking: asyncio.Task[Connection | None], name: str) -> None:
        with suppress(StorageUnavailable):
            connection = await taking
            if connection is not None:
                await self._in(self._lockers, lambda: self._unlock(connection, name))

    def _lock(self, name: str) -> Connection | None:
        return self._retrying(lambda: self._try_lock(name))

    def _try_lock(self, name: str) -> Connection | None:
        connection = self._autocommit.connect()
        try:
            taken = connection.execute(_TRY_LOCK, {"name": name}).scalar_one()
        except BaseException:
            connection.close()
            raise
        if taken:
            return connection
        connection.close()
        return None

    @staticmethod
    def _unlock(connection: Connection, name: str) -> None:
        with connection:
            try:
                connection.execute(_UNLOCK, {"name": name})
            except DBAPIError:
                # The connection is lost, and the lock with it: this is what was asked for.
                connection.invalidate()

    def _write(self, unit: Callable[[Connection], T]) -> T:
        return self._retrying(lambda: self._transact(unit))

    def _transact(self, unit: Callable[[Connection], T]) -> T:
        with self._engine.connect() as connection:
            result = call(unit, connection)
            try:
                connection.commit()
            except DBAPIError as error:
                if error.connection_invalidated:
                    raise StorageUnavailable(
                        f"{self._where} was lost during a COMMIT, which may have happened or not: look before repeating"
                    ) from error
                raise
            return result

    def _read(self, query: Callable[[Connection], T]) -> T:
        with self._snapshots.connect() as connection:
            return call(query, connection)

    def _retrying(self, attempt: Callable[[], T]) -> T:
        for delay in (RETRY_SECONDS * 2**number for number in range(ATTEMPTS - 1)):
            try:
                return attempt()
            except DBAPIError as error:
                if not (error.connection_invalidated or _sqlstate(error) in _RETRY):
                    raise
            time.sleep(delay * random.uniform(0.5, 1.5))  # noqa: S311 - jitter, no secret
        return attempt()

    def _verify_open(self) -> None:
        if self._closed:
            raise StorageUnavailable(f"{self._where} is closed: the service is stopping")

    async def _in(self, threads: ThreadPoolExecutor, work: Callable[[], T]) -> T:
        self._verify_open()
        try:
            return await asyncio.get_running_loop().run_in_executor(threads, work)
        except (DBAPIError, PoolTimeout) as error:
            told = explain(error, self._where)
            if told is error:
                raise
            raise told from error


def where(url: URL) -> str:
    """Name a database to people."""
    return f"PostgreSQL at {url.host or 'its local socket'}, database {url.database}"


def explain(error: DBAPIError | PoolTimeout, where: str) -> Exception:
    """Turn trouble of the server into StorageUnavailable, and what it cannot hold into ValueImpossible."""
    if isinstance(error, DataError):
        return ValueImpossible(f"the database cannot hold such a value: {_reason(error)}")
    if not _is_unavailable(error):
        return error
    return StorageUnavailable(f"{where} cannot do its work now: {_reason(error)}")


def _completed(url: URL) -> URL:
    """Add our defaults to what the URL says itself."""
    options = f"{_OPTIONS} {url.query.get('options', '')}".strip()
    return url.set(drivername="postgresql+psycopg", query={**_CONNECT, **url.query, "options": options})


def _sqlstate(error: Exception) -> str | None:
    return getattr(getattr(error, "orig", None), "sqlstate", None)


def _is_unavailable(error: DBAPIError | PoolTimeout) -> bool:
    if isinstance(error, PoolTimeout) or error.connection_invalidated:
        return True
    state = _sqlstate(error)
    if state is None:
        # The driver could not connect at all, or lost the server: there is nobody who could have given a state.
        return type(error).__name__ == "OperationalError"
    return state in _UNAVAILABLE or state[:2] in _UNAVAILABLE_CLASSES


def _reason(error: DBAPIError | PoolTimeout) -> str:
    origin = error.orig if isinstance(error, DBAPIError) else error
    return str(origin).strip().partition("\n")[0]


def _is_standby(connection: Connection) -> bool:
    return bool(connection.execute(text("SELECT pg_is_in_recovery()")).scalar_one())
