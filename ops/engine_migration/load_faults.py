"""Names the rows that PostgreSQL refuses, after a COPY, an index or a foreign key of their table has failed."""

import re
import sqlite3
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import psycopg2
from psycopg2.extensions import cursor as Cursor  # noqa: N812

from ops.databases.postgres.constraints import DroppableObject
from ops.databases.postgres.savepoints import is_about_rows, savepoint
from ops.engine_migration.cell_checker import IDS_PER_QUERY, TableChecker, TableReport
from ops.engine_migration.copying import reader, send
from ops.engine_migration.findings import FindingLog
from ops.engine_migration.plan import TablePlan
from ops.engine_migration.preflight import PreflightResult
from ops.engine_migration.source_sql import chunk_rows, exclude_refused, rows_of
from ops.engine_migration.verify import SourceTable, target_text
from ops.utils.identifiers import quoted

QUOTED_VALUE = re.compile(r':?\s*["„»«][^"“«»]*["“«»]')
KEYS_PER_QUERY = 200


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A row that PostgreSQL refuses, with the columns and the reason."""

    row: int
    columns: tuple[str, ...]
    reason: str


@dataclass(kw_only=True)
class Bisection:
    """Loads a table in ever smaller parts: a part of one row that PostgreSQL refuses is a `Fault`.

    Each row is compared with those before it, so that of equal rows the first is kept. `part` is an index that the
    table has already. At most `limit` faults are looked for.
    """

    cursor: Cursor
    connection: sqlite3.Connection
    table: TablePlan
    preflight: PreflightResult
    part: DroppableObject | None
    limit: int
    faults: list[Fault] = field(default_factory=list)

    def run(self) -> list[Fault]:
        kept = exclude_refused(self.connection, self.preflight.refused, self.table)
        query = f"SELECT {self.table.row} FROM {rows_of(self.table, ())} WHERE {kept} ORDER BY {self.table.row}"
        self.rows = array("q", (row for (row,) in self.connection.execute(query)))
        self.read = reader(self.connection, self.table, self.preflight)
        self.load(0, len(self.rows))
        return self.faults

    def load(self, start: int, end: int) -> None:
        if start == end or len(self.faults) >= self.limit:
            return
        try:
            with savepoint(self.cursor):
                send(self.cursor, self.table, self.texts(start, end), freeze=False)
        except psycopg2.Error as error:
            if not is_about_rows(error):
                raise
            if end - start == 1:
                self.faults.append(explain(error, self.rows[start], self.table, self.part))
                return
            middle = (start + end) // 2
            self.load(start, middle)
            self.load(middle, end)

    def texts(self, start: int, end: int) -> Iterator[bytes]:
        size = chunk_rows(self.table)
        for first in range(start, end, size):
            yield from self.read(self.rows[first], self.rows[min(first + size, end) - 1])


def explain(error: psycopg2.Error, row: int, table: TablePlan, part: DroppableObject | None) -> Fault:
    """The columns and the reason, without values of the row."""
    named = error.diag.constraint_name or ""
    columns = part.columns if part else column_of(error, table)
    reasons = {
        "23502": "NULL in a column that is NOT NULL",
        "23505": f"not unique ({named}): another row has the same value",
        "23514": f"violates the check constraint {named}",
        "23P01": f"violates the exclusion constraint {named}",
    }
    if part:
        reasons["54000"] = f"too long for the index {part.name}"
    message = (error.diag.message_primary or "").rstrip(".")
    if str(error.pgcode).startswith("22"):
        message = QUOTED_VALUE.sub("", message)
    where = f" ({part.name})" if part else ""
    return Fault(row=row, columns=columns, reason=reasons.get(str(error.pgcode), f"PostgreSQL: {message}{where}"))


def column_of(error: psycopg2.Error, table: TablePlan) -> tuple[str, ...]:
    """The column that PostgreSQL names: in a field, or in the first line of the context, after the number of a line."""
    if error.diag.column_name:
        return (error.diag.column_name,)
    context = (error.diag.context or "").partition("\n")[0]
    names = (column.name for column in table.columns)
    return tuple(name for name in names if re.search(rf"\d, \w+ {re.escape(name)}\s?(:|$)", context))[:1]


def find_orphans(
    cursor: Cursor,
    connection: sqlite3.Connection,
    table: TablePlan,
    preflight: PreflightResult,
    key: DroppableObject,
    limit: int,
) -> list[Fault]:
    """The loaded rows of `table` that refer to a missing row, for a foreign key that cannot be built."""
    (parent,) = key.others
    own = [column for column in table.columns if column.name in table.key]
    pairs = " AND ".join(
        f"parent.{quoted(theirs)} = child.{quoted(ours)}"
        for ours, theirs in zip(key.columns, key.target_columns, strict=True)
    )
    filled = " AND ".join(f"child.{quoted(name)} IS NOT NULL" for name in key.columns)
    cursor.execute(
        f"SELECT {', '.join(map(target_text, own))} FROM {quoted(table.name)} AS child WHERE {filled}"
        f" AND NOT EXISTS (SELECT 1 FROM {quoted(parent)} AS parent WHERE {pairs}) LIMIT {limit}"
    )
    keys = [tuple(map(str, values)) for values in cursor.fetchall()]
    source = SourceTable(table, connection, preflight)
    texts = ", ".join(f"CAST({source.text_of(column)} AS TEXT)" for column in own)
    marks = f"({', '.join('?' * len(own))})"
    rows: list[int] = []
    for start in range(0, len(keys), KEYS_PER_QUERY):
        batch = keys[start : start + KEYS_PER_QUERY]
        query = (
            f"SELECT {table.row} FROM {rows_of(table)} WHERE ({texts}) IN (VALUES {', '.join([marks] * len(batch))})"
        )
        rows += (row for (row,) in connection.execute(query, [text for values in batch for text in values]))
    reason = f"refers to a missing row of {parent}"
    return [Fault(row=row, columns=key.columns, reason=reason) for row in sorted(rows)]


def log_faults(
    connection: sqlite3.Connection,
    table: TablePlan,
    sources: Mapping[str, TablePlan],
    faults: Sequence[Fault],
    log: FindingLog,
) -> None:
    """Add them to the findings."""
    checker = TableChecker(connection, table, sources, log, TableReport())
    by_row = {fault.row: fault for fault in faults}
    rows, names = sorted(by_row), [column.name for column in table.columns]
    for start in range(0, len(rows), IDS_PER_QUERY):
        listed = ", ".join(map(str, rows[start : start + IDS_PER_QUERY]))
        for row, key, values, _ in checker.read_rows(names, (), f"{table.row} IN ({listed})"):
            fault = by_row[row]
            columns = [table.column(name) for name in fault.columns if name in names]
            value = values[columns[0].name] if len(columns) == 1 else None
            checker.refuse(row, key, ", ".join(column.source for column in columns), value, fault.reason)
    log.flush()
