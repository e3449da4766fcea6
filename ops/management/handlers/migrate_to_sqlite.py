"""What ``manage.py migrate_to_sqlite`` does: calls `ops.operations.migrate_to_sqlite`."""

import contextlib
from collections.abc import Iterator
from typing import Any

from rich.console import Console

from ops import operations
from ops.conf import conf
from ops.databases.postgres.connection import ConnectionInfo
from ops.engine_migration.prepared import MigrationOptions
from ops.engine_migration.result import MigrationResult
from ops.engine_migration.to_sqlite.pipeline import prepare
from ops.engine_migration.to_sqlite.prepared import PreparedDatabase
from ops.engine_migration.to_sqlite.target import sweep_directories
from ops.management import routes
from ops.management.execution import execute
from ops.management.migration_handler import MigrationHandler
from ops.management.progress import get_reporter
from ops.management.routes import Route
from ops.models import Run
from ops.runs.context import get_context


class ToSqlite(MigrationHandler):
    kind = Run.Kind.MIGRATION_TO_SQLITE

    @contextlib.contextmanager
    def prepare(
        self, console: Console, address: ConnectionInfo, options: dict[str, Any]
    ) -> Iterator[tuple[PreparedDatabase, Route]]:
        path = options["sqlite_path"].absolute()
        for sentence in sweep_directories(path):
            console.print(sentence, soft_wrap=True, markup=False)
        with contextlib.ExitStack() as stack:
            with get_reporter(console) as on_progress:
                ready = stack.enter_context(
                    prepare(
                        address=address,
                        path=path,
                        options=MigrationOptions(
                            quarantine=options["quarantine"], skip_tables=frozenset(options["skip_table"])
                        ),
                        findings=conf.BACKUP_DIR,
                        on_progress=on_progress,
                    )
                )
            yield ready, routes.to_sqlite(ready)

    def rehearse(self, console: Console, run: Run, ready: PreparedDatabase) -> None:
        execute(console, operations.rehearse_to_sqlite, get_context(), run, prepared=ready)

    def migrate(self, console: Console, run: Run, ready: PreparedDatabase) -> MigrationResult:
        return execute(console, operations.migrate_to_sqlite, get_context(), run, prepared=ready)


def handle(console: Console, options: dict[str, Any]) -> tuple[dict[str, Any], int]:
    return ToSqlite().handle(console, options)
