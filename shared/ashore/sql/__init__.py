"""Storage: units of work on SQLite or PostgreSQL, the outbox, migrations and paging.

A service's `store.py` writes with `Database.write`, reads with `Database.read`, and knows no more of the database than
SQLAlchemy Core. Tables and queries belong to the services; events reach the bus through `ashore.sql.outbox`, lists are
paged by `ashore.sql.paging`.
"""

from ashore.sql.database import Database
from ashore.sql.errors import (
    CursorInvalid,
    LocationInvalid,
    MigrationFailed,
    SchemaUnknown,
    StorageError,
    StorageUnavailable,
    ValueImpossible,
)

__all__ = [
    "CursorInvalid",
    "Database",
    "LocationInvalid",
    "MigrationFailed",
    "SchemaUnknown",
    "StorageError",
    "StorageUnavailable",
    "ValueImpossible",
]
