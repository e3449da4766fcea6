"""The plan of a migration: the tables to fill, column by column, and what is skipped."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from django.db import models
from msgspec import Struct

from ops.engine_migration.names import folded
from ops.engine_migration.types.base import ColumnType
from ops.utils.schema import Count, Line, Text


@dataclass(frozen=True, kw_only=True)
class ColumnPlan:
    """A column `name` of PostgreSQL and the SQL `value` that reads it from a row of the file."""

    name: str
    source: str
    value: str
    type: ColumnType
    db_type: str
    null: bool
    field: "models.Field[Any, Any] | None" = None
    known: tuple[str, ...] = ()
    """The values that a legacy file may contain, for messages."""
    allowed: tuple[str, ...] | None = None
    """The possible values, as SQL literals, where a legacy format maps stored values to others."""
    generated: bool = False
    """PostgreSQL computes the values; they are compared, not copied."""
    lookup: tuple[str, str] | None = None
    """The values are natural keys of this seeded (table, column); its primary key goes into PostgreSQL."""
    files: str = ""
    """Values that begin with this name files in the media directory of a legacy program."""


@dataclass(frozen=True, kw_only=True)
class TablePlan:
    """A table `name` of PostgreSQL, filled from the table `source` of the file."""

    name: str
    label: str
    source: str
    columns: tuple[ColumnPlan, ...]
    key: tuple[str, ...]
    rowid: str = "rowid"
    """SQL for the number of a row in the file."""
    key_is_row: bool = False
    """The primary key is that number."""
    where: str = ""
    rows: int = 0
    bytes_per_row: int = 0
    watermark: int = 0
    """The highest id that was ever assigned in this table; ids of deleted rows are not reused."""
    partitioned: bool = False
    files: tuple[ColumnPlan, ...] = ()
    """Columns of the file that are not copied as they are, and name files of the program that wrote it."""
    made_of: tuple[str, ...] = ()
    """The tables of the file from which `source` was prepared; empty where that is one of them."""
    origin: str = ""
    """SQL that finds a cell of a prepared table in the file, as in `LegacyTable`."""

    def column(self, name: str) -> ColumnPlan:
        return next(column for column in self.columns if column.name == name)

    @functools.cached_property
    def row(self) -> str:
        """The name under which queries select `rowid`."""
        return self.unused("ops_row")

    def unused(self, name: str) -> str:
        """`name`, lengthened until no column of the table has it."""
        columns = {folded(column.name) for column in self.columns}
        while name in columns:
            name += "_"
        return name

    def __str__(self) -> str:
        sources = self.made_of or (self.source,)
        return self.name if sources == (self.name,) else f"{', '.join(sources)} → {self.name}"


class Skipped(Struct, frozen=True, kw_only=True):
    """A table of the file that is not migrated, and the reason."""

    table: Line
    rows: Count
    reason: Text


@dataclass(frozen=True, kw_only=True)
class Plan:
    """`tables` in the order of their foreign keys; `skipped` tables; and `unknown` tables and columns."""

    format: str
    tables: tuple[TablePlan, ...]
    skipped: tuple[Skipped, ...]
    unknown: tuple[Skipped, ...]
    notes: tuple[str, ...]

    @property
    def rows(self) -> int:
        return sum(table.rows for table in self.tables)

    def with_sizes(self, sizes: Mapping[str, tuple[int, int]]) -> "Plan":
        """The plan with the number of rows, and the bytes of one, of each table."""
        tables = (
            replace(table, rows=sizes[table.name][0], bytes_per_row=sizes[table.name][1]) for table in self.tables
        )
        return replace(self, tables=tuple(tables))


def rename(value: str, names: Mapping[str, str | int]) -> str:
    """SQL that maps stored values to ours, and leaves others unchanged, for the preflight to refuse."""
    cases = " ".join(f"WHEN {literal(stored)} THEN {literal(ours)}" for stored, ours in names.items())
    return f"CASE {value} {cases} ELSE {value} END"


def literal(value: str | int) -> str:
    return str(value) if isinstance(value, int) else "'" + value.replace("'", "''") + "'"
