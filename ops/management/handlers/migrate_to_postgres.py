"""What ``manage.py migrate_to_postgres`` does: calls `ops.operations.migrate`."""

import contextlib
import zoneinfo
from collections.abc import Iterator
from pathlib import Path
from typing import Any

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
from ops.management.execution import execute
from ops.management.migration_handler import MigrationHandler
from ops.management.progress import get_reporter
from ops.management.routes import Route
from ops.models import Run
from ops.runs.context import get_context


class ToPostgres(MigrationHandler):
    kind = Run.Kind.MIGRATION
    target: Target

    @contextlib.contextmanager
    def prepare(
        self, console: Console, address: ConnectionInfo, options: dict[str, Any]
    ) -> Iterator[tuple[PreparedFile, Route]]:
        for sentence in sweep_snapshots(conf.BACKUP_DIR):
            console.print(sentence, soft_wrap=True, markup=False)
        if sentence := operations.find_out(get_context(), address):
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


def handle(console: Console, options: dict[str, Any]) -> tuple[dict[str, Any], int]:
    return ToPostgres().handle(console, options)


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
