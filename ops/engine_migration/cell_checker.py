"""Examines one table: its cells, and what its rows owe each other."""

import functools
import re
import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ops.engine_migration.constraints import Reference, Unique
from ops.engine_migration.findings import Finding, FindingLog, excerpt
from ops.engine_migration.plan import ColumnPlan, TablePlan
from ops.engine_migration.source_sql import (
    InvalidText,
    conditions,
    is_canonical,
    or_null,
    register_equality_functions,
    rendered,
    rows_of,
)
from ops.engine_migration.types.base import Refused, Stored
from ops.utils.identifiers import quoted

IDS_PER_QUERY = 500
SURROGATE_PAIR = re.compile(rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}")
LONE_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
"""JSON's spelling of characters beyond U+FFFF; PostgreSQL refuses one half without the other."""


@dataclass
class TableReport:
    """What one table's examination gathers."""

    refused: set[int] = field(default_factory=set)
    non_canonical: set[str] = field(default_factory=set)
    stripped: Counter[str] = field(default_factory=Counter)

    def add(self, other: "TableReport") -> None:
        """Take in what was found in another share of the same table."""
        self.refused |= other.refused
        self.non_canonical |= other.non_canonical
        self.stripped += other.stripped


class TableChecker:
    """Examines one table on one connection."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        table: TablePlan,
        sources: Mapping[str, TablePlan],
        log: FindingLog,
        found: TableReport,
        odd: frozenset[str] = frozenset(),
    ) -> None:
        self.connection = connection
        self.table = table
        self.sources = sources
        self.log = log
        self.found = found
        self.odd = odd
        self.texts = [column for column in table.columns if column.kind.text]

    def check_rules(self) -> None:
        """What rows owe each other: references and uniqueness."""
        for reference in self.table.references:
            if not self.table.column(reference.column).lookup:
                self.check_reference(reference)
        for rule in self.table.unique:
            if not rule.enforced_by_source or self.odd.intersection(rule.columns):
                self.check_unique(rule)

    # --- Cells --------------------------------------------------------------------------------------------
    def check_cells(self, after: int, up_to: int) -> None:
        """SQLite names the rows of the range that are not plain, and hands over all its text to be checked as UTF-8."""
        odd, texts = self.connection.execute(self.cells_query, [after, up_to]).fetchone()
        if odd:
            self.check_rows(f"ops_row IN ({odd})")
        if not is_clean(texts or b""):
            self.check_texts(after, up_to)

    @functools.cached_property
    def cells_query(self) -> str:
        plain = " AND ".join([*map(is_canonical, self.table.columns), *self.row_checks()])
        # A comma between any two texts, lest a broken end and a broken start make a letter.
        text = "||','||".join(f"ifnull({quoted(column.name)}, '')" for column in self.texts) or "''"
        return (
            f"SELECT group_concat(CASE WHEN {plain} THEN NULL ELSE ops_row END),"
            f" CAST(group_concat({text}, ',') AS BLOB) FROM {rows_of(self.table)} WHERE ops_row > ? AND ops_row <= ?"
        )

    def row_checks(self) -> list[str]:
        return [f"(({check.sql}) IS NOT 0)" for check in self.table.checks]

    def check_rows(self, condition: str) -> None:
        """Look at each cell of the rows that are not plain."""
        wanted = [(column, sql, reason) for column in self.table.columns for sql, reason in conditions(column)]
        flags = [or_null(column, f"({sql})") for column, sql, _ in wanted] + self.row_checks()
        names = [column.name for column in self.table.columns]
        for row, key, values, held in self.read_rows(names, flags, condition):
            for (column, _, reason), plain in zip(wanted, held, strict=False):
                if not plain:
                    self.check_cell(row, key, column, values[column.name], reason)
            for check, holds in zip(self.table.checks, held[len(wanted) :], strict=True):
                if not holds:
                    self.refuse(row, key, "", None, f"breaks the rule {check.name}")

    def read_rows(
        self, names: Sequence[str], flags: Sequence[str], condition: str
    ) -> Iterator[tuple[int, str, dict[str, Any], Sequence[int]]]:
        """Row id, primary key as text, the values of `names` and the results of `flags`."""
        keys = [name for name in self.table.key if name not in names]
        columns = [*names, *keys]
        selected = ", ".join(["ops_row", *map(quoted, columns), *flags])
        query = f"SELECT {selected} FROM {rows_of(self.table)} WHERE {condition} ORDER BY ops_row"
        for row, *rest in self.connection.execute(query):
            values = dict(zip(columns, rest, strict=False))
            yield row, ", ".join(str(values[name]) for name in self.table.key), values, rest[len(columns) :]

    def check_cell(self, row: int, key: str, column: ColumnPlan, value: Any, reason: str) -> None:
        if value is None:
            self.refuse(row, key, column.source, None, "empty (NULL) where a value has to be")
        elif isinstance(value, InvalidText):
            self.refuse(row, key, column.source, value, "not valid UTF-8")
        elif reason:
            self.refuse(row, key, column.source, value, reason)
        else:
            self.convert(row, key, column, value)

    def convert(self, row: int, key: str, column: ColumnPlan, value: Stored) -> None:
        try:
            converted = column.kind.convert(value)
        except Refused as refused:
            self.refuse(row, key, column.source, value, str(refused))
            return
        self.found.non_canonical.add(column.name)
        if isinstance(value, str) and ("\x00" in value or (column.kind.document and converted != value)):
            self.found.stripped[column.source] += 1

    def check_texts(self, after: int, up_to: int) -> None:
        """Some text of this chunk is not UTF-8 or holds NUL. Cells that are not plain have been looked at already."""
        names = [column.name for column in self.texts]
        flags = [is_canonical(column) for column in self.texts]
        within = f"ops_row > {after} AND ops_row <= {up_to}"
        for row, key, values, plain in self.read_rows(names, flags, within):
            for column, looks_plain in zip(self.texts, plain, strict=True):
                value = values[column.name]
                if looks_plain and value is not None and not is_clean(as_bytes(value)):
                    self.check_cell(row, key, column, value, "")

    def refuse(self, row: int, key: str, column: str, value: Any, reason: str) -> None:
        self.found.refused.add(row)
        self.log.add(
            Finding(
                table=self.table.source,
                key=key,
                column=column,
                stored_type=stored_type(value),
                value=excerpt(value, column),
                reason=reason,
            )
        )

    # --- Rows among each other ------------------------------------------------------------------------------
    def check_reference(self, reference: Reference) -> None:
        """Rows whose foreign key leads nowhere; PostgreSQL would find out at the very end, without naming one."""
        parent = self.sources.get(reference.target)
        column = quoted(reference.column)
        missing = "1"
        if parent:
            missing = (
                f"NOT EXISTS (SELECT 1 FROM {rows_of(parent, (reference.target_column,))} AS parent"
                f" WHERE parent.{quoted(reference.target_column)} = child.{column})"
            )
        child = f"{rows_of(self.table, (reference.column,))} AS child"
        query = f"SELECT ops_row FROM {child} WHERE {column} IS NOT NULL AND {missing}"
        reason = f"refers to a row that {reference.target} does not have"
        if not parent:
            reason = f"refers to {reference.target}, which is not carried over"
        self.refuse_rows(query, reference.column, reason)

    def check_unique(self, rule: Unique) -> None:
        """All rows but the first of those that PostgreSQL would find alike."""
        register_equality_functions(self.connection, self.table, self.odd)
        expressions = [self.postgres_equivalent(expression) for expression in rule.expressions]
        conditions = [f"({rule.where})"] if rule.where else []
        if rule.nulls_distinct:
            conditions += [f"({expression}) IS NOT NULL" for expression in expressions]
        query = (
            f"SELECT ops_row FROM (SELECT ops_row, row_number() OVER (PARTITION BY {', '.join(expressions)}"
            f" ORDER BY ops_row) AS copy FROM {rows_of(self.table)} WHERE {' AND '.join(conditions) or '1'})"
            " WHERE copy > 1"
        )
        self.refuse_rows(query, ", ".join(rule.columns), f"not unique ({rule.name}): another row has the same value")

    def postgres_equivalent(self, expression: str) -> str:
        """SQL that gives the same value for whatever will be the same in PostgreSQL."""
        for column in self.table.columns:
            if column.name in self.odd and expression == quoted(column.name):
                return rendered(column, column.kind.source_text, odd=True)
        return re.sub(r"\b(LOWER|UPPER)\(", r"ops_\1(", expression)

    def refuse_rows(self, query: str, columns: str, reason: str) -> None:
        names = [name.strip() for name in columns.split(",") if name]
        rows = [row for (row,) in self.connection.execute(query)]
        for start in range(0, len(rows), IDS_PER_QUERY):
            ids = ", ".join(map(str, rows[start : start + IDS_PER_QUERY]))
            for row, key, values, _ in self.read_rows(names, (), f"ops_row IN ({ids})"):
                value = values[names[0]] if len(names) == 1 else None
                source = self.table.column(names[0]).source if len(names) == 1 else columns
                self.refuse(row, key, source, value, reason)


def is_clean(text: bytes) -> bool:
    """Valid UTF-8 without NUL, and without escapes in JSON that PostgreSQL refuses."""
    if b"\x00" in text or b"\\u0000" in text:
        return False
    if LONE_SURROGATE.search(text) and LONE_SURROGATE.search(SURROGATE_PAIR.sub(b"", text)):
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
