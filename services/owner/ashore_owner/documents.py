"""What people write and the owner keeps as it is: profiles, rules, and the files that profiles send."""

from functools import partial

from sqlalchemy import Connection, delete, insert, select

from ashore.sql import Database
from ashore_owner.tables import documents


class Documents:
    """Bodies by kind and name."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, kind: str, name: str) -> bytes | None:
        """A document, None where there is none of that name."""
        query = select(documents.c.body).where(documents.c.kind == kind, documents.c.name == name)
        return await self._database.read(lambda connection: connection.execute(query).scalar())

    async def names(self, kind: str) -> list[str]:
        """The names of all documents of a kind."""
        query = select(documents.c.name).where(documents.c.kind == kind).order_by(documents.c.name)
        return await self._database.read(lambda connection: list(connection.execute(query).scalars()))

    async def put(self, kind: str, name: str, body: bytes, now: int) -> None:
        """Keep a document in place of what had its name."""
        await self._database.write(partial(_put, kind, name, body, now))

    async def remove(self, kind: str, name: str) -> bool:
        """Forget a document; False where there was none."""
        change = delete(documents).where(documents.c.kind == kind, documents.c.name == name)
        return await self._database.write(lambda connection: bool(connection.execute(change).rowcount))


def _put(kind: str, name: str, body: bytes, now: int, connection: Connection) -> None:
    connection.execute(delete(documents).where(documents.c.kind == kind, documents.c.name == name))
    connection.execute(insert(documents), {"kind": kind, "name": name, "body": body, "updated_at": now})
