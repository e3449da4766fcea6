"""Checks the cells of one table."""

import functools
import itertools
import re
import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from ops.engine_migration.findings import Finding, FindingLog, excerpt
from ops.engine_migration.plan import ColumnPlan, TablePlan
from ops.engine_migration.source_sql import (
    InvalidText,
    balanced,
    conditions,
    is_canonical,
    or_null,
    rows_of,
    with_column,
)
from ops.engine_migration.types.base import Refused, Stored
from ops.utils.identifiers import quoted

IDS_PER_QUERY = 500
COLUMNS_PER_QUERY = 300
"""Their values and the results of their checks are columns of one query; SQLite allows 2000."""
HIGH_SURROGATE, LOW_SURROGATE = rb"\\u[dD][89abAB][0-9a-fA-F]{2}", rb"\\u[dD][c-fC-F][0-9a-fA-F]{2}"
LONE_SURROGATE = re.compile(
    # Begins with what both have in common: where alternatives begin the pattern, it is several times as slow.
    rb"\\u[dD](?:[89abAB][0-9a-fA-F]{2}(?!%b)|(?<!%b\\u[dD])[c-fC-F])" % (LOW_SURROGATE, HIGH_SURROGATE)
)
"""JSON escapes for characters beyond U+FFFF; PostgreSQL refuses one half without the other."""


@dataclass
class TableReport:
    """What the check of one table finds."""

    refused: set[int] = field(default_factory=set)
    non_canonical: set[str] = field(default_factory=set)
    stripped: Counter[str] = field(default_factory=Counter)

    def add(self, other: "TableReport") -> None:
        """Add what was found in another part of the same table."""
        self.refused |= other.refused
        self.non_canonical |= other.non_canonical
        self.stripped += other.stripped


@dataclass
class TableChecker:
    """Checks one table on one connection."""

    connection: sqlite3.Connection
    table: TablePlan
    log: FindingLog
    found: TableReport

    @functools.cached_property
    def texts(self) -> list[ColumnPlan]:
        return [column for column in self.table.columns if column.type.text]

    @functools.cached_property
    def together(self) -> list[ColumnPlan]:
        """The columns whose cells are checked a chunk at a time."""
        found = [column for column in self.table.columns if column.type.chunk_check and column.allowed is None]
        return found[:COLUMNS_PER_QUERY]

    def check_cells(self, first: int, last: int) -> None:
        """SQLite lists the rows of the range with non-canonical cells, and returns its text to be checked as UTF-8."""
        rows, texts, *found = self.connection.execute(self.cells_query, [first, last]).fetchone()
        accepted = list(map(are_canonical, self.together, found[::2], found[1::2]))
        if not all(accepted):
            # SQLite checks their cells one by one, also in the next chunks, which probably have such cells, too.
            self.together = list(itertools.compress(self.together, accepted))
            del self.cells_query
            self.check_cells(first, last)
            return
        if rows:
            self.check_rows(f"{self.table.row} IN ({rows})")
        if not is_clean(texts or b""):
            self.check_texts(first, last)

    @functools.cached_property
    def cells_query(self) -> str:
        """For a range: the rows with non-canonical cells, the text, and what `are_canonical` takes of each column of
        `together`, of which it checks no more than that leaves out."""
        row, names = self.table.row, [column.name for column in self.together]
        checks = [
            chunk_condition(column) if column.name in names else is_canonical(column) for column in self.table.columns
        ]
        # A comma separates texts: the broken end of one and the broken start of the next could form a character.
        texts = [f"ifnull({quoted(column.name)}, '')" for column in self.texts if column.name not in names]
        text = balanced("||','||", texts) or "''"
        lines = "".join(f", count({name}), group_concat({name}, char(10))" for name in map(quoted, names))
        return (
            f"SELECT group_concat(CASE WHEN {balanced(' AND ', checks)} THEN NULL ELSE {row} END),"
            f" CAST(group_concat({text}, ',') AS BLOB){lines}"
            f" FROM {rows_of(self.table)} WHERE {row} BETWEEN ? AND ?"
        )

    def check_rows(self, condition: str) -> None:
        """Check each cell of the rows that have non-canonical cells."""
        for columns in self.some_columns(self.table.columns):
            wanted = [(column, sql, reason) for column in columns for sql, reason in conditions(column)]
            flags = [or_null(column, f"({sql})") for column, sql, _ in wanted]
            for row, key, values, held in self.read_rows([column.name for column in columns], flags, condition):
                for (column, _, reason), holds in zip(wanted, held, strict=True):
                    if not holds:
                        self.check_cell(row, key, column, values[column.name], reason)

    def some_columns(self, columns: Sequence[ColumnPlan]) -> Iterator[Sequence[ColumnPlan]]:
        for start in range(0, len(columns), COLUMNS_PER_QUERY):
            yield columns[start : start + COLUMNS_PER_QUERY]

    def read_rows(
        self, names: Sequence[str], flags: Sequence[str], condition: str
    ) -> Iterator[tuple[int, str, dict[str, Any], Sequence[int]]]:
        """Row number, primary key as text, the values of `names` and the results of `flags`."""
        row = self.table.row
        keys = [name for name in self.table.key if name not in names]
        columns = [*names, *keys]
        selected = ", ".join([row, *map(quoted, columns), *flags])
        query = f"SELECT {selected} FROM {rows_of(self.table)} WHERE {condition} ORDER BY {row}"
        for number, *rest in self.connection.execute(query):
            values = dict(zip(columns, rest, strict=False))
            yield number, ", ".join(str(values[name]) for name in self.table.key), values, rest[len(columns) :]

    def check_cell(self, row: int, key: str, column: ColumnPlan, value: Any, reason: str) -> None:
        if value is None:
            self.refuse(row, key, column.source, None, "NULL in a column that is NOT NULL")
        elif isinstance(value, InvalidText):
            self.refuse(row, key, column.source, value, "not valid UTF-8")
        elif reason:
            self.refuse(row, key, column.source, value, reason)
        else:
            self.convert(row, key, column, value)

    def convert(self, row: int, key: str, column: ColumnPlan, value: Stored) -> None:
        try:
            converted = column.type.convert(value)
        except Refused as refused:
            self.refuse(row, key, column.source, value, str(refused))
            return
        self.found.non_canonical.add(column.name)
        if isinstance(value, str) and ("\x00" in value or (column.type.document and converted != value)):
            self.found.stripped[column.source] += 1

    def check_texts(self, first: int, last: int) -> None:
        """Find the text of this chunk that is not UTF-8 or contains NUL. Other cells have been checked already."""
        within = f"{self.table.row} BETWEEN {first} AND {last}"
        for columns in self.some_columns(self.texts):
            flags = list(map(is_canonical, columns))
            for row, key, values, canonical in self.read_rows([column.name for column in columns], flags, within):
                for column, is_plain in zip(columns, canonical, strict=True):
                    value = values[column.name]
                    if is_plain and value is not None and not is_clean(as_bytes(value)):
                        self.check_cell(row, key, column, value, "")

    def find_origin(self, row: int, key: str, columns: str) -> tuple[str, str, str]:
        """Table, primary key and columns as the file has them: those of a prepared table come from others."""
        if not self.table.origin:
            return self.table.source, key, columns
        found = [
            self.connection.execute(self.table.origin, {"row": row, "column": column}).fetchone()
            for column in columns.split(", ")
        ]
        (table, key, _), *_ = found
        return str(table), str(key), ", ".join(dict.fromkeys(str(column) for _, _, column in found))

    def refuse(self, row: int, key: str, column: str, value: Any, reason: str) -> None:
        self.found.refused.add(row)
        table, key, column = self.find_origin(row, key, column)
        self.log.add(
            Finding(
                table=table,
                key=key,
                column=column,
                stored_type=stored_type(value),
                value=excerpt(value, column),
                reason=reason,
            )
        )


def chunk_condition(column: ColumnPlan) -> str:
    """SQL, 1 or 0: what `ColumnType.chunk_check` wants of each cell."""
    check = column.type.chunk_check
    return or_null(column, with_column(check.condition, column)) if check else is_canonical(column)


def are_canonical(column: ColumnPlan, number: int, lines: str | InvalidText | None) -> bool:
    """Whether `ColumnType.chunk_check` accepts the cells of a chunk that are not NULL."""
    check = column.type.chunk_check
    if not number or not check:
        return not number
    return isinstance(lines, str) and check.accepts(lines, number)


def is_clean(text: bytes) -> bool:
    """Valid UTF-8 without NUL, and without escapes in JSON that PostgreSQL refuses."""
    if b"\x00" in text or b"\\u0000" in text:
        return False
    if LONE_SURROGATE.search(text):
        return False
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def as_bytes(value: Any) -> bytes:
    return value.encode() if isinstance(value, str) else bytes(value)


def stored_type(value: Any) -> str:
    """SQLite's name for the type of a stored value."""
    if isinstance(value, str | InvalidText):
        return "text"
    return {int: "integer", float: "real", bytes: "blob"}.get(type(value), "NULL")
