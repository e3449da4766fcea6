"""What the operations of both migrations share: the result of a preflight, and whether a database is the live one."""

from ops.backups.engines.postgresql.engine import PostgresEngine
from ops.databases.postgres.connection import ConnectionInfo
from ops.engine_migration.prepared import PreparedMigration
from ops.engine_migration.to_sqlite.prepared import PreparedDatabase
from ops.runs.context import OpsContext
from ops.runs.results import FindingGroup, PreflightResult, TableRows


def is_live(context: OpsContext, address: ConnectionInfo) -> bool:
    """Whether it is the live database, of which the run holds the lock."""
    return isinstance(context.engine, PostgresEngine) and context.engine.is_at(address)


def result_of(migration: PreparedMigration) -> PreflightResult:
    plan, examination = migration.plan, migration.preflight
    return PreflightResult(
        reader="SQLite" if isinstance(migration, PreparedDatabase) else "PostgreSQL",
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
