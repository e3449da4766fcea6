"""Prove that PostgreSQL holds what the snapshot holds: every value of every row, in the order of the primary key.

Both sides spell a chunk of rows as one text. PostgreSQL sends only its SHA-256; where that differs, the rows are
compared value by value, so that the error can name them.
"""

import contextlib
import hashlib
import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any

from psycopg2.extensions import connection as Connection  # noqa: N812
from psycopg2.extensions import cursor as Cursor  # noqa: N812

from ops.errors import VerificationFailed
from ops.postgres.queries import fetch_row
from ops.postgres.schema import quote
from ops.progress import Progress, Report
from ops.transfer.copying import line_of
from ops.transfer.findings import excerpt
from ops.transfer.plan import ColumnPlan, TablePlan
from ops.transfer.preflight import Examination
from ops.transfer.reading import chunk_rows, connect, leave_out, register_converters, rows_of, spelled
from ops.transfer.source import Snapshot

NATIVE_ORDER = ("bigint", "integer", "smallint", "uuid")
"""Types that both sides sort alike by themselves; others are sorted by their text, byte for byte."""
INDEX_NAME = "ops_proof"
NO_COLUMNS = "'-'"
"""The line of a row all of whose columns are compared by value."""
Bound = tuple[Any, ...] | None


class Proof:
    """Compares one table on one connection to each side."""

    def __init__(self, table: TablePlan, source: sqlite3.Connection, cursor: Cursor, seen: Examination) -> None:
        self.table = table
        self.source = source
        self.cursor = cursor
        self.odd = seen.odd.get(table.name, frozenset())
        self.total = seen.rows_of(table)
        register_converters(source, table, self.odd)
        self.kept = leave_out(source, seen.refused, table.name)
        self.keys = [table.column(name) for name in table.key]
        self.hashed = [column for column in table.columns if not column.kind.by_value]
        self.by_value = [column for column in table.columns if column.kind.by_value]

    def run(self, report: Report) -> str:
        """SHA-256 over the table's content. Raises VerificationFailed naming the first differences."""
        total = hashlib.sha256()
        done = 0
        for low, high in self.ranges():
            ours, rows, values = self.read_source(low, high)
            theirs, their_rows, their_values = self.read_target(low, high)
            if ours != theirs or rows != their_rows or not self.are_same(values, their_values):
                raise self.describe_difference(low, high)
            total.update(bytes.fromhex(ours))
            done += rows
            report(Progress(stage="verify", item=self.table.name, done=done, total=self.total))
        return total.hexdigest()

    def are_same(self, ours: Sequence[Any], theirs: Sequence[Any]) -> bool:
        """Whether the columns that are compared by value hold the same, row by row."""
        return all(
            len(left) == len(right or ()) and all(map(is_same(column), left, right or ()))
            for column, left, right in zip(self.by_value, ours, theirs, strict=True)
        )

    # --- The source -----------------------------------------------------------------------------------------
    def text_of(self, column: ColumnPlan) -> str:
        return spelled(column, column.kind.proof, odd=column.name in self.odd)

    def source_key(self, column: ColumnPlan) -> str:
        if column.db_type in NATIVE_ORDER and column.name not in self.odd:
            return quote(column.name)
        return f"{self.text_of(column)} COLLATE BINARY"

    def ranges(self) -> Iterator[tuple[Bound, Bound]]:
        """``(after, up_to)`` in primary-key order; None is without bound, so that no row of the target escapes."""
        keys = ", ".join(map(self.source_key, self.keys))
        low: Bound = None
        while True:
            condition, parameters = self.source_range(low, None)
            row = self.source.execute(
                f"SELECT {keys} FROM {rows_of(self.table)} WHERE {condition}"
                f" ORDER BY {keys} LIMIT 1 OFFSET {chunk_rows(self.table) - 1}",
                parameters,
            ).fetchone()
            yield low, row
            if row is None:
                return
            low = row

    def source_range(self, low: Bound, high: Bound) -> tuple[str, list[Any]]:
        keys = f"({', '.join(map(self.source_key, self.keys))})"
        marks = f"({', '.join('?' * len(self.keys))})"
        conditions = [self.kept]
        if low is not None:
            conditions.append(f"{keys} > {marks}")
        if high is not None:
            conditions.append(f"{keys} <= {marks}")
        return " AND ".join(conditions), [*(low or ()), *(high or ())]

    def source_rows(self, columns: Sequence[ColumnPlan], low: Bound, high: Bound) -> list[Any]:
        condition, parameters = self.source_range(low, high)
        order = ", ".join(map(self.source_key, self.keys))
        texts = ", ".join(map(self.text_of, columns))
        query = f"SELECT {texts} FROM {rows_of(self.table)} WHERE {condition} ORDER BY {order}"
        return self.source.execute(query, parameters).fetchall()

    def read_source(self, low: Bound, high: Bound) -> tuple[str, int, Sequence[Any]]:
        condition, parameters = self.source_range(low, high)
        order = ", ".join(map(self.source_key, self.keys))
        line = line_of([self.text_of(column) for column in self.hashed]) or NO_COLUMNS
        text, rows = self.source.execute(
            f"SELECT CAST(group_concat(line, char(10)) AS BLOB), count(*) FROM (SELECT {line} AS line"
            f" FROM {rows_of(self.table)} WHERE {condition} ORDER BY {order})",
            parameters,
        ).fetchone()
        values = list(zip(*self.source_rows(self.by_value, low, high), strict=True)) if self.by_value and rows else []
        return hashlib.sha256(text or b"").hexdigest(), rows, values or [()] * len(self.by_value)

    # --- The target -----------------------------------------------------------------------------------------
    def target_key(self, column: ColumnPlan) -> str:
        if column.db_type in NATIVE_ORDER:
            return quote(column.name)
        return f'({column.kind.target_proof.format(c=quote(column.name))}) COLLATE "C"'

    def target_range(self, low: Bound, high: Bound) -> str:
        keys = f"({', '.join(map(self.target_key, self.keys))})"
        conditions = ["true"]
        if low is not None:
            conditions.append(f"{keys} > {self.literals(low)}")
        if high is not None:
            conditions.append(f"{keys} <= {self.literals(high)}")
        return " AND ".join(conditions)

    def literals(self, bound: tuple[Any, ...]) -> str:
        types = (column.db_type if column.db_type in NATIVE_ORDER else "text" for column in self.keys)
        values = (self.cursor.mogrify("%s", [value]).decode() for value in bound)
        return f"({', '.join(f'{value}::{kind}' for value, kind in zip(values, types, strict=True))})"

    def target_text(self, column: ColumnPlan) -> str:
        return column.kind.target_proof.format(c=quote(column.name))

    def read_target(self, low: Bound, high: Bound) -> tuple[str, int, Sequence[Any]]:
        condition = self.target_range(low, high)
        line = " || ',' || ".join(quoted_text(self.target_text(column), column) for column in self.hashed) or NO_COLUMNS
        arrays = "".join(f", array_agg(v{number})" for number in range(len(self.by_value)))
        values = "".join(f", {self.target_text(column)} AS v{number}" for number, column in enumerate(self.by_value))
        digest, rows, *found = fetch_row(
            self.cursor,
            "SELECT encode(sha256(convert_to(coalesce(string_agg(line, E'\\n'), ''), 'UTF8')), 'hex'), count(*)"
            f"{arrays} FROM (SELECT {line} AS line{values} FROM {quote(self.table.name)} WHERE {condition}"
            f" ORDER BY {', '.join(map(self.target_key, self.keys))}) AS chunk",
        )
        return digest, rows, found

    def target_rows(self, low: Bound, high: Bound) -> list[Any]:
        condition = self.target_range(low, high)
        texts = ", ".join(map(self.target_text, self.table.columns))
        self.cursor.execute(
            f"SELECT {texts} FROM {quote(self.table.name)} WHERE {condition}"
            f" ORDER BY {', '.join(map(self.target_key, self.keys))}"
        )
        return self.cursor.fetchall()

    # --- When they differ -------------------------------------------------------------------------------------
    def describe_difference(self, low: Bound, high: Bound) -> VerificationFailed:
        """Compare the range value by value and name the first differences."""
        columns = self.table.columns
        width = [column.name for column in columns]
        positions = [width.index(name) for name in self.table.key]
        ours = {tuple(as_text(row[p]) for p in positions): row for row in self.source_rows(columns, low, high)}
        theirs = {tuple(as_text(row[p]) for p in positions): row for row in self.target_rows(low, high)}
        lines = [f"row {', '.join(map(str, key))} is missing" for key in ours if key not in theirs]
        lines += [f"row {', '.join(map(str, key))} is not in the file" for key in theirs if key not in ours]
        for key in ours.keys() & theirs.keys():
            for column, left, right in zip(columns, ours[key], theirs[key], strict=True):
                if not is_same(column)(as_text(left), right):
                    shown = f"{shown_value(left, column)} became {shown_value(right, column)}"
                    lines.append(f"row {', '.join(map(str, key))}, column {column.name}: {shown}")
        listed = "\n  ".join(sorted(lines)[:5]) or "the order of its rows"
        return VerificationFailed(f"{self.table.name}: PostgreSQL does not hold what the file holds:\n  {listed}")


def is_same(column: ColumnPlan) -> Any:
    by_value = column.kind.by_value
    if not by_value:
        return lambda left, right: left == right
    return lambda left, right: left == right or (left is not None and right is not None and by_value(left, right))


def as_text(value: Any) -> Any:
    return str(value) if isinstance(value, int | float) else value


def shown_value(value: Any, column: ColumnPlan) -> str:
    return excerpt(as_text(value), column.name, column.kind.show) or "NULL"


def quoted_text(text: str, column: ColumnPlan) -> str:
    """PostgreSQL: `text` as SQLite's ``%Q`` writes it."""
    inner = f"replace({text}, '''', '''''')" if column.kind.text or text == quote(column.name) else text
    return f"coalesce('''' || {inner} || '''', 'NULL')" if column.null else f"'''' || {inner} || ''''"


def prove_table(*, table: TablePlan, snapshot: Snapshot, target: Connection, seen: Examination, report: Report) -> str:
    """SHA-256 of the table's content, equal on both sides. Raises VerificationFailed."""
    with contextlib.closing(connect(snapshot)) as source, target.cursor() as cursor:
        proof = Proof(table, source, cursor, seen)
        needs_index = seen.rows_of(table) > chunk_rows(table) and any(
            column.kind.text and column.db_type not in NATIVE_ORDER for column in proof.keys
        )
        if needs_index:
            keys = ", ".join(f"({proof.target_key(column)})" for column in proof.keys)
            cursor.execute(f"CREATE INDEX {INDEX_NAME} ON {quote(table.name)} ({keys})")
        digest = proof.run(report)
        if needs_index:
            cursor.execute(f"DROP INDEX {INDEX_NAME}")
        return digest
