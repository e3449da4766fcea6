"""Loads the rows of the snapshot into the staging database, builds its indexes and keys, and finds refused rows.

PostgreSQL checks the constraints. Where it refuses rows of a table, those are found, and the table is loaded again
without them. Rows that refer to a missing row are deleted, and so are those that refer to them.
"""

import contextlib
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeVar

import psycopg2

from ops.databases.postgres import constraints, sequences
from ops.databases.postgres.constraints import DroppableObject, IndexesAndKeys
from ops.databases.postgres.materialized_views import refresh_materialized_views
from ops.databases.postgres.savepoints import is_about_rows, savepoint
from ops.databases.sqlite.snapshot import Snapshot
from ops.engine_migration.compared_tables import SourceTable
from ops.engine_migration.faults import Fault, log_faults
from ops.engine_migration.findings import FindingLog
from ops.engine_migration.names import table_in_postgres
from ops.engine_migration.plan import TablePlan
from ops.engine_migration.planner import concrete_models
from ops.engine_migration.refusals import PreflightResult, with_refused
from ops.engine_migration.source_sql import connect
from ops.engine_migration.to_postgres.copying import copy_table
from ops.engine_migration.to_postgres.load_faults import Examination, delete_orphans, explain_orphans
from ops.engine_migration.to_postgres.target import StagingDatabase
from ops.engine_migration.workers import for_each
from ops.utils.identifiers import quoted
from ops.utils.progress import Progress, ProgressCallback, Stage

Item = TypeVar("Item")
Result = TypeVar("Result")
MOST_FAULTS = 100
"""Of a table, where no query finds all of them, unless all are wanted for the quarantine."""
UNLIMITED = 2**31


@dataclass(kw_only=True)
class Loader:
    """Loads `tables`, without the rows that `preflight` has refused and those that refer to them.

    `quarantine`: refused rows are to be set aside, so all of them are found, and those that refer to them are findings.
    """

    staging: StagingDatabase
    snapshot: Snapshot
    tables: Sequence[TablePlan]
    preflight: PreflightResult
    """From `load` on, with all rows that are not loaded."""
    log: FindingLog
    quarantine: bool
    on_progress: ProgressCallback
    refused: dict[str, set[int]] = field(default_factory=dict, init=False)
    """The rows that are findings, by table: with `quarantine`, all that are not loaded."""
    missing: dict[tuple[str, str], DroppableObject] = field(default_factory=dict, init=False)
    """Indexes and keys that are not built, by table and name."""
    parts: IndexesAndKeys = field(default=IndexesAndKeys(indexes=(), keys=()), init=False)
    unfinished: list[str] = field(default_factory=list, init=False)
    """Tables with more refused rows than are looked for."""

    def load(self) -> None:
        """Afterwards the tables are complete, unless some are `unfinished`."""
        self.refused = {name: set(rows) for name, rows in self.preflight.refused.items()}
        with self.staging.session() as connection, connection.cursor() as cursor:
            existing = constraints.read_indexes_and_keys(cursor, [table.name for table in self.tables])
            self.parts = constraints.drop_indexes_and_keys(cursor, existing)
        self.missing = {(part.table, part.name): part for part in (*self.parts.indexes, *self.parts.keys)}
        self.load_rows(self.tables)
        if not self.unfinished:
            self.build_indexes()
        if not self.unfinished:
            self.build_keys()

    @cached_property
    def by_name(self) -> dict[str, TablePlan]:
        return {table.name: table for table in self.tables}

    @property
    def notes(self) -> tuple[str, ...]:
        return tuple(
            f"PostgreSQL refuses at least {MOST_FAULTS} rows of {name}; only these are listed, and what comes after the"
            " load was not tried."
            for name in self.unfinished
        )

    def load_rows(self, tables: Sequence[TablePlan]) -> None:
        """Copy them, again without the rows that PostgreSQL refuses, until it refuses no more."""
        while tables and not self.unfinished:
            self.on_progress(Progress(stage=Stage.COPY, total=sum(table.rows for table in tables)))
            errors = self.copy(tables)
            for table, error in errors:
                if not self.examine(table, None, error):
                    raise error
            tables = [table for table, _ in errors]

    def build_indexes(self) -> None:
        """Build them, again after loading tables without the rows that PostgreSQL refuses, until it refuses no more."""
        self.on_progress(Progress(stage=Stage.BUILD, total=len(self.missing)))
        while not self.unfinished and (failed := self.build(self.parts.indexes)):
            names = {table.name for table, _, _ in failed}
            self.drop_built(part for part in self.parts.indexes if part.table in names)
            # A row may be refused by several indexes, of which the first names it.
            found = [self.examine(*refusal) for refusal in failed]
            if not any(found):
                raise failed[0][2]
            self.load_rows([self.by_name[name] for name in sorted(names)])
            self.on_progress(Progress(stage=Stage.BUILD, total=len(self.missing)))

    def build_keys(self) -> None:
        """Build them, again without the rows that refer to missing ones, until there are no more."""
        for key in self.parts.keys:
            if key.others[0] in self.tables_left_out and key.table in self.by_name and self.is_copied(key):
                self.remove_orphans(key)
        while failed := self.build(self.parts.keys):
            removed = [self.remove_orphans(key) for _, key, _ in failed]
            if not any(removed):
                raise failed[0][2]

    @cached_property
    def tables_left_out(self) -> frozenset[str]:
        """Tables of models that are not migrated. What they contain comes from Django's migrations."""
        return frozenset(map(table_in_postgres, concrete_models())) - self.by_name.keys()

    def is_copied(self, key: DroppableObject) -> bool:
        """Whether its values come from the file, and were not chosen among those of PostgreSQL."""
        return all(self.by_name[key.table].column(name).allowed is None for name in key.columns)

    def drop_built(self, parts: Iterable[DroppableObject]) -> None:
        """Drop those of `parts` that are built."""
        with self.staging.session() as connection, connection.cursor() as cursor:
            for part in parts:
                if (part.table, part.name) not in self.missing:
                    cursor.execute(part.drop)
                    self.missing[part.table, part.name] = part

    def copy(self, tables: Sequence[TablePlan]) -> list[tuple[TablePlan, psycopg2.Error]]:
        """The tables of which PostgreSQL refuses rows."""

        def work(table: TablePlan, report: ProgressCallback) -> psycopg2.Error | None:
            with self.staging.session() as connection:
                return copy_table(
                    table=table,
                    snapshot=self.snapshot,
                    target=connection,
                    preflight=self.preflight,
                    on_progress=report,
                )

        by_size = sorted(tables, key=lambda table: -table.rows * table.bytes_per_row)
        errors = self.in_parallel(by_size, work)
        return [(table, error) for table, error in zip(by_size, errors, strict=True) if error]

    def build(self, group: Sequence[DroppableObject]) -> list[tuple[TablePlan, DroppableObject, psycopg2.Error]]:
        """Build what is missing of `group`. Returns what PostgreSQL refuses because of rows of its table."""

        def work(part: DroppableObject, report: ProgressCallback) -> psycopg2.Error | None:
            with self.staging.session() as connection, connection.cursor() as cursor:
                if part.others:
                    constraints.lock_tables(cursor, part)
                try:
                    with savepoint(cursor):
                        cursor.execute(part.create)
                except psycopg2.Error as error:
                    if is_about_rows(error):
                        return error
                    raise
            report(Progress(stage=Stage.BUILD, item=part.name, done=1, total=1))
            return None

        tables = self.by_name
        parts = [part for part in group if (part.table, part.name) in self.missing]
        by_size = sorted(parts, key=lambda part: -tables[part.table].rows if part.table in tables else 0)
        errors = self.in_parallel(by_size, work)
        failed = []
        for part, error in zip(by_size, errors, strict=True):
            if not error:
                del self.missing[part.table, part.name]
            elif part.table in tables:
                failed.append((tables[part.table], part, error))
            else:
                raise error
        return failed

    def in_parallel(self, items: Sequence[Item], work: Callable[[Item, ProgressCallback], Result]) -> list[Result]:
        """The results of `work` for each item, in the processes of the staging database."""
        return for_each(
            items,
            work,
            processes=self.staging.processes,
            on_progress=self.on_progress,
            on_exit=self.staging.close,
            waiting=self.staging.address.waiting,
        )

    # --- Refused rows -------------------------------------------------------------------------------------------------
    def examine(self, table: TablePlan, part: DroppableObject | None, error: psycopg2.Error) -> bool:
        """Refuse the rows of `table` that PostgreSQL refuses while it has the index `part`. Returns whether it does."""
        with self.staging.session() as connection, connection.cursor() as cursor, self.opened() as source:
            examination = Examination(
                cursor=cursor,
                connection=source,
                table=table,
                preflight=self.preflight,
                part=part,
                limit=UNLIMITED if self.quarantine else MOST_FAULTS,
            )
            faults = examination.find(error)
            self.refuse(source, table, faults)
        if not examination.complete:
            self.unfinished.append(table.name)
        return bool(faults)

    def remove_orphans(self, key: DroppableObject) -> bool:
        """Refuse and delete the rows that refer to missing ones. Returns whether there were any."""
        table, (name,) = self.by_name[key.table], key.others
        left_out = name in self.tables_left_out
        self.drop_built(other for other in self.parts.keys if table.name in other.others)
        with self.staging.session() as connection, connection.cursor() as cursor, self.opened() as opened:
            source = SourceTable(table, opened, self.preflight)
            rows = delete_orphans(cursor, source, key, has_parent=not left_out)
            if parent := self.by_name.get(name):
                refused = self.preflight.refused.get(name, ())
                faults = list(explain_orphans(source, parent, key, refused, rows))
            else:
                reason = (
                    f"refers to {name}, which is not migrated" if left_out else f"refers to a missing row of {name}"
                )
                faults = [Fault(row=row, columns=key.columns, reason=reason) for row in rows]
            self.refuse(opened, table, faults)
        return bool(rows)

    def refuse(self, source: sqlite3.Connection, table: TablePlan, faults: Sequence[Fault]) -> None:
        """Exclude the rows, and make findings of them, but of consequences only for the quarantine."""
        named = [fault for fault in faults if self.quarantine or not fault.is_consequence]
        self.refused.setdefault(table.name, set()).update(fault.row for fault in named)
        log_faults(source, table, named, self.log)
        excluded = {fault.row for fault in faults}.union(self.preflight.refused.get(table.name, ()))
        self.preflight = with_refused(self.preflight, {**self.preflight.refused, table.name: excluded}, self.log)

    def opened(self) -> contextlib.closing:  # type: ignore[type-arg]
        return contextlib.closing(connect(self.snapshot))

    # --- The end ------------------------------------------------------------------------------------------------------
    def finish(self) -> tuple[str, ...]:
        """Complete the indexes, refresh materialized views, restart sequences, and analyze. Returns notes."""
        watermarks = {quoted(table.name): table.watermark for table in self.tables}
        with self.staging.session() as connection, connection.cursor() as cursor:
            constraints.restore_marks(cursor, self.parts)
            refresh_materialized_views(cursor)
            widened = sequences.widen_sequences(cursor, watermarks)
            sequences.restart_sequences(cursor, watermarks)
            problems = sequences.find_problems(cursor, watermarks)
        self.analyze()
        return (*widened, *problems)

    def analyze(self) -> None:
        """Let PostgreSQL gather statistics, in each process about those of a part of the tables."""

        def work(tables: Sequence[TablePlan], _report: ProgressCallback) -> None:
            with self.staging.session() as connection, connection.cursor() as cursor:
                # Without names, it would analyze its own tables too, which takes longer than those of a small file.
                cursor.execute(f"ANALYZE {', '.join(quoted(table.name) for table in tables)}")

        by_size, processes = sorted(self.tables, key=lambda table: -table.rows), self.staging.processes
        self.in_parallel([by_size[start::processes] for start in range(min(processes, len(by_size)))], work)
