"""Migrate a SQLite file to PostgreSQL, or only check whether that is possible."""

from pathlib import Path

from django.conf import settings
from django.utils.module_loading import import_string

from ops.backups.engines.postgresql.engine import PostgresEngine
from ops.conf import conf
from ops.databases.postgres.connection import ConnectionInfo
from ops.engine_migration import pipeline
from ops.engine_migration.pipeline import MigrationOptions, PreparedMigration, prepare
from ops.engine_migration.result import MigrationResult
from ops.engine_migration.target import Target
from ops.errors import PreconditionFailed
from ops.models import Run
from ops.runs.context import OpsContext
from ops.runs.executor import operation
from ops.runs.recorder import RunRecorder
from ops.runs.results import FindingGroup, PreflightResult, TableRows


@operation(Run.Kind.MIGRATION, writes_row=False)
def migrate(context: OpsContext, run: RunRecorder, *, prepared: PreparedMigration, target: Target) -> MigrationResult:
    """Copy what was prepared into a staging database, verify it, and swap it in; or leave the target unchanged.

    The locks of the project's own database and of the target are held. No row is written to the live database, which
    may be the file that is migrated, or the target.
    """
    run.log(f"Migrating {prepared.source.path} to {target.address}.")
    is_live = isinstance(context.engine, PostgresEngine) and context.engine.address == target.address
    result = pipeline.migrate(
        prepared=prepared,
        target=target,
        claims=run,
        locked=is_live,
        on_progress=run.report,
    )
    run.mark_applied()
    return result


@operation(Run.Kind.PREFLIGHT)
def preflight(context: OpsContext, run: RunRecorder) -> PreflightResult:
    """Read every cell of the SQLite database as `migrate_to_postgres --dry-run` does, without a target. Writes nothing.

    Raises PreconditionFailed on PostgreSQL.
    """
    if context.engine.kind != "sqlite":
        raise PreconditionFailed("The database is PostgreSQL already. There is nothing to migrate.")
    prepared = prepare(
        path=Path(settings.DATABASES["default"]["NAME"]),
        # Only its types are used; there is no connection.
        postgres=ConnectionInfo(database=context.engine.database),
        legacy=import_string(conf.OPS_LEGACY_FORMAT) if conf.OPS_LEGACY_FORMAT else None,
        options=MigrationOptions(keep_copy=False),
        keep_in=conf.BACKUP_DIR,
        on_progress=run.report,
    )
    with prepared as migration:
        return result_of(migration)


def result_of(migration: PreparedMigration) -> PreflightResult:
    plan, examination = migration.plan, migration.preflight
    return PreflightResult(
        acceptable=migration.acceptable,
        rows=plan.rows,
        size=migration.snapshot.size,
        estimate=round(migration.estimate, 1),
        tables=tuple(TableRows(table=table.name, rows=table.rows, label=table.label) for table in plan.tables),
        skipped=plan.skipped,
        unknown=plan.unknown,
        notes=plan.notes,
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
