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
    """Fill `target` with what was prepared, verify it, and swap it in; or leave the target as it was.

    The lock of the project's own database is held meanwhile, and that of the target. The live database is not written
    to: it may be the file that is migrated, or the target.
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
