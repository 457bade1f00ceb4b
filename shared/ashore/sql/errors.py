"""What can go wrong with the storage, as its callers need to tell it apart.

A unit's own errors (a unique key taken twice, an exception of the domain) reach its caller as they are; these here
stand for the storage itself. Their messages are for people: what happened, and what to do next.
"""


class StorageError(Exception):
    """The root of all errors of `ashore.sql`."""


class StorageUnavailable(StorageError):  # noqa: N818 - a state of the world which passes, named so in every service
    """The database cannot answer now (disk full, server gone, locked); nothing that was acknowledged is lost."""


class SchemaUnknown(StorageError):  # noqa: N818 - reads as the fact which it reports
    """The database was made by a release which this one does not know, or its migrations are not one line."""


class MigrationFailed(StorageError):  # noqa: N818 - reads as the fact which it reports
    """A migration could not be applied; the database is as it was before."""


class LocationInvalid(StorageError):  # noqa: N818 - reads as the fact which it reports
    """The database URL or the migrations' location cannot be used as it is written."""


class CursorInvalid(StorageError):  # noqa: N818 - reads as the fact which it reports
    """A paging cursor was not made by this service, or for another list; ask for the first page again."""


class ValueImpossible(StorageError):  # noqa: N818 - reads as the fact which it reports
    """A value that no row can have: a text with NUL on PostgreSQL, one too long for its column, too large a number."""
