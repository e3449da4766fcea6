"""What the two commands do that migrate between SQLite and PostgreSQL."""

import contextlib
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError
from django.db import connection
from rich.console import Console

from ops.conf import conf, setting_name
from ops.databases.override import direct_settings
from ops.databases.postgres.connection import ConnectionInfo, from_settings, parse_url
from ops.databases.postgres.url import EXAMPLE
from ops.engine_migration.prepared import PreparedMigration, RowsRefused
from ops.engine_migration.quarantine import check_directory
from ops.engine_migration.result import MigrationResult
from ops.errors import PreconditionFailed
from ops.management import migration_report
from ops.management.base import ConfirmationDeclined
from ops.management.execution import new_run, prompt
from ops.management.routes import Route
from ops.models import Run
from ops.utils.posix_signals import ignore_interrupts
from ops.utils.printable import printable

FINDINGS, QUARANTINED = 2, 3
VISIBLE_IN_PROCESS_LIST = (
    "Every user of this machine can read the password in --postgres-url while the command runs. Set POSTGRES_URL"
    " instead, or name a file: --postgres-url-file FILE."
)


class MigrationHandler:
    """Prepares a migration, shows its plan and findings, asks, migrates, and shows the result."""

    kind: Run.Kind

    # --- What the directions differ in ---------------------------------------------------------------------------
    def prepare(
        self, console: Console, address: ConnectionInfo, options: dict[str, Any]
    ) -> AbstractContextManager[tuple[PreparedMigration, Route]]:
        """What is ready to be migrated. Raises OpsError."""
        raise NotImplementedError

    def rehearse(self, console: Console, run: Run, ready: Any) -> None:
        """Do the dry run. Raises OpsError."""
        raise NotImplementedError

    def migrate(self, console: Console, run: Run, ready: Any) -> MigrationResult:
        """Migrate. Raises OpsError."""
        raise NotImplementedError

    # --- The same for both ----------------------------------------------------------------------------------------
    def handle(self, console: Console, options: dict[str, Any]) -> tuple[dict[str, Any], int]:
        check_json(options["json"])
        address = find_address(options)
        if options["postgres_url"] and address.password:
            console.print(VISIBLE_IN_PROCESS_LIST, style="yellow", soft_wrap=True)
        if options["quarantine"]:
            check_directory(options["quarantine"])
        with self.prepare(console, address, options) as (ready, route):
            migration_report.show_plan(console, ready, route)
            if options["dry_run"]:
                migration_report.show_rehearsal(console, route)
                document = self.report_rehearsal(console, ready, route)
                return document, 0 if ready.acceptable else FINDINGS
            migration_report.show_findings(console, ready, route)
            if ready.is_blocked:
                migration_report.show_stop(console, ready, route, dry_run=False)
                return migration_report.plan_as_json(ready, route), FINDINGS
            if not options["yes"]:
                confirm(console, ready, route)
            run = new_run(self.kind)
            try:
                result = self.migrate(console, run, ready)
            except RowsRefused:
                migration_report.show_findings(console, ready, route)
                migration_report.show_stop(console, ready, route, dry_run=False)
                return {"run": str(run.pk), **migration_report.plan_as_json(ready, route)}, FINDINGS
            except KeyboardInterrupt:
                if run.status == Run.Status.SUCCEEDED:
                    done = f"Interrupted after the end of the migration: all rows are in {route.done}."
                    raise KeyboardInterrupt(done) from None
                raise
            # The migration is done: Ctrl-C must not report from here on that nothing was changed.
            with ignore_interrupts(), ignore_report_errors():
                migration_report.show_result(console, ready, route, result)
            document = migration_report.result_as_json(ready, route, result)
            return {"run": str(run.pk), **document}, QUARANTINED if result.refused else 0

    def report_rehearsal(self, console: Console, ready: PreparedMigration, route: Route) -> dict[str, Any]:
        """Do the dry run and show its outcome, and all findings even if it fails."""
        run = new_run(Run.Kind.PREFLIGHT)
        try:
            self.rehearse(console, run, ready)
        finally:
            migration_report.show_notes(console, ready.load_notes)
            migration_report.show_findings(console, ready, route)
        migration_report.show_stop(console, ready, route, dry_run=True)
        return {"run": str(run.pk), **migration_report.plan_as_json(ready, route)}


@contextlib.contextmanager
def ignore_report_errors() -> Iterator[None]:
    """A closed pipe must not make a finished migration look failed."""
    try:
        yield
    except (OSError, SystemExit) as error:
        with contextlib.suppress(OSError):
            reason = printable(str(error))
            sys.stderr.write(f"The migration is done and verified; its report could not be written ({reason}).\n")


def confirm(console: Console, ready: PreparedMigration, route: Route) -> None:
    """Ask the user to type yes. Raises ConfirmationDeclined otherwise."""
    rows = sum(ready.preflight.rows_of(table) for table in ready.plan.tables)
    question = f"Type yes to migrate {rows:,} rows into {route.into}: "
    if prompt(console, question) != "yes":
        raise ConfirmationDeclined("Not confirmed. Nothing was changed.")


def find_address(options: dict[str, Any]) -> ConnectionInfo:
    """The PostgreSQL database: from the command line, else from the environment."""
    url = options["postgres_url"] or ""
    if options["postgres_url_file"]:
        url = read_url(options["postgres_url_file"])
    if url := url or conf.POSTGRES_URL:
        return parse_url(url)
    if connection.vendor == "postgresql":
        return from_settings(direct_settings())
    raise PreconditionFailed(
        f"No PostgreSQL database: {setting_name('DATABASES')} is SQLite, and POSTGRES_URL is not set.",
        f"Set POSTGRES_URL, for example to {EXAMPLE}",
    )


def read_url(path: Path) -> str:
    """Raises PreconditionFailed."""
    try:
        url = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise PreconditionFailed(
            f"--postgres-url-file {path} cannot be read ({type(error).__name__}). Nothing was changed.",
            "Name a file whose first line is postgres://user:password@host:5432/name, for you alone to read.",
        ) from error
    if not url:
        raise PreconditionFailed(
            f"--postgres-url-file {path} is empty. Nothing was changed.",
            "Write postgres://user:password@host:5432/name into it.",
        )
    return url


def check_json(name: str | None) -> None:
    """Raise CommandError for a file that cannot be written, before anything is done."""
    if name and name != "-" and not (Path(name).parent.is_dir() and not Path(name).is_dir()):
        raise CommandError(printable(f"--json {name}: the file cannot be written. Nothing was changed."))
