"""A table of the snapshot and the same table in PostgreSQL, read in ranges of the primary key.

Both sides turn a range into one text. PostgreSQL sends only its SHA-256. JSON is compared as parsed, because one value
can be written in many ways.

Characters that separate values and rows are not escaped, which would take longer than all else. Instead they are
counted: a text that has as many as it should can be read in one way only.
"""

import hashlib
import itertools
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from psycopg2.extensions import cursor as Cursor  # noqa: N812

from ops.databases.postgres.queries import fetch_row
from ops.engine_migration.plan import ColumnPlan, TablePlan
from ops.engine_migration.refusals import PreflightResult
from ops.engine_migration.source_sql import (
    balanced,
    chunks,
    exclude_refused,
    register_converters,
    rendered,
    rows_of,
)
from ops.engine_migration.target_sql import Key, all_but, target_key, target_text, value_in_line
from ops.engine_migration.types.documents import escape_json, same_documents
from ops.utils.identifiers import quoted

BETWEEN_VALUES, BETWEEN_ROWS = "\x1f", "\x1e"
SEPARATORS = r"E'\x1f'", r"E'\x1e'"
"""The same in PostgreSQL's SQL."""
VALUES_PER_CALL = 99
"""PostgreSQL takes 100 arguments to a function."""
Bound = tuple[Any, ...] | None
Range = tuple[Bound, Bound]
"""Primary keys ``(after, up_to)``; None is without bound."""


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """Rows of one side: the SHA-256 of their text and of the bits of their floating-point numbers, the number of rows,
    and the documents of each JSON column as one array. A text is `ambiguous` if values have characters that separate.
    """

    sha256: str
    rows: int
    documents: tuple[str | None, ...]
    ambiguous: bool = False

    def equals(self, other: "Chunk") -> bool:
        if self.ambiguous or (self.sha256, self.rows) != (other.sha256, other.rows):
            return False
        pairs = zip(self.documents, other.documents, strict=True)
        return all(left == right or same_documents(left or "[]", right or "[]") for left, right in pairs)


class Parts:
    """What one row is compared by: SQL for its line, its floating-point numbers and its documents.

    The properties are their names in a subquery. Rows are sorted by columns, which these names must not hide.
    """

    def __init__(self, table: TablePlan, line: str, floats: Sequence[str], documents: Sequence[str]) -> None:
        named = {
            table.unused("line"): line,
            **{table.unused(f"f{number}"): text for number, text in enumerate(floats)},
            **{table.unused(f"d{number}"): text for number, text in enumerate(documents)},
        }
        self.line, *others = named
        self.floats, self.documents = others[: len(floats)], others[len(floats) :]
        self.selected = ", ".join(f"{text} AS {name}" for name, text in named.items())


class SourceTable:
    """A table of the snapshot, without its refused rows."""

    def __init__(self, table: TablePlan, connection: sqlite3.Connection, preflight: PreflightResult) -> None:
        self.table = table
        self.connection = connection
        self.non_canonical = preflight.non_canonical.get(table.name, frozenset())
        register_converters(connection, table, self.non_canonical)
        self.kept = exclude_refused(connection, preflight.refused, table)
        self.order = ", ".join(self.key_of(table.column(name)) for name in table.key)

    def text_of(self, column: ColumnPlan) -> str:
        return rendered(column, column.type.source_text, non_canonical=column.name in self.non_canonical)

    def key_of(self, column: ColumnPlan) -> str:
        if column.type.native_order and column.name not in self.non_canonical:
            return quoted(column.name)
        return f"{self.text_of(column)} COLLATE BINARY"

    def ranges(self, rows: int) -> Iterator[Range]:
        """Consecutive ranges from before the first key to after the last, covering every row of the target."""
        if self.table.key_is_row and self.order == quoted(self.table.key[0]):
            bounds: list[Bound] = [(last,) for _, last, _ in chunks(self.connection, self.table)]
            yield from itertools.pairwise([None, *bounds[:-1], None])
            return
        low: Bound = None
        while True:
            condition, parameters = self.within(low, None)
            high = self.connection.execute(
                f"SELECT {self.order} FROM {rows_of(self.table)} WHERE {condition}"
                f" ORDER BY {self.order} LIMIT 1 OFFSET {rows - 1}",
                parameters,
            ).fetchone()
            yield low, high
            if high is None:
                return
            low = high

    def within(self, low: Bound, high: Bound) -> tuple[str, list[Any]]:
        marks = f"({', '.join('?' * len(self.table.key))})"
        conditions = [self.kept]
        if low is not None:
            conditions.append(f"({self.order}) > {marks}")
        if high is not None:
            conditions.append(f"({self.order}) <= {marks}")
        return " AND ".join(conditions), [*(low or ()), *(high or ())]

    def read(self, low: Bound, high: Bound) -> Chunk:
        condition, parameters = self.within(low, high)
        columns = self.table.columns
        line = balanced(f"||'{BETWEEN_VALUES}'||", list(map(self.value_in_line, columns)))
        floats = [f"ifnull({quoted(column.name)}, 0)" for column in columns if column.type.floating]
        documents = [f"ifnull({self.text_of(column)}, 'null')" for column in columns if column.type.document]
        parts = Parts(self.table, line, floats, documents)
        numbers = "".join(f", ifnull(all_float_bits({name}), x'')" for name in parts.floats)
        arrays = "".join(f", '[' || group_concat({name}) || ']'" for name in parts.documents)
        text, rows, *found = self.connection.execute(
            f"SELECT CAST(group_concat({parts.line}, '{BETWEEN_ROWS}') AS BLOB), count(*){numbers}{arrays}"
            f" FROM (SELECT {parts.selected} FROM {rows_of(self.table)} WHERE {condition} ORDER BY {self.order})",
            parameters,
        ).fetchone()
        text = text or b""
        separators = [text.count(separator.encode()) for separator in (BETWEEN_VALUES, BETWEEN_ROWS)]
        return Chunk(
            sha256=hashlib.sha256(b"".join((text, *found[: len(floats)]))).hexdigest(),
            rows=rows,
            documents=tuple(found[len(floats) :]),
            ambiguous=separators != [rows * (len(columns) - 1), max(0, rows - 1)],
        )

    def value_in_line(self, column: ColumnPlan) -> str:
        if column.type.document or column.type.floating:
            return f"({quoted(column.name)} IS NULL)"
        text = self.text_of(column)
        return f"ifnull('=' || {text}, '')" if column.null else text

    def read_rows(self, low: Bound, high: Bound) -> list[tuple[Any, ...]]:
        condition, parameters = self.within(low, high)
        texts = ", ".join(map(self.text_of, self.table.columns))
        query = f"SELECT {texts} FROM {rows_of(self.table)} WHERE {condition} ORDER BY {self.order}"
        return self.connection.execute(query, parameters).fetchall()


class TargetTable:
    """A table of PostgreSQL, but for the rows with the keys `left_out`.

    `escapes`: its documents are escaped as those of the file were when they were copied, so that both are one text.
    """

    def __init__(
        self, table: TablePlan, cursor: Cursor, left_out: Sequence[Key] = (), *, escapes: bool = False
    ) -> None:
        self.table = table
        self.escapes = escapes
        self.cursor = cursor
        self.keys = [table.column(name) for name in table.key]
        self.kept = all_but(cursor, table, left_out)
        self.order = ", ".join(map(target_key, self.keys))

    def within(self, low: Bound, high: Bound) -> str:
        conditions = [self.kept]
        if low is not None:
            conditions.append(f"({self.order}) > {self.literals(low)}")
        if high is not None:
            conditions.append(f"({self.order}) <= {self.literals(high)}")
        return " AND ".join(conditions)

    def literals(self, bound: tuple[Any, ...]) -> str:
        types = (column.db_type if column.type.native_order else "text" for column in self.keys)
        values = (self.cursor.mogrify("%s", [value]).decode() for value in bound)
        return f"({', '.join(f'{value}::{kind}' for value, kind in zip(values, types, strict=True))})"

    def read(self, low: Bound, high: Bound) -> Chunk:
        columns = self.table.columns
        values = list(map(value_in_line, columns))
        calls = [values[start : start + VALUES_PER_CALL] for start in range(0, len(values), VALUES_PER_CALL)]
        line = f" || {SEPARATORS[0]} || ".join(f"concat_ws({SEPARATORS[0]}, {', '.join(call)})" for call in calls)
        floats = [f"coalesce({quoted(column.name)}, 0)" for column in columns if column.type.floating]
        documents = [f"coalesce({target_text(column)}, 'null')" for column in columns if column.type.document]
        parts = Parts(self.table, line, floats, documents)
        text = f"convert_to(string_agg({parts.line}, {SEPARATORS[1]}), 'UTF8')"
        content = " || ".join([text, *(f"string_agg(float8send({name}), '')" for name in parts.floats)])
        arrays = "".join(f", '[' || string_agg({name}, ',') || ']'" for name in parts.documents)
        digest, rows, *found = fetch_row(
            self.cursor,
            f"SELECT encode(sha256(coalesce({content}, '')), 'hex'), count(*){arrays}"
            f" FROM (SELECT {parts.selected} FROM {quoted(self.table.name)}"
            f" WHERE {self.within(low, high)} ORDER BY {self.order}) AS chunk",
        )
        if self.escapes:
            found = [array and escape_json(array) for array in found]
        return Chunk(sha256=digest, rows=rows, documents=tuple(found))

    def read_rows(self, low: Bound, high: Bound) -> list[tuple[Any, ...]]:
        self.cursor.execute(
            f"SELECT {', '.join(map(target_text, self.table.columns))} FROM {quoted(self.table.name)}"
            f" WHERE {self.within(low, high)} ORDER BY {self.order}"
        )
        return self.cursor.fetchall()
