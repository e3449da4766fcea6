"""Migrate a SQLite file to PostgreSQL, or only check whether the live database can be migrated to the other engine."""

from functools import partial
from pathlib import Path

from django.conf import settings
from django.utils.module_loading import import_string

from ops.backups import replacements
from ops.backups.engines.postgresql.engine import PostgresEngine
from ops.conf import conf, setting_name
from ops.databases.postgres import databases, lock
from ops.databases.postgres.connection import ConnectionInfo, parse_url
from ops.databases.postgres.server_id import read_server_id
from ops.engine_migration.prepared import NO_SERVER, MigrationOptions, PreparedFile
from ops.engine_migration.result import MigrationResult
from ops.engine_migration.to_postgres import pipeline
from ops.engine_migration.to_postgres.pipeline import prepare
from ops.engine_migration.to_postgres.target import Target, inspect_target, is_filled
from ops.errors import PreconditionFailed
from ops.models import Run
from ops.operations.findings import is_live, result_of
from ops.operations.migrate_to_sqlite import preflight_to_sqlite
from ops.runs import event_log
from ops.runs.context import OpsContext
from ops.runs.executor import operation
from ops.runs.lock import describe_request, record_answer
from ops.runs.recorder import RunRecorder, is_applied
from ops.runs.results import PreflightResult


@operation(Run.Kind.MIGRATION, writes_row=False)
def migrate(context: OpsContext, run: RunRecorder, *, prepared: PreparedFile, target: Target) -> MigrationResult:
    """Copy what was prepared into a staging database, verify it, and swap it in; or leave the target unchanged.

    The locks of the project's own database and of the target are held. No row is written to the live database, which
    may be the file that is migrated, or the target.
    """
    run.log(f"Migrating {prepared.source.path} to {target.address}.")
    result = pipeline.migrate(
        prepared=prepared,
        target=target,
        claims=run,
        locked=is_live(context, target.address),
        on_progress=run.report,
    )
    run.mark_applied()
    run.record_replaced()
    for note in (*prepared.file_notes, *prepared.load_notes):
        run.log(note)
    return result


def find_out(context: OpsContext, address: ConnectionInfo) -> str:
    """Record whether an earlier migration to `address`, to whose cut-over no server had answered, was done.

    Returns a sentence, or '' where there is none. Raises PreconditionFailed if it was done, AlreadyRunning while
    another run holds the target, and OutcomeUnknown.
    """
    repository = context.repository
    try:
        if not repository.files.names(replacements.FOLDER):
            return ""
    except PreconditionFailed:
        return ""  # where the directory is needed, the migration says what is wrong with it
    with databases.maintenance_connection(address) as connection, lock.locked(connection, address.database):
        with connection.cursor() as cursor:
            where = {"server": read_server_id(cursor), "database": address.database}
        unsure = replacements.read(repository.files, **where).unsure
        run = unsure and event_log.read_runs(repository.events(str(unsure.run))).get(unsure.run)
        if not run or run.kind != Run.Kind.MIGRATION:
            return ""
        renamed = databases.may_create(connection, address.database)
        is_done = is_filled(address, partial(is_applied, run), renamed=renamed)
        record_answer(repository, run, is_done=is_done, **where)
    request = describe_request(run)
    if is_done:
        raise PreconditionFailed(
            f"{request} was done: its rows are in {address}. Nothing was changed now.",
            f"Set {setting_name('DATABASES')} to this database, and restart the site. All users must sign in again.",
        )
    return f"{request} was not done. The database {address} is as before."


@operation(writes_row=False)
def rehearse(context: OpsContext, run: RunRecorder, *, prepared: PreparedFile, target: Target) -> PreflightResult:
    """The dry run: `migrate` without its cut-over. It neither changes the target nor writes to the live database."""
    run.log(f"Trying to migrate {prepared.source.path} to {target.address}.")
    pipeline.rehearse(
        prepared=prepared,
        target=target,
        claims=run,
        locked=is_live(context, target.address),
        on_progress=run.report,
    )
    return result_of(prepared)


@operation(Run.Kind.PREFLIGHT)
def preflight(context: OpsContext, run: RunRecorder) -> PreflightResult:
    """Try the migration of the live database to the other engine, as the commands do with ``--dry-run``.

    SQLite is migrated to POSTGRES_URL; where that is not set, every cell is read, and no more. PostgreSQL is migrated
    to a scratch file in BACKUP_DIR.
    """
    if isinstance(context.engine, PostgresEngine):
        return preflight_to_sqlite(context.engine, run)
    return preflight_to_postgres(context, run)


def preflight_to_postgres(context: OpsContext, run: RunRecorder) -> PreflightResult:
    address = parse_url(conf.POSTGRES_URL) if conf.POSTGRES_URL else None
    target = inspect_target(address) if address else None
    prepared = prepare(
        path=Path(settings.DATABASES["default"]["NAME"]),
        # Without a target, only its types are used; there is no connection.
        postgres=address or ConnectionInfo(database=context.engine.database),
        legacy=import_string(conf.OPS_LEGACY_FORMAT) if conf.OPS_LEGACY_FORMAT else None,
        options=MigrationOptions(keep_copy=False),
        keep_in=conf.BACKUP_DIR,
        on_progress=run.report,
    )
    with prepared as migration:
        if target:
            pipeline.rehearse(prepared=migration, target=target, claims=run, locked=False, on_progress=run.report)
        else:
            migration.not_tried = NO_SERVER
        return result_of(migration)
