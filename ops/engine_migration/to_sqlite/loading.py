"""Loads the rows into the staging file, builds its indexes, and finds the rows that SQLite refuses."""

import re
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from psycopg2.extensions import connection as Connection  # noqa: N812
from psycopg2.extensions import cursor as Cursor  # noqa: N812

from ops.databases.postgres.queries import fetch_row, fetch_value
from ops.engine_migration.compared_tables import SourceTable
from ops.engine_migration.findings import Finding, FindingLog
from ops.engine_migration.plan import TablePlan
from ops.engine_migration.refusals import no_findings
from ops.engine_migration.source_sql import register_functions, rows_of
from ops.engine_migration.target_sql import Key
from ops.engine_migration.to_sqlite.copying import RefusedRow, TableCopier
from ops.engine_migration.to_sqlite.storing import StoredColumn
from ops.errors import VerificationFailed
from ops.utils.identifiers import quoted
from ops.utils.progress import Progress, ProgressCallback, Stage

UNIQUE = re.compile(r"UNIQUE constraint failed: (?:index '(?P<index>.+)'|(?P<columns>.+))")
CHECK = re.compile(r"CHECK constraint failed: (?P<name>.+)")
NOT_NULL = re.compile(r"NOT NULL constraint failed: (?P<column>.+)")
SORTING_CACHE = 4000
"""KiB, while indexes are built."""


@dataclass(kw_only=True)
class FileLoader:
    """Loads `tables` through one connection to each side, without the rows that are `refused` already.

    `quarantine`: rows that refer to refused ones are findings as well.
    """

    tables: Sequence[TablePlan]
    columns: Mapping[str, Sequence[StoredColumn]]
    source: Connection
    target: sqlite3.Connection
    log: FindingLog
    quarantine: bool
    on_progress: ProgressCallback
    refused: dict[str, set[Key]] = field(default_factory=dict)

    def load(self) -> None:
        """Replace what Django's migrations have put into the tables by the rows of PostgreSQL. One transaction."""
        self.target.execute("BEGIN")
        triggers = self.drop("trigger")
        for table in self.tables:
            self.target.execute(f"DELETE FROM {quoted(table.source)}")
        indexes = self.drop("index")
        self.on_progress(Progress(stage=Stage.COPY, total=sum(table.rows for table in self.tables)))
        for table in self.tables:
            self.copy(table)
        self.on_progress(Progress(stage=Stage.BUILD, total=len(indexes)))
        # Sorting takes as much again as the cache.
        self.target.execute(f"PRAGMA cache_size = -{SORTING_CACHE}")
        self.target.execute("PRAGMA shrink_memory")
        for name, statement in indexes:
            self.target.execute(statement)
            self.on_progress(Progress(stage=Stage.BUILD, item=name, done=1, total=1))
        self.remove_orphans()
        for _, statement in triggers:
            self.target.execute(statement)
        self.continue_numbers()
        self.target.execute("PRAGMA analysis_limit = 1000")
        self.target.execute("ANALYZE")
        self.target.execute("COMMIT")

    def loaded(self) -> tuple[TablePlan, ...]:
        """The tables with the numbers of rows that they have in the file."""
        return tuple(replace(table, rows=table.rows - len(self.refused.get(table.name, ()))) for table in self.tables)

    def drop(self, kind: str) -> list[tuple[str, str]]:
        """Drop the triggers, or the indexes that may have equal entries. Returns the name and SQL of each."""
        names = {table.source for table in self.tables}
        found = [
            (name, statement)
            for name, table, statement in self.target.execute(
                "SELECT name, tbl_name, sql FROM sqlite_master WHERE type = ? AND sql IS NOT NULL", [kind]
            ).fetchall()
            # Rows that are not unique are found when they are inserted.
            if table in names and not (kind == "index" and statement.upper().startswith("CREATE UNIQUE"))
        ]
        for name, _ in found:
            self.target.execute(f"DROP {kind} {quoted(name)}")
        return found

    def copy(self, table: TablePlan) -> None:
        refused = self.refused.setdefault(table.name, set())
        expected = table.rows - len(refused)
        copier = TableCopier(
            table=table,
            columns=self.columns[table.name],
            source=self.source,
            target=self.target,
            left_out=sorted(refused),
            on_progress=self.on_progress,
        )
        copied = copier.run()
        for row in copier.refused:
            refused.add(row.key)
            self.log.add(explain(table, row))
        if copied + len(copier.refused) != expected:
            raise VerificationFailed(f"{table.name}: {copied} rows were stored, and PostgreSQL has {expected}.")

    # --- Rows that refer to missing ones ------------------------------------------------------------------------------
    def remove_orphans(self) -> None:
        """Delete the rows that refer to rows that are not in the file, and then those that refer to them."""
        register_functions(self.target)
        while orphans := self.find_orphans():
            for (name, parent), rows in orphans.items():
                if table := self.by_source.get(name):
                    self.remove(table, parent, rows)
                else:
                    # Django's migrations have made them.
                    self.target.executemany(f"DELETE FROM {quoted(name)} WHERE rowid = ?", ([row] for row in rows))

    @cached_property
    def by_source(self) -> dict[str, TablePlan]:
        return {table.source: table for table in self.tables}

    def find_orphans(self) -> dict[tuple[str, str], set[int]]:
        """Their row ids, by table and by the table to which they refer."""
        found: dict[tuple[str, str], set[int]] = {}
        for name, row, parent, _ in self.target.execute("PRAGMA foreign_key_check"):
            # Rows of tables without row ids are none of Django's.
            if row is not None:
                found.setdefault((name, parent), set()).add(row)
        for table in self.tables:
            for _, _, parent, column, *_ in self.target.execute(f"PRAGMA foreign_key_list({quoted(table.source)})"):
                if parent not in self.by_source:
                    # What such a table contains comes from Django's migrations: none of its rows is the right one.
                    query = f"SELECT {table.rowid} FROM {quoted(table.source)} WHERE {quoted(column)} IS NOT NULL"
                    if rows := {number for (number,) in self.target.execute(query)}:
                        found.setdefault((table.source, parent), set()).update(rows)
        return found

    def remove(self, table: TablePlan, parent: str, rows: Iterable[int]) -> None:
        named = self.by_source.get(parent)
        is_consequence = bool(named and self.refused[named.name])
        reason = f"refers to a missing row of {parent}"
        if not named:
            reason = f"refers to {parent}, which is not migrated"
        elif is_consequence:
            reason = f"refers to a row of {parent} that is refused"
        source = SourceTable(table, self.target, no_findings([table]))
        texts = ", ".join(source.text_of(table.column(name)) for name in table.key)
        for row in sorted(rows):
            key = self.target.execute(f"SELECT {texts} FROM {rows_of(table)} WHERE {table.row} = ?", [row]).fetchone()
            self.target.execute(f"DELETE FROM {quoted(table.source)} WHERE {table.rowid} = ?", [row])
            self.refused[table.name].add(tuple(map(str, key)))
            if self.quarantine or not is_consequence:
                self.log.add(finding(table, tuple(map(str, key)), (), reason))

    # --- The numbers of new rows --------------------------------------------------------------------------------------
    def continue_numbers(self) -> None:
        """Let SQLite go on after the last number that PostgreSQL assigned, so that no number is used again."""
        if not self.target.execute("SELECT 1 FROM sqlite_master WHERE name = 'sqlite_sequence'").fetchone():
            return
        with self.source.cursor() as cursor:
            for table in self.tables:
                if len(table.key) == 1 and (last := last_number(cursor, table)):
                    changed = self.target.execute(
                        "UPDATE sqlite_sequence SET seq = max(seq, ?) WHERE name = ?", [last, table.source]
                    )
                    if not changed.rowcount and self.has_numbers(table):
                        self.target.execute("INSERT INTO sqlite_sequence VALUES (?, ?)", [table.source, last])

    def has_numbers(self, table: TablePlan) -> bool:
        query = "SELECT sql LIKE '%AUTOINCREMENT%' FROM sqlite_master WHERE name = ?"
        return bool(self.target.execute(query, [table.source]).fetchone()[0])


def last_number(cursor: Cursor, table: TablePlan) -> int:
    """The last number that the sequence of the primary key has given; 0 without one."""
    name = fetch_value(cursor, "SELECT pg_get_serial_sequence(%s, %s)", [quoted(table.name), table.key[0]])
    if not name:
        return 0
    last, was_called = fetch_row(cursor, f"SELECT last_value, is_called FROM {name}")
    return int(last) if was_called else int(last) - 1


# --- Findings ---------------------------------------------------------------------------------------------------------
def explain(table: TablePlan, row: RefusedRow) -> Finding:
    """The columns and the reason, without values of the row."""
    message = str(row.error)
    if match := UNIQUE.fullmatch(message):
        named = match["index"] or match["columns"]
        columns = () if match["index"] else tuple(name.rpartition(".")[2] for name in named.split(", "))
        return finding(table, row.key, columns, f"not unique ({named}): another row has the same value")
    if match := NOT_NULL.fullmatch(message):
        return finding(table, row.key, (match["column"].rpartition(".")[2],), "NULL in a column that is NOT NULL")
    if match := CHECK.fullmatch(message):
        return finding(table, row.key, (), f"violates the check constraint {match['name']}")
    return finding(table, row.key, (), f"SQLite: {message}")


def finding(table: TablePlan, key: Key, columns: Sequence[str], reason: str) -> Finding:
    return Finding(
        table=table.name, key=", ".join(key), column=", ".join(columns), stored_type="", value="", reason=reason
    )
