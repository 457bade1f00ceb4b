"""Search by the beginning of a text: a range of the index, which LIKE is not on every database."""

from typing import Any, Final

from sqlalchemy import Column, ColumnElement, Text, and_

TEXT: Final = Text().with_variant(Text(collation="C"), "postgresql")
"""Column type in byte order, so that a beginning is a range whatever language the server speaks."""
_LAST: Final = "\U0010ffff"


def begins(column: Column[Any], text: str) -> ColumnElement[bool]:
    """The condition that a column's value begins with a text."""
    stem = text.rstrip(_LAST)
    if not stem:
        return column >= text
    after = chr(ord(stem[-1]) + 1)
    # There are no characters from U+D800 to U+DFFF: they cannot be written in UTF-8.
    end = stem[:-1] + (after if not "\ud800" <= after <= "\udfff" else "\ue000")
    return and_(column >= text, column < end)
