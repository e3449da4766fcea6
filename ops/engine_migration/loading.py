"""Loads the rows of the snapshot into the staging database, builds its indexes and keys, and finds refused rows.

Where PostgreSQL refuses rows, those are found, and the tables are loaded again without them and without the rows that
refer to them, until PostgreSQL refuses no more.
"""

import contextlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import psycopg2
from psycopg2.extensions import cursor as Cursor  # noqa: N812

from ops.databases.postgres import constraints
from ops.databases.postgres.constraints import DroppableObject, IndexesAndKeys
from ops.databases.postgres.materialized_views import refresh_materialized_views
from ops.databases.postgres.savepoints import is_about_rows, savepoint
from ops.databases.sqlite.snapshot import Snapshot
from ops.engine_migration.copying import copy_table
from ops.engine_migration.findings import FindingLog, Unlogged
from ops.engine_migration.load_faults import Bisection, Fault, find_orphans, log_faults
from ops.engine_migration.plan import TablePlan
from ops.engine_migration.preflight import PreflightResult, refuse_dependants, with_refused
from ops.engine_migration.source_sql import connect
from ops.engine_migration.target import StagingDatabase
from ops.engine_migration.workers import for_each
from ops.utils.identifiers import quoted
from ops.utils.progress import Progress, ProgressCallback, Stage

Item = TypeVar("Item")
Result = TypeVar("Result")
MOST_FAULTS = 100
"""Of a table, unless all of them are wanted for the quarantine."""
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
    log: FindingLog
    quarantine: bool
    on_progress: ProgressCallback
    refused: dict[str, set[int]] = field(default_factory=dict, init=False)
    """Rows that the preflight or PostgreSQL refuses, by table, and with `quarantine` those that refer to them."""
    missing: dict[tuple[str, str], DroppableObject] = field(default_factory=dict, init=False)
    """Indexes and keys that are not built, by table and name."""
    parts: IndexesAndKeys = field(default=IndexesAndKeys(indexes=(), keys=()), init=False)
    unfinished: list[str] = field(default_factory=list, init=False)
    """Tables with more refused rows than are looked for."""

    def load(self) -> None:
        """Afterwards the tables are complete, unless some are `unfinished`."""
        self.refused = {name: set(rows) for name, rows in self.preflight.refused.items()}
        self.exclude_refused()
        with self.staging.session() as connection, connection.cursor() as cursor:
            existing = constraints.read_indexes_and_keys(cursor, [table.name for table in self.tables])
            self.parts = constraints.drop_indexes_and_keys(cursor, existing)
        self.missing = {(part.table, part.name): part for part in (*self.parts.indexes, *self.parts.keys)}
        pending = self.tables
        while faults := self.attempt(pending):
            before = self.preflight
            for name, found in faults.items():
                self.refused.setdefault(name, set()).update(fault.row for fault in found)
            self.exclude_refused()
            if self.unfinished:
                return
            pending = [table for table in self.tables if self.preflight.rows_of(table) != before.rows_of(table)]

    @property
    def notes(self) -> tuple[str, ...]:
        return tuple(
            f"PostgreSQL refuses at least {MOST_FAULTS} rows of {name}; only these are listed, and what comes after the"
            " load was not tried."
            for name in self.unfinished
        )

    def exclude_refused(self) -> None:
        """Let `preflight` exclude the refused rows and those that refer to them."""
        refused = {name: set(rows) for name, rows in self.refused.items() if rows}
        sources = {table.name: table for table in self.tables}
        log = self.log if self.quarantine else Unlogged()
        with self.opened() as connection:
            refuse_dependants(connection, sources, self.preflight.non_canonical, refused, log)
        if self.quarantine:
            self.log.flush()
            self.refused = refused
        self.preflight = with_refused(self.preflight, refused, self.log)

    def attempt(self, pending: Sequence[TablePlan]) -> dict[str, list[Fault]]:
        """Copy `pending` and build all that is missing. Returns the refused rows by table, after which it stops."""
        with self.staging.session() as connection, connection.cursor() as cursor:
            self.drop_built(cursor, {table.name for table in pending})
        self.on_progress(Progress(stage=Stage.COPY, total=sum(table.rows for table in pending)))
        if errors := self.copy(pending):
            return self.log_all((table, self.bisect(table, None, error)) for table, error in errors)
        self.on_progress(Progress(stage=Stage.BUILD, total=len(self.missing)))
        if failed := self.build(self.parts.indexes):
            return self.log_all((table, self.bisect(table, part, error)) for table, part, error in failed)
        if failed := self.build(self.parts.keys):
            return self.log_all((table, self.look_up(table, part, error)) for table, part, error in failed)
        return {}

    def drop_built(self, cursor: Cursor, names: set[str]) -> None:
        """Drop the built indexes and keys of these tables, and the keys that refer to them."""
        for part in (*self.parts.keys, *self.parts.indexes):
            if names.intersection((part.table, *part.others)) and (part.table, part.name) not in self.missing:
                cursor.execute(part.drop)
                self.missing[part.table, part.name] = part

    def copy(self, pending: Sequence[TablePlan]) -> list[tuple[TablePlan, psycopg2.Error]]:
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

        by_size = sorted(pending, key=lambda table: -table.rows * table.bytes_per_row)
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

        tables = {table.name: table for table in self.tables}
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
        processes, on_exit = self.staging.processes, self.staging.close
        return for_each(items, work, processes=processes, on_progress=self.on_progress, on_exit=on_exit)

    # --- Refused rows -------------------------------------------------------------------------------------------------
    @property
    def limit(self) -> int:
        return UNLIMITED if self.quarantine else MOST_FAULTS

    def bisect(self, table: TablePlan, part: DroppableObject | None, error: psycopg2.Error) -> list[Fault]:
        """The rows of `table` that it refuses while it has the index `part`. Raises `error` if there are none."""
        with self.staging.session() as connection, connection.cursor() as cursor, self.opened() as source:
            cursor.execute("SAVEPOINT examination; SET CONSTRAINTS ALL IMMEDIATE")
            missing = dict(self.missing)
            self.drop_built(cursor, {table.name})
            cursor.execute(f"TRUNCATE {quoted(table.name)}")
            if part:
                cursor.execute(part.create)
            faults = Bisection(
                cursor=cursor,
                connection=source,
                table=table,
                preflight=self.preflight,
                part=part,
                limit=self.limit,
            ).run()
            cursor.execute("ROLLBACK TO SAVEPOINT examination; RELEASE SAVEPOINT examination")
            self.missing = missing
        if not faults:
            raise error
        return faults

    def look_up(self, table: TablePlan, key: DroppableObject, error: psycopg2.Error) -> list[Fault]:
        """The rows of `table` that refer to missing ones. Raises `error` if there are none."""
        with self.staging.session() as connection, connection.cursor() as cursor, self.opened() as source:
            faults = find_orphans(cursor, source, table, self.preflight, key, self.limit)
        if not faults:
            raise error
        return faults

    def opened(self) -> contextlib.closing:  # type: ignore[type-arg]
        return contextlib.closing(connect(self.snapshot))

    def log_all(self, found: Iterable[tuple[TablePlan, list[Fault]]]) -> dict[str, list[Fault]]:
        """Add the faults to the findings, and return them by table."""
        by_table: dict[str, list[Fault]] = {}
        sources = {table.name: table for table in self.tables}
        with self.opened() as connection:
            for table, faults in found:
                known = {fault.row for fault in by_table.setdefault(table.name, [])}
                new = [fault for fault in faults if fault.row not in known]
                by_table[table.name] += new
                log_faults(connection, table, sources, new, self.log)
                if len(faults) >= self.limit and table.name not in self.unfinished:
                    self.unfinished.append(table.name)
        return by_table

    # --- The end ------------------------------------------------------------------------------------------------------
    def finish(self) -> None:
        """Complete the indexes, refresh materialized views, restart sequences, and analyze."""
        with self.staging.session() as connection, connection.cursor() as cursor:
            constraints.restore_marks(cursor, self.parts)
            refresh_materialized_views(cursor)
            constraints.restart_sequences(cursor, {quoted(table.name): table.watermark for table in self.tables})
            # Without names, PostgreSQL would analyze its own tables too, which takes longer than those of a small file.
            cursor.execute(f"ANALYZE {', '.join(quoted(table.name) for table in self.tables)}")
