"""Migrate a PostgreSQL database to a new SQLite file, for the command, or for a download from the admin."""

import contextlib
from collections.abc import Iterator

import msgspec

from ops.backups.engines.postgresql.engine import PostgresEngine
from ops.conf import conf
from ops.engine_migration.prepared import MigrationOptions, RowsRefused
from ops.engine_migration.result import MigrationResult
from ops.engine_migration.to_sqlite import pipeline
from ops.engine_migration.to_sqlite.pipeline import RowsWritten
from ops.engine_migration.to_sqlite.prepared import PreparedDatabase
from ops.errors import PreconditionFailed
from ops.maintenance import maintenance_mode
from ops.models import Run
from ops.operations.findings import is_live, result_of
from ops.operations.sqlite_files import delete_earlier_files, new_path
from ops.runs.context import OpsContext
from ops.runs.executor import operation
from ops.runs.recorder import RunRecorder
from ops.runs.results import PreflightResult, SqliteMigrationResult

WRITTEN_BY_PROCESSES = frozenset(
    {
        "django_celery_beat_periodictask",
        "django_celery_beat_periodictasks",
        "django_celery_results_chordcounter",
        "django_celery_results_groupresult",
        "django_celery_results_taskresult",
    }
)
"""Tables in which the scheduler and the workers of a running site record what they did."""
REASON = "The database is being migrated to a SQLite file."
FIND_THE_WRITER = (
    "Requests that write were blocked, so a command, a task, another program, or a request that had begun before has"
    " written. Wait until it has ended, and make the file again. Or stop the site, and run: manage.py migrate_to_sqlite"
    " --sqlite-path NEW.db"
)
FIX_OR_LEAVE_OUT = (
    "Fix the values in PostgreSQL, and make the file again. Or stop the site, and let the command leave them out:"
    " manage.py migrate_to_sqlite --sqlite-path NEW.db, with --quarantine DIR for refused rows, and --skip-table T for"
    " tables without a model."
)


@operation(writes_row=False)
def migrate_to_sqlite(context: OpsContext, run: RunRecorder, *, prepared: PreparedDatabase) -> SqliteMigrationResult:
    """Copy what was prepared into the staging file, verify it, and give it its name; or leave no file.

    The locks of the project's own database and of the source are held. The source is only read, so the run has events
    and no row. Without the thread that would write it, several processes can compare the rows.
    """
    address = prepared.snapshot.address
    run.log(f"Migrating {address} to {prepared.path}.")
    result = pipeline.migrate(prepared=prepared, locked=is_live(context, address), on_progress=run.report)
    return finish(run, prepared, result)


@operation(writes_row=False)
def rehearse_to_sqlite(context: OpsContext, run: RunRecorder, *, prepared: PreparedDatabase) -> PreflightResult:
    """The dry run: `migrate_to_sqlite` without its cut-over."""
    address = prepared.snapshot.address
    run.log(f"Trying to migrate {address} to {prepared.path}.")
    pipeline.rehearse(prepared=prepared, locked=is_live(context, address), on_progress=run.report)
    return result_of(prepared)


@operation(Run.Kind.MIGRATION_TO_SQLITE)
def make_sqlite_file(context: OpsContext, run: RunRecorder) -> SqliteMigrationResult:
    """Migrate the live database to a new file in BACKUP_DIR, and delete the earlier ones. Writes are blocked meanwhile.

    Findings make the run fail, with a result that has them. Raises PreconditionFailed or OpsError; then there is no new
    file, and the earlier ones stay.
    """
    engine = require_postgresql(context)
    with maintenance_mode(reason=REASON), prepared_file(engine, run) as prepared:
        try:
            require_acceptable(prepared)
            result = pipeline.migrate(
                prepared=prepared, locked=True, on_progress=run.report, may_change=WRITTEN_BY_PROCESSES
            )
        except RowsWritten as error:
            raise PreconditionFailed(error.message, FIND_THE_WRITER) from error
        except RowsRefused as error:
            run.fail(RowsRefused(error.message, FIX_OR_LEAVE_OUT))
            return blocked(prepared)
        finished = finish(run, prepared, result)
    delete_earlier_files(run, newest=prepared.path)
    return finished


def preflight_to_sqlite(engine: PostgresEngine, run: RunRecorder) -> PreflightResult:
    """The dry run with the live database and a scratch file in BACKUP_DIR."""
    with prepared_file(engine, run) as prepared:
        pipeline.rehearse(prepared=prepared, locked=True, on_progress=run.report)
        return result_of(prepared)


def require_postgresql(context: OpsContext) -> PostgresEngine:
    """Raises PreconditionFailed on SQLite."""
    if not isinstance(context.engine, PostgresEngine):
        raise PreconditionFailed(
            "The database is a SQLite file already. There is nothing to migrate.", "Download a backup of it instead."
        )
    return context.engine


@contextlib.contextmanager
def prepared_file(engine: PostgresEngine, run: RunRecorder) -> Iterator[PreparedDatabase]:
    """The live database, ready to be migrated to a new file in BACKUP_DIR. The run holds its lock."""
    with pipeline.prepare(
        address=engine.address,
        path=new_path(engine.database),
        options=MigrationOptions(),
        findings=conf.BACKUP_DIR,
        on_progress=run.report,
    ) as prepared:
        run.log(f"The snapshot of {engine.where} was taken at {prepared.snapshot.taken_at:%H:%M:%S} UTC.")
        yield prepared


def require_acceptable(prepared: PreparedDatabase) -> None:
    """Raises RowsRefused for findings."""
    if prepared.acceptable:
        return
    where = f" All findings: {prepared.findings_file}" if prepared.findings_file else ""
    raise RowsRefused(f"Not all rows can be migrated. There is no file {prepared.path}.{where}")


def blocked(prepared: PreparedDatabase) -> SqliteMigrationResult:
    return SqliteMigrationResult(
        target="",
        tables=(),
        seconds=dict(prepared.seconds),
        taken_at=prepared.snapshot.taken_at,
        blocked_by=result_of(prepared),
    )


def finish(run: RunRecorder, prepared: PreparedDatabase, result: MigrationResult) -> SqliteMigrationResult:
    """The result with the time of the snapshot. The file is there."""
    run.mark_applied()
    for note in prepared.notes:
        run.log(note)
    return SqliteMigrationResult(**msgspec.structs.asdict(result), taken_at=prepared.snapshot.taken_at)
