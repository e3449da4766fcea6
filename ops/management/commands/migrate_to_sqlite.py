"""``manage.py migrate_to_sqlite``: calls `ops.operations.migrate_to_sqlite`."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.core.management.base import CommandParser
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
from ops.management.base import execute
from ops.management.migration import MigrationCommand
from ops.management.progress import get_reporter
from ops.management.routes import Route
from ops.models import Run
from ops.runs.context import get_context


class Command(MigrationCommand):
    help = (
        "Migrate a PostgreSQL database to a new SQLite file, all or nothing: the way back from migrate_to_postgres with"
        " today's rows. Every value is checked before any row is copied. The rows are copied into a staging file and"
        " compared with the database; then the file gets its name. The database is only read. A dry run does the same"
        " except for the last step, and takes as long."
    )
    examples = """
  Check the live database, or the one in POSTGRES_URL, and show the plan:
    manage.py migrate_to_sqlite --sqlite-path new.db --dry-run
  Migrate another database, whose address is in a file, from a script:
    manage.py migrate_to_sqlite --sqlite-path new.db --postgres-url-file /run/secrets/url --yes --json result.json
  Migrate all other rows, and write refused ones to files:
    manage.py migrate_to_sqlite --sqlite-path new.db --quarantine refused/
"""
    kind = Run.Kind.MIGRATION_TO_SQLITE
    postgres_role = "source"
    scratch = "file"

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--sqlite-path", type=Path, metavar="FILE", required=True, help="the file to make; it must not exist"
        )
        super().add_arguments(parser)

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
