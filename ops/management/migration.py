"""The base of the two commands that migrate between SQLite and PostgreSQL: the same options, report and exit codes."""

import contextlib
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.db import connection
from rich.console import Console

from ops.conf import conf, setting_name
from ops.databases.override import direct_settings
from ops.databases.postgres.connection import EXAMPLE, ConnectionInfo, from_settings, parse_url
from ops.engine_migration.prepared import PreparedMigration, RowsRefused
from ops.engine_migration.quarantine import check_directory
from ops.engine_migration.result import MigrationResult
from ops.errors import AlreadyRunning, OpsError, PreconditionFailed
from ops.management import migration_report
from ops.management.base import (
    DECLINED,
    FAILED,
    LOCKED,
    ConfirmationDeclined,
    OperationCommand,
    new_run,
    prompt,
)
from ops.management.routes import Route
from ops.models import Run
from ops.utils.posix_signals import ignore_interrupts
from ops.utils.printable import json_text, printable

FINDINGS, QUARANTINED = 2, 3
VISIBLE_IN_PROCESS_LIST = (
    "Every user of this machine can read the password in --postgres-url while the command runs. Set POSTGRES_URL"
    " instead, or name a file: --postgres-url-file FILE."
)


class MigrationCommand(OperationCommand):
    """A command that prepares a migration, shows its plan and findings, asks, migrates, and shows the result."""

    exit_codes = """
exit codes: 0 migrated and verified (or the dry run found nothing) · 1 error, nothing was changed ·
  2 blocked by findings, nothing was changed · 3 migrated without the rows in quarantine ·
  4 another operation is running · 5 not confirmed · 130 interrupted
"""
    interrupted = "Interrupted. Nothing was changed."
    kind: Run.Kind
    postgres_role = ""
    """``source`` or ``target``, for the help."""
    scratch = ""
    """Where a dry run loads the rows, for the help."""

    def add_arguments(self, parser: CommandParser) -> None:
        add = parser.add_argument
        where = parser.add_mutually_exclusive_group()
        where.add_argument(
            "--postgres-url-file",
            type=Path,
            metavar="FILE",
            help=f"a file with the URL of the {self.postgres_role} database (default: POSTGRES_URL, or the live"
            " database if that is PostgreSQL)",
        )
        where.add_argument(
            "--postgres-url",
            metavar="URL",
            help="the URL itself, without a password: other users of this machine can see the arguments of commands",
        )
        add(
            "--dry-run",
            action="store_true",
            help=f"try all but the cut-over in a scratch {self.scratch}, and change nothing",
        )
        add("--yes", action="store_true", help="do not ask for confirmation")
        add("--quarantine", type=Path, metavar="DIR", help="migrate without refused rows, and write those to DIR")
        add("--skip-table", action="append", default=[], metavar="T", help="skip this table (repeatable)")
        add("--json", metavar="FILE", help="write the result as JSON to FILE; - for standard output")

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
    def run_operation(self, console: Console, options: dict[str, Any]) -> tuple[dict[str, Any], int]:
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

    def exit_code(self, error: OpsError) -> int:
        if isinstance(error, AlreadyRunning):
            return LOCKED
        return DECLINED if isinstance(error, ConfirmationDeclined) else FAILED

    def print_json(self, options: dict[str, Any], document: dict[str, Any]) -> None:
        try:
            write_json(options["json"], document)
        except OSError as error:
            # A full disk or a closed pipe must not make a finished migration look failed.
            migrated = document.get("status") in {"migrated", "quarantined"}
            subject = "The migration is done and verified; its" if migrated else "The"
            sys.stderr.write(f"{subject} report could not be written ({printable(str(error))}).\n")


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


def write_json(name: str | None, document: dict[str, Any]) -> None:
    if not name:
        return
    text = json_text(document)
    if name == "-":
        sys.stdout.write(text)
    else:
        Path(name).write_text(text, encoding="utf-8")
