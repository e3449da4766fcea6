"""What Django stores in SQLite for each value of PostgreSQL."""

import contextlib
import math
import re
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

from ops.engine_migration.findings import SECRET
from ops.engine_migration.plan import ColumnPlan, TablePlan
from ops.engine_migration.types.base import Refused
from ops.engine_migration.values import conversions, equal, written_alike
from ops.utils.identifiers import quoted

NUMBERS = re.compile(r"smallint|integer|bigint|oid|real|double precision|boolean|bytea")
"""Types of PostgreSQL whose values SQLite has as well, and bytes. Of others, it has the texts."""
TEXTS = re.compile(r"char|clob|text|blob", re.IGNORECASE)
"""Types of SQLite that leave texts as they are (sqlite.org/datatype3.html#determination_of_column_affinity)."""


@dataclass(frozen=True, kw_only=True)
class StoredColumn:
    """The SQL that selects a column in a session of Django, and what makes the stored value of that, where it differs.

    `refuses`: it may raise Refused.
    """

    column: ColumnPlan
    select: str
    store: Callable[[Any], Any] | None = None

    @property
    def refuses(self) -> bool:
        return self.store is not None and not self.column.type.document


def stored_columns(
    table: TablePlan, postgres: BaseDatabaseWrapper, sqlite: BaseDatabaseWrapper
) -> tuple[StoredColumn, ...]:
    return tuple(stored_column(column, postgres, sqlite) for column in table.columns)


def stored_column(column: ColumnPlan, postgres: BaseDatabaseWrapper, sqlite: BaseDatabaseWrapper) -> StoredColumn:
    if column.type.stored:
        select = column.type.stored.format(c=quoted(column.name))
        return StoredColumn(column=column, select=select, store=column.type.store)
    read = conversions(column.field, postgres)
    if not (read or conversions(column.field, sqlite) or NUMBERS.fullmatch(column.db_type)):
        # The field reads what SQLite stores, and migrate_to_postgres passes that to PostgreSQL: its text of the value.
        return StoredColumn(column=column, select=f"{quoted(column.name)}::text")
    store = partial(store_by_field, column, read, postgres, sqlite)
    return StoredColumn(column=column, select=quoted(column.name), store=store)


def store_by_field(
    column: ColumnPlan,
    read: Sequence[Callable[[Any], Any]],
    postgres: BaseDatabaseWrapper,
    sqlite: BaseDatabaseWrapper,
    selected: Any,
) -> Any:
    """What the model's field writes to SQLite for what it reads from PostgreSQL. Raises Refused."""
    try:
        value = applied(read, selected)
        stored = column.field.get_db_prep_save(value, connection=sqlite) if column.field else value
        read_back = applied(conversions(column.field, sqlite), after_storing(column, stored, sqlite))
        same = equal(value, read_back) or written_alike(column.field, value, read_back, postgres)
    except Exception as error:
        # The project's fields may raise anything, and Python's messages contain the value.
        message = "" if SECRET.search(column.name) else f": {' '.join(str(error).split())}"
        raise Refused(f"{type(error).__name__}{message}") from error
    if isinstance(stored, float) and (math.isnan(stored) or repr(stored) == "-0.0"):
        raise Refused("NaN or negative zero, which SQLite does not store")
    if conversions(column.field, sqlite) and not same:
        raise Refused("Django would read another value from SQLite")
    return stored


def after_storing(column: ColumnPlan, value: Any, sqlite: BaseDatabaseWrapper) -> Any:
    """What SQLite makes of a value in a column of this type: the text of a decimal becomes a number."""
    kind = str(column.field.db_parameters(sqlite)["type"]) if column.field else ""
    if isinstance(value, int | float | bytes | memoryview | None) or (isinstance(value, str) and TEXTS.search(kind)):
        return value
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        connection.execute(f"CREATE TABLE probe (value {kind})")
        connection.execute("INSERT INTO probe VALUES (?)", [value])
        return connection.execute("SELECT value FROM probe").fetchone()[0]


def applied(functions: Sequence[Callable[[Any], Any]], value: Any) -> Any:
    for function in functions:
        value = function(value)
    return value


def store(columns: Sequence[StoredColumn]) -> Callable[[list[tuple[Any, ...]]], list[tuple[Any, ...]]] | None:
    """A function that makes stored rows of selected ones, which begin with the `columns`; None if they are the same.

    It raises Refused where one of them cannot be stored.
    """
    stores = [(position, column.store) for position, column in enumerate(columns) if column.store]
    if not stores:
        return None

    def convert(rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
        values: list[Sequence[Any]] = list(zip(*rows, strict=True))
        for position, function in stores:
            values[position] = [None if value is None else function(value) for value in values[position]]
        return list(zip(*values, strict=True))

    return convert
