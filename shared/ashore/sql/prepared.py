"""Statements on the paths that every device takes, without what Core does at each execution.

Core looks a statement up in its cache, builds a context and wraps the result: 15 to 25 us where SQLite needs 4. So on
SQLite a prepared statement is compiled by Core once, and then goes to the driver with its values as they are; on
PostgreSQL, where the way to the server costs more, Core runs it as ever. The values are those that a driver takes and
gives by itself: text, whole numbers, bytes, None; a truth value is read back as 0 or 1. Within a unit, SQLite's errors
are the driver's own; they become SQLAlchemy's on their way to its caller.
"""

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Connection, CursorResult, Delete, Insert, Select, Table, Update, bindparam
from sqlalchemy.engine import Dialect

DRIVER: Final = "ashore_driver"
"""The execution option under which SQLite's adapter hands its driver's connection on."""

Values = Mapping[str, object]
Core = Select[Any] | Insert | Update | Delete


def insertion(table: Table, *columns: str) -> "Prepared":
    """Prepare an INSERT of one row, with a value for each column named; without names, for all."""
    names = columns or tuple(table.columns.keys())
    # Inline: the new row's key is not asked for, which PostgreSQL would answer with a RETURNING.
    return Prepared(table.insert().values({name: bindparam(name, type_=table.c[name].type) for name in names}).inline())


class Prepared:
    """A statement of Core whose values all have names."""

    def __init__(self, statement: Core) -> None:
        self._statement = statement
        self._text = ""
        self._constants: dict[str, object] = {}

    def change(self, connection: Connection, values: Values) -> int:
        """Run a statement that writes; how many rows were met by an UPDATE or a DELETE."""
        return self._run(connection, values).rowcount

    def first(self, connection: Connection, values: Values) -> Sequence[Any] | None:
        """Run a SELECT; its first row, if there is one."""
        return self._run(connection, values).fetchone()

    def _run(self, connection: Connection, values: Values) -> "sqlite3.Cursor | CursorResult[Any]":
        driver: sqlite3.Connection | None = connection.get_execution_options().get(DRIVER)
        if driver is None:
            return connection.execute(self._statement, values)
        if not self._text:
            self._compile(connection.dialect)
        return driver.execute(self._text, {**self._constants, **values})

    def _compile(self, dialect: Dialect) -> None:
        compiled = self._statement.compile(dialect=dialect)
        if compiled.post_compile_params:
            raise TypeError(f"this statement has no text of its own, for its lists vary in length: {compiled}")
        required = {name for name, bind in compiled.binds.items() if bind.required}
        self._constants = {name: value for name, value in compiled.params.items() if name not in required}
        self._text = str(compiled)
