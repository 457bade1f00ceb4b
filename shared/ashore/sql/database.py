"""The port: one database, written by units of work and read by queries.

A unit of work is a plain and short function of a SQLAlchemy connection: it runs as one transaction, and leaves no trace
if it raises. Where it runs is the adapter's business. It neither commits nor rolls back, returns plain data, and has no
effect but on the connection, for it may run twice: after a serialization failure, or when another unit broke the batch
that it was in. The adapters are `ashore.sql.sqlite` and `ashore.sql.postgresql`; only the one in use is imported.
"""

import asyncio
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import Any, TypeVar

from sqlalchemy import Connection, make_url
from sqlalchemy.exc import ArgumentError

from ashore.sql.errors import LocationInvalid

T = TypeVar("T")


def call(unit: Callable[[Connection], T], connection: Connection) -> T:
    """Run a unit or a query; for adapters."""
    try:
        return unit(connection)
    except StopIteration as error:
        # A future refuses to carry it, and its awaiting caller would wait for ever.
        raise RuntimeError("a unit of work raised StopIteration") from error


class Database(ABC):
    """An open database, its schema at the newest migration."""

    def __init__(self) -> None:
        self._listeners: list[Callable[[], None]] = []

    @classmethod
    async def open(cls, url: str, migrations: str | os.PathLike[str]) -> "Database":
        """Open `sqlite:///file` or `postgresql://...` and bring its schema up to date; raises StorageError.

        `migrations` is the folder of the Alembic version files: a path, or `package:folder`.
        """
        try:
            location = make_url(url)
        except ArgumentError as error:
            raise LocationInvalid("the database URL is neither sqlite:///FILE nor postgresql://HOST/NAME") from error
        match location.get_backend_name():
            case "sqlite":
                from ashore.sql.sqlite import SqliteDatabase  # noqa: PLC0415 - only the adapter in use costs memory

                return await SqliteDatabase.start(location, migrations)
            case "postgresql" | "postgres":
                from ashore.sql.postgresql import PostgresqlDatabase  # noqa: PLC0415 - psycopg costs 7 MB

                return await PostgresqlDatabase.start(location, migrations)
            case other:
                raise LocationInvalid(f"a {other} database is not supported: use sqlite:///FILE or postgresql://")

    @abstractmethod
    async def write(self, unit: Callable[[Connection], T], *, after: asyncio.Future[Any] | None = None) -> T:
        """Run a unit of work; returns once it is on the disk. Raises what the unit raises, and StorageUnavailable.

        `after` is an earlier write: this one runs later than that, and raises what that raised, in which case it may
        have run or not.
        """

    @abstractmethod
    def write_soon(self, unit: Callable[[Connection], T]) -> asyncio.Future[T]:
        """Run a unit of work that nobody waits for: it may wait a little, 50 ms at most, to share another's COMMIT."""

    @abstractmethod
    async def read(self, query: Callable[[Connection], T]) -> T:
        """Run a read-only query on one consistent snapshot; raises StorageUnavailable."""

    @abstractmethod
    async def look_up(self, query: Callable[[Connection], T]) -> T:
        """Run one SELECT that finds one row by an index; raises StorageUnavailable.

        It may run in the event loop, so whatever is longer is for `read`.
        """

    @abstractmethod
    async def check(self) -> None:
        """Raise StorageUnavailable unless reading and writing work: for readiness."""

    @abstractmethod
    async def close(self) -> None:
        """Finish the units already handed in, then let go of threads, connections and files."""

    @abstractmethod
    def alone(self, name: str) -> AbstractAsyncContextManager[bool]:
        """Hold a named lock among all replicas of the database, without waiting: True if it was free."""

    @contextmanager
    def listening(self, committed: Callable[[], None]) -> Iterator[None]:
        """Have `committed` called in the event loop after this process has committed something."""
        self._listeners.append(committed)
        try:
            yield
        finally:
            self._listeners.remove(committed)

    def _notify(self) -> None:
        for committed in self._listeners:
            committed()
