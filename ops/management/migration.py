"""The base of the two commands that migrate between SQLite and PostgreSQL: the same options and exit codes."""

import sys
from pathlib import Path
from typing import Any

from django.core.management.base import CommandParser

from ops.errors import AlreadyRunning, OpsError
from ops.management.base import DECLINED, FAILED, LOCKED, ConfirmationDeclined, OperationCommand
from ops.utils.printable import json_text, printable


class MigrationCommand(OperationCommand):
    """A command that prepares a migration, shows its plan and findings, asks, migrates, and shows the result."""

    exit_codes = """
exit codes: 0 migrated and verified (or the dry run found nothing) · 1 error, nothing was changed ·
  2 blocked by findings, nothing was changed · 3 migrated without the rows in quarantine ·
  4 another operation is running · 5 not confirmed · 130 interrupted
"""
    interrupted = "Interrupted. Nothing was changed."
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


def write_json(name: str | None, document: dict[str, Any]) -> None:
    if not name:
        return
    text = json_text(document)
    if name == "-":
        sys.stdout.write(text)
    else:
        Path(name).write_text(text, encoding="utf-8")
