"""``manage.py migrate_to_postgres``: the door to `ops.engine_migration.pipeline`."""

import contextlib
import sys
import zoneinfo
from argparse import RawDescriptionHelpFormatter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connection
from django.utils.module_loading import import_string
from rich.console import Console

from ops import operations
from ops.databases.override import direct_settings
from ops.databases.postgres.connection import ConnectionInfo, from_settings, parse_url
from ops.engine_migration import report as migration_report
from ops.engine_migration.pipeline import MigrationOptions, PreparedMigration, migrate, prepare
from ops.engine_migration.quarantine import check_directory
from ops.engine_migration.target import Target, inspect_target
from ops.errors import OpsError, PreconditionFailed
from ops.management.progress import PrintableConsole, get_reporter
from ops.utils.posix_signals import ignore_interrupts, sigterm_as_interrupt
from ops.utils.printable import json_text, printable

FINDINGS, QUARANTINED, INTERRUPTED = 2, 3, 130
SEEN_BY_OTHERS = (
    "Every user of this machine can read the password in --postgres-url while this runs. Next time set POSTGRES_URL in"
    " the environment or the .env file, or name a file: --postgres-url-file FILE."
)
EXAMPLES = """
examples:
  See what would happen, without writing anything; POSTGRES_URL=postgres://me:secret@db/homerack is in the .env file:
    manage.py migrate_to_postgres --sqlite-path homerack.db --dry-run
  The same with the address in a file, or with the password in ~/.pgpass:
    manage.py migrate_to_postgres --sqlite-path homerack.db --postgres-url-file /run/secrets/postgres_url --dry-run
    manage.py migrate_to_postgres --sqlite-path homerack.db --postgres-url postgres://me@db/homerack --dry-run
  Move, from a script:
    manage.py migrate_to_postgres --sqlite-path homerack.db --yes --json result.json
  Move what can be moved, and keep the rest to mend it:
    manage.py migrate_to_postgres --sqlite-path homerack.db --quarantine refused/

exit codes: 0 moved and verified (or the dry run found nothing) · 1 an error, nothing was changed ·
  2 findings stand in the way, nothing was changed · 3 moved without the rows in quarantine · 130 interrupted
"""


class Command(BaseCommand):
    help = (
        "Move a SQLite file to PostgreSQL, all or nothing. Every cell is examined before anything is written; the rows"
        " go into a new database, are compared with the file, and take the place of the empty target in one step."
    )
    requires_system_checks = ()

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        return super().create_parser(
            prog_name, subcommand, epilog=EXAMPLES, formatter_class=RawDescriptionHelpFormatter, **kwargs
        )

    def add_arguments(self, parser: CommandParser) -> None:
        add = parser.add_argument
        add("--sqlite-path", type=Path, metavar="FILE", help="the file to move (default: the SQLite database in use)")
        where = parser.add_mutually_exclusive_group()
        where.add_argument(
            "--postgres-url-file",
            type=Path,
            metavar="FILE",
            help="a file with the address of the database to move to (default: POSTGRES_URL from the environment, or"
            " DATABASE_URL when that is PostgreSQL)",
        )
        where.add_argument(
            "--postgres-url",
            metavar="URL",
            help="the address itself, without a password: other users of the machine see what is typed here",
        )
        add("--dry-run", action="store_true", help="examine the file and show the plan; write nothing to PostgreSQL")
        add("--no-backup", action="store_true", help="do not keep the verified copy of the file")
        add("--yes", action="store_true", help="do not ask for confirmation")
        add("--strip-nul", action="store_true", help="take NUL characters out of text, which PostgreSQL can not keep")
        add("--quarantine", type=Path, metavar="DIR", help="move without refused rows; write those to DIR")
        add("--skip-table", action="append", default=[], metavar="T", help="leave this table behind (repeatable)")
        add("--source-timezone", metavar="Z", help="zone of times without an offset (default: UTC, as Django writes)")
        add("--json", metavar="FILE", help="write the result as JSON to FILE; - for standard output")

    def handle(self, **options: Any) -> None:
        check_json(options["json"])
        # With --json - standard output belongs to the JSON.
        console = PrintableConsole(sys.stderr if options["json"] == "-" else sys.stdout)
        try:
            with sigterm_as_interrupt():
                code = self.run(console, options)
        except OpsError as error:
            with contextlib.suppress(OSError):
                write_json(options["json"], {"status": "failed", "error": error.message, "hint": error.hint})
            raise CommandError(printable(str(error))) from error
        except KeyboardInterrupt:
            write_json(options["json"], {"status": "interrupted"})
            raise CommandError("Interrupted. Nothing was changed.", returncode=INTERRUPTED) from None
        if code:
            sys.exit(code)

    def run(self, console: Console, options: dict[str, Any]) -> int:
        address = find_address(options)
        if options["postgres_url"] and address.password:
            console.print(SEEN_BY_OTHERS, style="yellow", soft_wrap=True)
        path = options["sqlite_path"] or current_file()
        if options["quarantine"]:
            check_directory(options["quarantine"])
        choices = MigrationOptions(
            keep_copy=not options["no_backup"],
            strip_nul=options["strip_nul"],
            quarantine=options["quarantine"],
            skip_tables=frozenset(options["skip_table"]),
            zone=find_zone(options["source_timezone"]),
        )
        target = inspect_target(address)
        legacy = import_string(settings.OPS_LEGACY_FORMAT) if getattr(settings, "OPS_LEGACY_FORMAT", "") else None
        keep_in = Path(getattr(settings, "BACKUP_DIR", "backups"))
        with contextlib.ExitStack() as stack:
            with get_reporter(console) as report:
                ready = stack.enter_context(
                    prepare(path=path, postgres=address, legacy=legacy, options=choices, keep_in=keep_in, report=report)
                )
            migration_report.show_plan(console, ready, target)
            if options["dry_run"] or is_blocked(ready, quarantine=choices.quarantine):
                write_json(options["json"], migration_report.plan_as_json(ready, target))
                migration_report.show_stop(console, ready, dry_run=options["dry_run"])
                return 0 if ready.acceptable else FINDINGS
            if not options["yes"]:
                confirm(console, ready, target)
            with get_reporter(console) as report, operations.recorded_claims(str(target.address)) as claims:
                result = migrate(
                    prepared=ready, target=target, quarantine=choices.quarantine, claims=claims, report=report
                )
            # It is done: Ctrl-C from here on must not say that nothing was changed.
            with ignore_interrupts(), ignore_report_errors():
                write_json(options["json"], migration_report.result_as_json(ready, target, result, options))
                migration_report.show_result(console, ready, target, result, options, is_live=is_live(address))
            return QUARANTINED if result.refused else 0


@contextlib.contextmanager
def ignore_report_errors() -> Iterator[None]:
    """A full disk or a closed pipe must not make a finished migration look like one that failed."""
    try:
        yield
    except (OSError, SystemExit) as error:
        with contextlib.suppress(OSError):
            reason = printable(str(error))
            sys.stderr.write(f"The migration is done and verified; its report could not be written ({reason}).\n")


def is_blocked(ready: PreparedMigration, *, quarantine: Path | None) -> bool:
    """Unknown tables always do; refused cells do unless their rows go into quarantine."""
    return bool(ready.plan.unknown) or (bool(ready.examination.count) and not quarantine)


def confirm(console: Console, ready: PreparedMigration, target: Target) -> None:
    """Ask for the word yes. Raises PreconditionFailed for anything else, and where nobody can be asked."""
    rows = sum(ready.examination.rows_of(table) for table in ready.plan.tables)
    question = f"Type yes to move {rows:,} rows into the database {target.address}: "
    console.print(question, end="", markup=False, soft_wrap=True)
    try:
        answer = input()
    except EOFError:
        raise PreconditionFailed("Nobody is here to confirm. Nothing was changed.", "Add --yes in a script.") from None
    if answer.strip() != "yes":
        raise PreconditionFailed("Not confirmed. Nothing was changed.")


def find_address(options: dict[str, Any]) -> ConnectionInfo:
    """Where to: what is typed counts more than what is in the environment."""
    url = options["postgres_url"] or ""
    if options["postgres_url_file"]:
        url = read_url(options["postgres_url_file"])
    if url := url or getattr(settings, "POSTGRES_URL", ""):
        return parse_url(url)
    if connection.vendor == "postgresql":
        return from_settings(direct_settings())
    raise PreconditionFailed(
        "No PostgreSQL database is named: DATABASE_URL is SQLite.",
        "Set POSTGRES_URL=postgres://user:password@127.0.0.1:5432/homerack in the environment or the .env file.",
    )


def read_url(path: Path) -> str:
    """Raises PreconditionFailed."""
    try:
        url = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise PreconditionFailed(
            f"--postgres-url-file {path} can not be read ({type(error).__name__}). Nothing was changed.",
            "Name a file whose first line is postgres://user:password@host:5432/name, for you alone to read.",
        ) from error
    if not url:
        raise PreconditionFailed(
            f"--postgres-url-file {path} is empty. Nothing was changed.",
            "Write postgres://user:password@host:5432/name into it.",
        )
    return url


def is_live(address: ConnectionInfo) -> bool:
    """Whether the site uses this database already."""
    return connection.vendor == "postgresql" and from_settings(direct_settings()) == address


def current_file() -> Path:
    if connection.vendor == "sqlite":
        return Path(connection.settings_dict["NAME"])
    raise PreconditionFailed("No SQLite file is named.", "Add --sqlite-path FILE.")


def find_zone(name: str | None) -> zoneinfo.ZoneInfo | None:
    if not name or name == "UTC":
        return None
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError) as error:
        raise PreconditionFailed(
            f"--source-timezone {name}: no time zone has that name.", "Example: --source-timezone Europe/Berlin"
        ) from error


def check_json(name: str | None) -> None:
    """Refuse a place that can not be written before anything is done."""
    if name and name != "-" and not (Path(name).parent.is_dir() and not Path(name).is_dir()):
        raise CommandError(printable(f"--json {name}: no file can be written there. Nothing was changed."))


def write_json(name: str | None, document: dict[str, Any]) -> None:
    if not name:
        return
    text = json_text(document)
    if name == "-":
        sys.stdout.write(text)
    else:
        Path(name).write_text(text, encoding="utf-8")
