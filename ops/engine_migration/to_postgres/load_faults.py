"""Names the rows that PostgreSQL refuses, after a COPY, an index or a foreign key of their table has failed.

PostgreSQL says for one row why it refuses it. The others are found by a query where there is one for the kind of
constraint, else by loading the table in ever smaller parts.
"""

import re
import sqlite3
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import psycopg2
from psycopg2.extensions import cursor as Cursor  # noqa: N812

from ops.databases.postgres.constraints import NAMES, DroppableObject
from ops.databases.postgres.savepoints import is_about_rows, savepoint
from ops.engine_migration.compared_tables import SourceTable
from ops.engine_migration.faults import Fault, explain
from ops.engine_migration.plan import TablePlan
from ops.engine_migration.refusals import PreflightResult
from ops.engine_migration.source_sql import chunk_rows, converted, exclude_refused, listed, rows_of
from ops.engine_migration.target_sql import key_texts
from ops.engine_migration.to_postgres.copying import reader, send
from ops.utils.identifiers import quoted

DEFERRABLE = re.compile(r" DEFERRABLE( INITIALLY DEFERRED)?$")
COPIED = "ops_copied"
CHECK = (
    "SELECT pg_get_expr(conbin, conrelid), " + NAMES.format(numbers="conkey", table="conrelid") + " FROM pg_constraint"
    " WHERE contype = 'c' AND conrelid = %s::regclass AND conname = %s"
)


@dataclass(kw_only=True)
class Examination:
    """Finds the rows of a table that PostgreSQL refuses, in a transaction that is rolled back to its begin.

    Each row is compared with those before it, so that of equal rows the first is kept. `part` is the index for whose
    sake they are refused; the table has no other one. Without a query, at most `limit` rows are found.
    """

    cursor: Cursor
    connection: sqlite3.Connection
    table: TablePlan
    preflight: PreflightResult
    part: DroppableObject | None
    limit: int
    complete: bool = field(default=True, init=False)

    def find(self, error: psycopg2.Error) -> list[Fault]:
        """The refused rows, of which `error` is about the first."""
        kept = exclude_refused(self.connection, self.preflight.refused, self.table)
        query = f"SELECT {self.table.row} FROM {rows_of(self.table, ())} WHERE {kept} ORDER BY {self.table.row}"
        self.rows = array("q", (row for (row,) in self.connection.execute(query)))
        self.source = SourceTable(self.table, self.connection, self.preflight)
        self.read = reader(self.connection, self.table, self.preflight)
        self.name = quoted(self.table.name)
        self.cursor.execute("SAVEPOINT examination")
        self.begin()
        if not self.part:
            # An error that comes from another process has lost the name of the constraint.
            error = self.refusal(0, len(self.rows)) or error
        faults = self.find_by_query(error) or list(self.bisect())
        self.cursor.execute("ROLLBACK TO SAVEPOINT examination; RELEASE SAVEPOINT examination")
        return faults

    def begin(self) -> None:
        """Let the table be empty, without the index, whatever was tried."""
        self.cursor.execute(f"ROLLBACK TO SAVEPOINT examination; SET CONSTRAINTS ALL IMMEDIATE; TRUNCATE {self.name}")

    def find_by_query(self, error: psycopg2.Error) -> list[Fault]:
        """None for a kind of refusal without a query, or where that fails."""
        queries = {"23505": self.find_conflicts, "23514": self.find_violations, "23P01": self.find_conflicts}
        query = queries.get(str(error.pgcode))
        if not query:
            return []
        self.begin()
        try:
            return list(query(error))
        except psycopg2.Error as failure:
            if is_about_rows(failure):
                return []
            raise

    def find_conflicts(self, error: psycopg2.Error) -> Iterator[Fault]:
        """Rows that are equal to one before them, or that an exclusion constraint does not allow next to it."""
        columns = ", ".join(quoted(column.name) for column in self.table.columns if not column.generated)
        self.cursor.execute(f"CREATE TEMP TABLE {COPIED} AS SELECT {columns} FROM {self.name} WITH NO DATA")
        send(self.cursor, COPIED, self.table, self.texts(0, len(self.rows)))
        if self.part:
            self.cursor.execute(DEFERRABLE.sub("", self.part.create))
        self.cursor.execute(
            f"INSERT INTO {self.name} ({columns}) OVERRIDING SYSTEM VALUE SELECT {columns} FROM {COPIED}"
            " ON CONFLICT DO NOTHING"
        )
        keys = key_texts(self.table)
        self.cursor.execute(f"SELECT {keys} FROM {COPIED} EXCEPT ALL SELECT {keys} FROM {self.name}")
        for row in rows_with(self.source, self.cursor.fetchall()):
            yield explain(error, row, self.table, self.part)

    def find_violations(self, error: psycopg2.Error | None) -> Iterator[Fault]:
        """Rows for which check constraints are false: without these all rows can be loaded."""
        checks = []
        while error:
            self.cursor.execute(CHECK, [self.name, error.diag.constraint_name])
            if not (found := self.cursor.fetchone()):
                return
            checks.append((error.diag.constraint_name, *found))
            self.cursor.execute(f"ALTER TABLE {self.name} DROP CONSTRAINT {quoted(str(error.diag.constraint_name))}")
            error = self.refusal(0, len(self.rows))
        for name, expression, columns in checks:
            self.cursor.execute(f"SELECT {key_texts(self.table)} FROM {self.name} WHERE NOT ({expression})")
            for row in rows_with(self.source, self.cursor.fetchall()):
                yield Fault(row=row, columns=tuple(columns), reason=f"violates the check constraint {name}")

    def bisect(self) -> Iterator[Fault]:
        """Rows that PostgreSQL refuses when they are loaded alone, after those before them."""
        self.begin()
        if self.part:
            self.cursor.execute(self.part.create)
        found = 0
        parts = [(0, len(self.rows))]
        while parts and self.complete:
            start, end = parts.pop()
            if not (error := self.refusal(start, end)):
                continue
            if end - start > 1:
                middle = (start + end) // 2
                parts += [(middle, end), (start, middle)]
                continue
            yield explain(error, self.rows[start], self.table, self.part)
            found += 1
            self.complete = found < self.limit

    def refusal(self, start: int, end: int) -> psycopg2.Error | None:
        """Load these rows. Returns PostgreSQL's error if it refuses some; none is loaded then."""
        try:
            with savepoint(self.cursor):
                send(self.cursor, self.table.name, self.table, self.texts(start, end))
        except psycopg2.Error as error:
            if is_about_rows(error):
                return error
            raise
        return None

    def texts(self, start: int, end: int) -> Iterator[bytes]:
        size = chunk_rows(self.table)
        for first in range(start, end, size):
            yield from self.read(self.rows[first], self.rows[min(first + size, end) - 1])


def rows_with(source: SourceTable, keys: Iterable[Sequence[str]]) -> list[int]:
    """The rows of the file with these texts of their primary keys. Of rows with one key, as many as are in `keys`."""
    wanted = Counter(map(tuple, keys))
    if not wanted:
        return []
    table = source.table
    texts = ", ".join(f"CAST({source.text_of(table.column(name))} AS TEXT)" for name in table.key)
    query = f"SELECT {table.row}, {texts} FROM {rows_of(table)} WHERE {source.kept} ORDER BY {table.row} DESC"
    found = []
    for row, *key in source.connection.execute(query):
        if wanted[tuple(key)] > 0:
            wanted[tuple(key)] -= 1
            found.append(row)
    return sorted(found)


# --- Foreign keys -------------------------------------------------------------------------------------------------
def delete_orphans(cursor: Cursor, source: SourceTable, key: DroppableObject, *, has_parent: bool) -> list[int]:
    """Delete the loaded rows of a table that refer to a missing row. Returns the rows of the file.

    `has_parent`: whether the table to which they refer is migrated, else none of its rows is the right one.
    """
    (parent,) = key.others
    pairs = " AND ".join(
        f"parent.{quoted(theirs)} = child.{quoted(ours)}"
        for ours, theirs in zip(key.columns, key.target_columns, strict=True)
    )
    conditions = [f"child.{quoted(name)} IS NOT NULL" for name in key.columns]
    if has_parent:
        conditions.append(f"NOT EXISTS (SELECT 1 FROM {quoted(parent)} AS parent WHERE {pairs})")
    cursor.execute(
        f"DELETE FROM {quoted(key.table)} AS child WHERE {' AND '.join(conditions)} RETURNING {key_texts(source.table)}"
    )
    return rows_with(source, cursor.fetchall())


def explain_orphans(
    source: SourceTable, parent: TablePlan, key: DroppableObject, refused: Iterable[int], rows: Sequence[int]
) -> Iterator[Fault]:
    """Why each of these `rows` has no row of `parent` to refer to, where that has `refused` rows."""
    table, connection = source.table, source.connection
    columns = [table.column(name) for name in key.columns]
    targets = [parent.column(name) for name in key.target_columns]
    ours = [converted(connection, column, f"own_{column.name}") for column in columns]
    theirs = [converted(connection, column, f"parent_{column.name}") for column in targets]
    is_refused = f"{parent.row} IN {listed(connection, 'refused_parents', refused)}"
    pairs = [
        f"parent.{quoted(target.name)} = child.{quoted(column.name)}"
        for target, column in zip(targets, columns, strict=True)
        if column.type.text
    ]
    query = (
        f"SELECT {table.row}, ({', '.join(f'({text}) COLLATE BINARY' for text in ours)})"
        f" IN (SELECT {', '.join(theirs)} FROM {rows_of(parent)} WHERE {is_refused}),"
        f" EXISTS (SELECT 1 FROM {rows_of(parent)} AS parent WHERE {' AND '.join(pairs) or '0'})"
        f" FROM {rows_of(table)} AS child WHERE {table.row} IN {listed(connection, 'orphans', rows)}"
    )
    for row, refers_to_refused, refers_by_collation in connection.execute(query):
        if refers_to_refused:
            reason = f"refers to a row of {parent.name} that is refused"
        elif refers_by_collation:
            reason = (
                f"equals its row of {parent.name} only by the file's collation; PostgreSQL compares all characters, so"
                f" write the value of {parent.name}.{', '.join(key.target_columns)} here"
            )
        else:
            reason = f"refers to a missing row of {parent.name}"
        yield Fault(row=row, columns=key.columns, reason=reason, is_consequence=bool(refers_to_refused))
