"""Migrate a SQLite file to PostgreSQL."""

from pathlib import Path

from ops.backups.engines.postgresql.engine import PostgresEngine
from ops.engine_migration import pipeline
from ops.engine_migration.pipeline import PreparedMigration
from ops.engine_migration.result import MigrationResult
from ops.engine_migration.target import Target
from ops.models import Run
from ops.runs.context import OpsContext
from ops.runs.executor import operation
from ops.runs.recorder import RunRecorder


@operation(Run.Kind.MIGRATION, writes_row=False)
def migrate(
    context: OpsContext, run: RunRecorder, *, prepared: PreparedMigration, target: Target, quarantine: Path | None
) -> MigrationResult:
    """Copy what was prepared into a staging database, verify it, and swap it in; or leave the target unchanged.

    The locks of the project's own database and of the target are held. No row is written to the live database, which
    may be the file that is migrated, or the target.
    """
    run.log(f"Migrating {prepared.source.path} to {target.address}.")
    is_live = isinstance(context.engine, PostgresEngine) and context.engine.address == target.address
    result = pipeline.migrate(
        prepared=prepared,
        target=target,
        quarantine=quarantine,
        claims=run,
        locked=is_live,
        on_progress=run.report,
    )
    run.mark_applied()
    return result
