"""Migrate a SQLite file to PostgreSQL, or back, or only check whether that is possible."""

from pathlib import Path

from django.conf import settings
from django.utils.module_loading import import_string

from ops.backups.engines.postgresql.engine import PostgresEngine
from ops.conf import conf
from ops.databases.postgres.connection import ConnectionInfo, parse_url
from ops.engine_migration.prepared import NO_SERVER, MigrationOptions, PreparedFile, PreparedMigration
from ops.engine_migration.result import MigrationResult
from ops.engine_migration.to_postgres import pipeline
from ops.engine_migration.to_postgres.pipeline import prepare
from ops.engine_migration.to_postgres.target import Target, inspect_target
from ops.engine_migration.to_sqlite import pipeline as to_sqlite
from ops.engine_migration.to_sqlite.prepared import PreparedDatabase
from ops.errors import PreconditionFailed
from ops.models import Run
from ops.runs.context import OpsContext
from ops.runs.executor import operation
from ops.runs.recorder import RunRecorder
from ops.runs.results import FindingGroup, PreflightResult, TableRows


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
    for note in prepared.load_notes:
        run.log(note)
    return result


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


def is_live(context: OpsContext, address: ConnectionInfo) -> bool:
    """Whether it is the live database, of which the run holds the lock."""
    return isinstance(context.engine, PostgresEngine) and context.engine.is_at(address)


@operation(Run.Kind.MIGRATION_TO_SQLITE)
def migrate_to_sqlite(context: OpsContext, run: RunRecorder, *, prepared: PreparedDatabase) -> MigrationResult:
    """Copy what was prepared into the staging file, verify it, and give it its name; or leave no file.

    The locks of the project's own database and of the source are held. The source is only read.
    """
    address = prepared.snapshot.address
    run.log(f"Migrating {address} to {prepared.path}.")
    result = to_sqlite.migrate(prepared=prepared, locked=is_live(context, address), on_progress=run.report)
    run.mark_applied()
    for note in prepared.load_notes:
        run.log(note)
    return result


@operation()
def rehearse_to_sqlite(context: OpsContext, run: RunRecorder, *, prepared: PreparedDatabase) -> PreflightResult:
    """The dry run: `migrate_to_sqlite` without its cut-over."""
    address = prepared.snapshot.address
    run.log(f"Trying to migrate {address} to {prepared.path}.")
    to_sqlite.rehearse(prepared=prepared, locked=is_live(context, address), on_progress=run.report)
    return result_of(prepared)


@operation(Run.Kind.PREFLIGHT)
def preflight(context: OpsContext, run: RunRecorder) -> PreflightResult:
    """Do what `migrate_to_postgres --dry-run` does with the SQLite database, and POSTGRES_URL as the target.

    Where that is not set, read every cell only. Raises PreconditionFailed on PostgreSQL.
    """
    if context.engine.kind != "sqlite":
        raise PreconditionFailed("The database is PostgreSQL already. There is nothing to migrate.")
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


def result_of(migration: PreparedMigration) -> PreflightResult:
    plan, examination = migration.plan, migration.preflight
    return PreflightResult(
        acceptable=migration.acceptable,
        rows=plan.rows,
        size=migration.size,
        estimate=round(migration.estimate, 1),
        tables=tuple(TableRows(table=table.name, rows=table.rows, label=table.label) for table in plan.tables),
        skipped=plan.skipped,
        unknown=plan.unknown,
        notes=migration.notes,
        not_tried=migration.not_tried,
        findings=examination.count,
        groups=tuple(
            FindingGroup(
                table=group.table,
                column=group.column,
                reason=group.reason,
                count=group.count,
                keys=tuple(str(example.key) for example in group.examples),
            )
            for group in examination.groups
        ),
        findings_file=str(migration.findings_file or ""),
    )
