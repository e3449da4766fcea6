"""The migration, step by step: snapshot, schema, preflight, copy, verification and cut-over."""

import contextlib
import datetime as dt
import secrets
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from django.conf import settings

from ops.databases.override import sqlite_wrapper
from ops.databases.postgres import lock
from ops.databases.postgres.connection import ConnectionInfo
from ops.databases.postgres.databases import maintenance_connection
from ops.databases.postgres.refusal import Refused
from ops.databases.sqlite.snapshot import Snapshot
from ops.engine_migration.findings import FindingLog
from ops.engine_migration.generic import generic_columns, text_columns
from ops.engine_migration.missing_files import find_missing_files
from ops.engine_migration.orm_check import compare_through_django
from ops.engine_migration.plan import TablePlan
from ops.engine_migration.prepared import FIX_THE_ROWS, MigrationOptions, RowsRefused
from ops.engine_migration.quarantine import discard_quarantine, write_quarantine
from ops.engine_migration.refusals import PreflightResult, no_findings
from ops.engine_migration.result import MigratedTable, MigrationResult
from ops.engine_migration.sessions import translate_server_errors
from ops.engine_migration.target_sql import Key
from ops.engine_migration.to_sqlite import target
from ops.engine_migration.to_sqlite.loading import FileLoader
from ops.engine_migration.to_sqlite.planner import make_plan
from ops.engine_migration.to_sqlite.preflight import check_tables, read_names
from ops.engine_migration.to_sqlite.prepared import PreparedDatabase
from ops.engine_migration.to_sqlite.source import changed_tables, refused_rows, require_temporary_tables, take_snapshot
from ops.engine_migration.to_sqlite.storing import stored_columns
from ops.engine_migration.verify import verify_tables
from ops.engine_migration.workers import ROWS_WORTH_IT, suitable_processes
from ops.errors import OpsError, PreconditionFailed, VerificationFailed
from ops.models import Backup, Run
from ops.utils import posix_signals
from ops.utils.formatting import join_names, pluralize
from ops.utils.progress import Progress, ProgressCallback, Stage, StageTimer

STOP_SITE = "Stop the site, so that no rows are written meanwhile, and run the command again."
INDEX_TABLES = frozenset(model._meta.db_table for model in (Run, Backup))
"""Of files in the backup storage; this run is written there too."""
WORTH_PROCESSES = 20_000_000
"""Bytes of a database whose check is faster in several processes."""


class RowsWritten(PreconditionFailed):
    """Rows were written to PostgreSQL since the snapshot. There is no file."""


@contextlib.contextmanager
def prepare(
    *, address: ConnectionInfo, path: Path, options: MigrationOptions, findings: Path, on_progress: ProgressCallback
) -> Iterator[PreparedDatabase]:
    """Take a snapshot of the database, make an empty file, and look for what SQLite cannot hold.

    The file is in a working directory next to `path`, which is deleted when the block ends. `findings` is the directory
    for the list of findings. Raises PreconditionFailed where nothing can be migrated, whatever the rows contain.
    """
    timer = StageTimer(on_progress)
    target.require_free(path)
    if options.quarantine and path in (options.quarantine.absolute(), *options.quarantine.absolute().parents):
        raise PreconditionFailed(
            f"--quarantine {options.quarantine}: the file is to be there. Nothing was changed.",
            "Specify another directory.",
        )
    with contextlib.ExitStack() as stack:
        stack.enter_context(translate_server_errors(f"There is no file {path}."))
        timer.report(Progress(stage=Stage.SNAPSHOT))
        snapshot = stack.enter_context(take_snapshot(address))
        timer.report(Progress(stage=Stage.SCHEMA))
        file = stack.enter_context(target.staging_file(path))
        empty = Snapshot(source=path, path=file, size=0, sha256="", wal=False)
        postgres, sqlite = address.wrapper(), sqlite_wrapper(empty.uri)
        plan = make_plan(empty, snapshot, sqlite=sqlite, postgres=postgres, skip=options.skip_tables)
        require_temporary_tables(snapshot, generic_columns(plan.tables))
        timer.report(Progress(stage=Stage.PREFLIGHT))
        stamp = f"{dt.datetime.now(dt.UTC):%Y%m%d_%H%M%S}_{secrets.token_hex(2)}"
        log = FindingLog(path=findings / f"{path.stem}_{stamp}_findings.csv")
        columns = {table.name: stored_columns(table, postgres, sqlite) for table in plan.tables}
        processes = suitable_processes(ROWS_WORTH_IT if snapshot.size > WORTH_PROCESSES else 0)
        with contextlib.closing(snapshot.database(processes)) as database:
            reports = check_tables(
                tables=plan.tables, columns=columns, postgres=database, log=log, on_progress=on_progress
            )
        missing = FindingLog(path=findings / f"{path.stem}_{stamp}_missing_files.csv")
        file_notes = find_missing_files(tables=plan.tables, read=partial(read_names, snapshot.holder), log=missing)
        timer.end_stage()
        yield PreparedDatabase(
            options=options,
            plan=plan.with_sizes({name: (found.rows, found.bytes_per_row) for name, found in reports.items()}),
            preflight=with_keys(
                no_findings(plan.tables), {name: found.refused for name, found in reports.items()}, log
            ),
            log=log,
            missing=missing,
            file_notes=file_notes,
            seconds=timer.seconds,
            snapshot=snapshot,
            file=file,
            path=path,
            columns=columns,
        )


def with_keys(result: PreflightResult, refused: Mapping[str, Iterable[Key]], log: FindingLog) -> PreflightResult:
    """`result` with the keys of refused rows, and the findings of `log`."""
    keys = {name: sorted(found) for name, found in refused.items() if found}
    return replace(result, refused=keys, count=log.count, groups=log.groups)


def migrate(
    *,
    prepared: PreparedDatabase,
    locked: bool,
    on_progress: ProgressCallback,
    may_change: Collection[str] = (),
) -> MigrationResult:
    """Fill the file, verify it, and give it its name; or leave no file.

    `locked`: the caller holds the lock of the database already. `may_change`: tables that may be written to meanwhile.
    Raises RowsWritten, PreconditionFailed, VerificationFailed or OpsError.
    """
    timer = StageTimer(on_progress)
    path, quarantine = prepared.path, prepared.options.quarantine
    with (
        contextlib.ExitStack() as finished,
        unless_finished(prepared, locked=locked),
        contextlib.ExitStack() as undo,
    ):
        tables, digests = copy_and_verify(prepared, timer)
        if prepared.is_blocked:
            raise RowsRefused(
                f"SQLite refuses {pluralize(prepared.preflight.count, 'value')}. There is no file {path}."
                f" All findings: {prepared.findings_file}",
                FIX_THE_ROWS,
            )
        timer.report(Progress(stage=Stage.CUT_OVER))
        not_watched = INDEX_TABLES.union(may_change)
        rows = {table.name: table.rows for table in prepared.plan.tables if table.name not in not_watched}
        if changed := changed_tables(prepared.snapshot, rows):
            raise RowsWritten(
                f"Rows of {join_names(changed, 3)} were written during the migration. There is no file {path}.",
                STOP_SITE,
            )
        if quarantine and prepared.preflight.rows_refused:
            rows_of_table = partial(refused_rows, prepared.snapshot, prepared.preflight)
            write_quarantine(quarantine, prepared.plan, prepared.preflight, rows_of_table)
            undo.callback(discard_quarantine, quarantine, prepared.plan, prepared.preflight)
        # Until the end: a run that is interrupted has to leave no file.
        finished.enter_context(posix_signals.ignore_interrupts())
        target.move_into_place(prepared.file, path)
        undo.pop_all()
    timer.end_stage()
    return MigrationResult(
        target=str(path),
        tables=tuple(
            MigratedTable(
                name=table.name,
                label=table.label,
                rows=table.rows,
                refused=len(prepared.preflight.refused.get(table.name, ())),
                sha256=digests[table.name],
            )
            for table in tables
        ),
        seconds={**prepared.seconds, **timer.seconds},
    )


def rehearse(*, prepared: PreparedDatabase, locked: bool, on_progress: ProgressCallback) -> None:
    """Do all that `migrate` does but the cut-over, so that `prepared` has all findings. There is no file afterwards.

    Raises what `migrate` raises.
    """
    timer = StageTimer(on_progress)
    with unless_finished(prepared, locked=locked):
        copy_and_verify(prepared, timer)
    timer.end_stage()
    prepared.seconds = {**prepared.seconds, **timer.seconds}
    prepared.rehearsed = True


@contextlib.contextmanager
def unless_finished(prepared: PreparedDatabase, *, locked: bool) -> Iterator[None]:
    """Hold the lock of the database, and say of errors of either side that there is no file."""
    address = prepared.snapshot.address
    with contextlib.ExitStack() as stack:
        stack.enter_context(translate_server_errors(f"There is no file {prepared.path}."))
        if not locked:
            connection = stack.enter_context(maintenance_connection(address))
            stack.enter_context(lock.locked(connection, address.database))
        prepared.snapshot.require_alive()
        try:
            with target.explain_errors(prepared.path):
                yield
        except VerificationFailed as error:
            raise VerificationFailed(f"{error.message}\nThere is no file {prepared.path}.", error.hint) from error
        except Refused as error:
            raise OpsError(f"{error.message} There is no file {prepared.path}.", error.hint) from error


def copy_and_verify(prepared: PreparedDatabase, timer: StageTimer) -> tuple[tuple[TablePlan, ...], Mapping[str, str]]:
    """Load and verify all tables. Returns them with the digest of the content of each.

    Rows that SQLite refuses become findings of `prepared`, and all others are loaded and verified.
    """
    database = prepared.snapshot.database(1)
    with database.through_django() as wrapper, target.opened(prepared.file) as connection:
        if settings.USE_TZ:
            # The texts of keys are those of the other sessions; Django reads the same moments.
            with wrapper.cursor() as cursor:
                cursor.execute("SET LOCAL TIME ZONE 'UTC'")
        loader = FileLoader(
            tables=prepared.plan.tables,
            columns=prepared.columns,
            source=wrapper.connection,
            target=connection,
            log=prepared.log,
            quarantine=bool(prepared.options.quarantine),
            on_progress=timer.report,
            refused={name: set(keys) for name, keys in prepared.preflight.refused.items()},
        )
        try:
            loader.load()
        finally:
            prepared.log.flush()
            prepared.preflight = with_keys(prepared.preflight, loader.refused, prepared.log)
    return loader.loaded(), verify(prepared, loader.loaded(), timer)


def verify(prepared: PreparedDatabase, tables: Sequence[TablePlan], timer: StageTimer) -> Mapping[str, str]:
    """Compare the file with the snapshot, as if it had been migrated to it. Raises VerificationFailed."""
    path = prepared.file
    file = Snapshot(source=prepared.path, path=path, size=path.stat().st_size, sha256="", wal=False)
    database = prepared.snapshot.database(
        suitable_processes(sum(table.rows for table in tables)), temporary_tables=bool(generic_columns(tables))
    )
    log = FindingLog(path=prepared.log.path)
    with (
        contextlib.closing(database),
        database.through_django(),
        text_columns(
            tables=tables, snapshot=file, preflight=no_findings(tables), log=log, on_progress=timer.report
        ) as (texts, preflight),
    ):
        for group in log.groups:
            raise VerificationFailed(
                f"{group.table}.{group.column}: PostgreSQL would read another value: {group.reason}."
            )
        timer.report(Progress(stage=Stage.VERIFY, total=sum(table.rows for table in tables)))
        digests = verify_tables(
            tables=texts,
            snapshot=file,
            postgres=database,
            preflight=preflight,
            left_out=prepared.preflight.refused,
            on_progress=timer.report,
        )
        prepared.load_notes = compare_through_django(
            tables=texts,
            snapshot=file,
            postgres=database,
            preflight=preflight,
            chosen_zone=None,
            unreadable=True,
        )
    return digests
