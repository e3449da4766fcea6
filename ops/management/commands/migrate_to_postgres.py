"""``manage.py migrate_to_postgres``: calls `ops.operations.migrate`."""

import contextlib
import sys
import zoneinfo
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.db import connection
from django.utils.module_loading import import_string
from rich.console import Console

from ops import operations
from ops.conf import conf, setting_name
from ops.databases.override import direct_settings
from ops.databases.postgres.connection import EXAMPLE, ConnectionInfo, from_settings, parse_url
from ops.databases.sqlite.files import parse_name
from ops.engine_migration.pipeline import prepare
from ops.engine_migration.prepared import MigrationOptions, PreparedMigration, RowsRefused
from ops.engine_migration.quarantine import check_directory
from ops.engine_migration.snapshot_directory import sweep_snapshots
from ops.engine_migration.target import Target, inspect_target
from ops.errors import AlreadyRunning, OpsError, PreconditionFailed
from ops.management import migration_report
from ops.management.base import (
    DECLINED,
    FAILED,
    LOCKED,
    ConfirmationDeclined,
    OperationCommand,
    execute,
    new_run,
    prompt,
)
from ops.management.progress import get_reporter
from ops.models import Run
from ops.runs.context import get_context
from ops.utils.posix_signals import ignore_interrupts
from ops.utils.printable import json_text, printable

FINDINGS, QUARANTINED = 2, 3
VISIBLE_IN_PROCESS_LIST = (
    "Every user of this machine can read the password in --postgres-url while the command runs. Set POSTGRES_URL"
    " instead, or name a file: --postgres-url-file FILE."
)


class Command(OperationCommand):
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
    exit_codes = """
exit codes: 0 migrated and verified (or the dry run found nothing) · 1 error, nothing was changed ·
  2 blocked by findings, nothing was changed · 3 migrated without the rows in quarantine ·
  4 another operation is running · 5 not confirmed · 130 interrupted
"""
    interrupted = "Interrupted. Nothing was changed."

    def add_arguments(self, parser: CommandParser) -> None:
        add = parser.add_argument
        add("--sqlite-path", type=Path, metavar="FILE", help="the file to migrate (default: the live SQLite database)")
        where = parser.add_mutually_exclusive_group()
        where.add_argument(
            "--postgres-url-file",
            type=Path,
            metavar="FILE",
            help="a file with the URL of the target database (default: POSTGRES_URL, or the live database if that is"
            " PostgreSQL)",
        )
        where.add_argument(
            "--postgres-url",
            metavar="URL",
            help="the URL itself, without a password: other users of this machine can see the arguments of commands",
        )
        add(
            "--dry-run",
            action="store_true",
            help="try all but the cut-over in a scratch database, and change nothing",
        )
        add("--no-backup", action="store_true", help="do not keep a verified copy of the file")
        add("--yes", action="store_true", help="do not ask for confirmation")
        add("--strip-nul", action="store_true", help="remove NUL characters from text, which PostgreSQL cannot store")
        add("--quarantine", type=Path, metavar="DIR", help="migrate without refused rows, and write those to DIR")
        add("--skip-table", action="append", default=[], metavar="T", help="skip this table (repeatable)")
        add(
            "--source-timezone",
            metavar="Z",
            help="time zone of times without an offset (default: the one in which Django reads them, usually UTC)",
        )
        add("--json", metavar="FILE", help="write the result as JSON to FILE; - for standard output")

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

    def run_operation(self, console: Console, options: dict[str, Any]) -> tuple[dict[str, Any], int]:
        check_json(options["json"])
        address = find_address(options)
        if options["postgres_url"] and address.password:
            console.print(VISIBLE_IN_PROCESS_LIST, style="yellow", soft_wrap=True)
        if options["quarantine"]:
            check_directory(options["quarantine"])
        for sentence in sweep_snapshots(conf.BACKUP_DIR):
            console.print(sentence, soft_wrap=True, markup=False)
        target = inspect_target(address)
        with contextlib.ExitStack() as stack:
            with get_reporter(console) as on_progress:
                migration = stack.enter_context(
                    prepare(
                        path=options["sqlite_path"] or current_file(),
                        postgres=address,
                        legacy=import_string(conf.OPS_LEGACY_FORMAT) if conf.OPS_LEGACY_FORMAT else None,
                        options=options_of(options),
                        keep_in=conf.BACKUP_DIR,
                        on_progress=on_progress,
                    )
                )
            migration_report.show_plan(console, migration, target)
            if options["dry_run"]:
                migration_report.show_rehearsal(console, migration, target)
                document = rehearse(console, migration, target)
                return document, 0 if migration.acceptable else FINDINGS
            migration_report.show_findings(console, migration)
            if migration.is_blocked:
                migration_report.show_stop(console, migration, dry_run=False)
                return migration_report.plan_as_json(migration, target), FINDINGS
            if not options["yes"]:
                confirm(console, migration, target)
            run = new_run(Run.Kind.MIGRATION)
            is_live = operations.is_live(get_context(), target)
            try:
                result = execute(console, operations.migrate, get_context(), run, prepared=migration, target=target)
            except RowsRefused:
                migration_report.show_findings(console, migration)
                migration_report.show_stop(console, migration, dry_run=False)
                return {"run": str(run.pk), **migration_report.plan_as_json(migration, target)}, FINDINGS
            # The migration is done: Ctrl-C must not report from here on that nothing was changed.
            with ignore_interrupts(), ignore_report_errors():
                migration_report.show_result(console, migration, target, result, is_live=is_live)
            document = migration_report.result_as_json(migration, target, result)
            return {"run": str(run.pk), **document}, QUARANTINED if result.refused else 0


def rehearse(console: Console, migration: PreparedMigration, target: Target) -> dict[str, Any]:
    """Do the dry run and show its outcome, and all findings even if it fails."""
    run = new_run(Run.Kind.PREFLIGHT)
    try:
        execute(console, operations.rehearse, get_context(), run, prepared=migration, target=target)
    finally:
        migration_report.show_notes(console, migration.load_notes)
        migration_report.show_findings(console, migration)
    migration_report.show_stop(console, migration, dry_run=True)
    return {"run": str(run.pk), **migration_report.plan_as_json(migration, target)}


@contextlib.contextmanager
def ignore_report_errors() -> Iterator[None]:
    """A closed pipe must not make a finished migration look failed."""
    try:
        yield
    except (OSError, SystemExit) as error:
        with contextlib.suppress(OSError):
            reason = printable(str(error))
            sys.stderr.write(f"The migration is done and verified; its report could not be written ({reason}).\n")


def options_of(options: dict[str, Any]) -> MigrationOptions:
    return MigrationOptions(
        keep_copy=not options["no_backup"],
        strip_nul=options["strip_nul"],
        quarantine=options["quarantine"],
        skip_tables=frozenset(options["skip_table"]),
        zone=find_zone(options["source_timezone"]),
    )


def confirm(console: Console, migration: PreparedMigration, target: Target) -> None:
    """Ask the user to type yes. Raises ConfirmationDeclined otherwise."""
    rows = sum(migration.preflight.rows_of(table) for table in migration.plan.tables)
    question = f"Type yes to migrate {rows:,} rows into the database {target.address}: "
    if prompt(console, question) != "yes":
        raise ConfirmationDeclined("Not confirmed. Nothing was changed.")


def find_address(options: dict[str, Any]) -> ConnectionInfo:
    """The target: from the command line, else from the environment."""
    url = options["postgres_url"] or ""
    if options["postgres_url_file"]:
        url = read_url(options["postgres_url_file"])
    if url := url or conf.POSTGRES_URL:
        return parse_url(url)
    if connection.vendor == "postgresql":
        return from_settings(direct_settings())
    raise PreconditionFailed(
        f"No target database: {setting_name('DATABASES')} is SQLite, and POSTGRES_URL is not set.",
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
