"""``manage.py migrate_to_postgres``: calls `ops.operations.migrate`."""

import contextlib
import zoneinfo
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.core.management.base import CommandParser
from django.db import connection
from django.utils.module_loading import import_string
from rich.console import Console

from ops import operations
from ops.conf import conf
from ops.databases.postgres.connection import ConnectionInfo
from ops.databases.sqlite.files import parse_name
from ops.engine_migration.prepared import MigrationOptions, PreparedFile
from ops.engine_migration.result import MigrationResult
from ops.engine_migration.to_postgres.pipeline import prepare
from ops.engine_migration.to_postgres.snapshot_directory import sweep_snapshots
from ops.engine_migration.to_postgres.target import Target, inspect_target
from ops.errors import PreconditionFailed
from ops.management import routes
from ops.management.base import execute
from ops.management.migration import MigrationCommand
from ops.management.progress import get_reporter
from ops.management.routes import Route
from ops.models import Run
from ops.runs.context import get_context


class Command(MigrationCommand):
    help = (
        "Migrate a SQLite file to PostgreSQL, all or nothing. Every value is checked before anything is written. The"
        " rows are copied into a staging database and compared with the file; then it replaces the empty target. A dry"
        " run does the same except for the last step, and takes as long."
    )
    examples = """
  Check the file and show the plan; POSTGRES_URL is set to postgres://me:secret@db/mydatabase:
    manage.py migrate_to_postgres --sqlite-path db.sqlite3 --dry-run
  The same with the address in a file, or with the password in ~/.pgpass:
    manage.py migrate_to_postgres --sqlite-path db.sqlite3 --postgres-url-file /run/secrets/postgres_url --dry-run
    manage.py migrate_to_postgres --sqlite-path db.sqlite3 --postgres-url postgres://me@db/mydatabase --dry-run
  Migrate, from a script:
    manage.py migrate_to_postgres --sqlite-path db.sqlite3 --yes --json result.json
  Migrate all other rows, and write refused ones to files to fix them:
    manage.py migrate_to_postgres --sqlite-path db.sqlite3 --quarantine refused/
"""
    kind = Run.Kind.MIGRATION
    postgres_role = "target"
    scratch = "database"
    target: Target

    def add_arguments(self, parser: CommandParser) -> None:
        add = parser.add_argument
        add("--sqlite-path", type=Path, metavar="FILE", help="the file to migrate (default: the live SQLite database)")
        super().add_arguments(parser)
        add("--no-backup", action="store_true", help="do not keep a verified copy of the file")
        add("--strip-nul", action="store_true", help="remove NUL characters from text, which PostgreSQL cannot store")
        add(
            "--media-dir",
            type=Path,
            metavar="DIR",
            help="the uploads directory of the other program that wrote the file: names the files that are not there",
        )
        add(
            "--source-timezone",
            metavar="Z",
            help="time zone of times without an offset (default: the one in which Django reads them, usually UTC)",
        )

    @contextlib.contextmanager
    def prepare(
        self, console: Console, address: ConnectionInfo, options: dict[str, Any]
    ) -> Iterator[tuple[PreparedFile, Route]]:
        for sentence in sweep_snapshots(conf.BACKUP_DIR):
            console.print(sentence, soft_wrap=True, markup=False)
        self.target = inspect_target(address)
        with contextlib.ExitStack() as stack:
            with get_reporter(console) as on_progress:
                ready = stack.enter_context(
                    prepare(
                        path=options["sqlite_path"] or current_file(),
                        postgres=address,
                        legacy=import_string(conf.OPS_LEGACY_FORMAT) if conf.OPS_LEGACY_FORMAT else None,
                        options=options_of(options),
                        keep_in=conf.BACKUP_DIR,
                        on_progress=on_progress,
                    )
                )
            yield ready, routes.to_postgres(ready, self.target, is_live=operations.is_live(get_context(), address))

    def rehearse(self, console: Console, run: Run, ready: PreparedFile) -> None:
        execute(console, operations.rehearse, get_context(), run, prepared=ready, target=self.target)

    def migrate(self, console: Console, run: Run, ready: PreparedFile) -> MigrationResult:
        return execute(console, operations.migrate, get_context(), run, prepared=ready, target=self.target)


def options_of(options: dict[str, Any]) -> MigrationOptions:
    return MigrationOptions(
        keep_copy=not options["no_backup"],
        strip_nul=options["strip_nul"],
        quarantine=options["quarantine"],
        skip_tables=frozenset(options["skip_table"]),
        zone=find_zone(options["source_timezone"]),
        media_dir=options["media_dir"],
    )


def current_file() -> Path:
    if connection.vendor == "sqlite":
        return parse_name(str(connection.settings_dict["NAME"]))[0]
    raise PreconditionFailed("No SQLite file: the live database is not SQLite.", "Add --sqlite-path FILE.")


def find_zone(name: str | None) -> zoneinfo.ZoneInfo | None:
    if not name:
        return None
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError) as error:
        raise PreconditionFailed(
            f"--source-timezone {name}: unknown time zone.", "Example: --source-timezone Europe/Berlin"
        ) from error
