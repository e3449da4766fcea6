"""Would the SQLite database move to PostgreSQL? Everything is read, nothing is written."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings
from django.utils.module_loading import import_string

from ops.databases.postgres.connection import ConnectionInfo
from ops.engine_migration.pipeline import MigrationOptions, PreparedMigration, prepare
from ops.errors import PreconditionFailed
from ops.operations.context import OpsContext
from ops.operations.results import Done
from ops.runs import executor
from ops.runs.recorder import Request
from ops.utils.progress import ProgressCallback


@dataclass(frozen=True, kw_only=True)
class Preflight:
    """What stands in the way of a move; `facts` are JSON values for whoever shows it."""

    acceptable: bool
    facts: Mapping[str, Any]


def examine_move(site: OpsContext, request: Request, report: ProgressCallback) -> Done[Preflight]:
    """Read every cell of the SQLite database as `migrate_to_postgres --dry-run` does, without a target. No arguments.

    Raises PreconditionFailed on PostgreSQL.
    """
    if site.engine.kind != "sqlite":
        raise PreconditionFailed("The database is PostgreSQL already. There is nothing to move.")
    with executor.recorded(request, engine=site.engine, catalogue=site.catalogue, report=report) as recording:
        named = getattr(settings, "OPS_LEGACY_FORMAT", "")
        examined = prepare(
            path=Path(settings.DATABASES["default"]["NAME"]),
            postgres=ConnectionInfo(
                database=site.engine.database
            ),  # it is asked for its types only, without a connection
            legacy=import_string(named) if named else None,
            options=MigrationOptions(keep_copy=False),
            keep_in=Path(getattr(settings, "BACKUP_DIR", "backups")),
            report=recording.report,
        )
        with examined as ready:
            result = Preflight(acceptable=ready.acceptable, facts=facts_of(ready))
        recording.result.update(result.facts)
    return Done(run=recording.id, found=recording.recovered, result=result)


def facts_of(ready: PreparedMigration) -> dict[str, Any]:
    plan, seen = ready.plan, ready.examination
    return {
        "acceptable": ready.acceptable,
        "rows": plan.rows,
        "size": ready.snapshot.size,
        "seconds": round(ready.estimate, 1),
        "tables": [[table.label, table.name, table.rows] for table in plan.tables],
        "skipped": [[skipped.table, skipped.rows, skipped.reason] for skipped in plan.skipped],
        "unknown": [[unknown.table, unknown.rows, unknown.reason] for unknown in plan.unknown],
        "notes": list(plan.notes),
        "findings": seen.count,
        "groups": [
            [group.table, group.column, group.reason, group.count, [example.key for example in group.examples]]
            for group in seen.groups
        ],
        "file": str(ready.findings_file or ""),
    }
