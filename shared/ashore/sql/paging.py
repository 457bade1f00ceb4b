"""Keyset paging: a page starts after the last row of the one before, so that it costs the same however deep it is.

Rows that are added or removed meanwhile neither repeat nor hide others, as they do with OFFSET. The cursor that clients
hand back is opaque and holds the key of that row, nothing secret.
"""

import base64
import binascii
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import ColumnElement, Connection, Row, Select, literal, tuple_

from ashore.sql.errors import CursorInvalid

DEFAULT_LIMIT = 50
MAX_LIMIT = 500

Key = list[str | int]


class Page(NamedTuple):
    """The rows of one page, and the cursor of the next one, None after the last."""

    rows: Sequence[Row[Any]]
    next: str | None


def page(
    connection: Connection,
    query: Select[Any],
    *,
    by: Sequence[ColumnElement[Any]],
    after: str | None = None,
    limit: int = DEFAULT_LIMIT,
    newest_first: bool = False,
) -> Page:
    """Run the query for one page; raises CursorInvalid.

    `by` are selected columns of text or whole numbers, never NULL, which together are unique and have an index.
    """
    limit = max(1, min(limit, MAX_LIMIT))
    if after is not None:
        key = tuple_(*(literal(value, column.type) for value, column in zip(decode(after, by), by, strict=True)))
        query = query.where(tuple_(*by) < key if newest_first else tuple_(*by) > key)
    query = query.order_by(*(column.desc() if newest_first else column for column in by))
    rows = connection.execute(query.limit(limit + 1)).all()
    if len(rows) <= limit:
        return Page(rows, None)
    last = rows[limit - 1]._mapping  # noqa: SLF001 - public in SQLAlchemy, underscored to keep clear of column names
    return Page(rows[:limit], encode([last[column] for column in by]))


def encode(key: Key) -> str:
    """Make a cursor from the key of a row."""
    return base64.urlsafe_b64encode(msgspec.json.encode(key)).rstrip(b"=").decode()


def decode(cursor: str, by: Sequence[ColumnElement[Any]]) -> Key:
    """Read the key back; raises CursorInvalid unless it fits these columns."""
    try:
        key = msgspec.json.decode(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)), type=Key)
    except (msgspec.MsgspecError, binascii.Error, ValueError) as error:
        raise CursorInvalid("this cursor was not made here: ask for the first page, without one") from error
    if [type(value) for value in key] != [column.type.python_type for column in by]:
        raise CursorInvalid("this cursor belongs to another list: ask for the first page, without one")
    return key
