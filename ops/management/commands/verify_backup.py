"""``manage.py verify_backup``: calls `ops.operations.verify`."""

from pathlib import Path
from typing import Any

from django.core.management.base import CommandParser
from rich.console import Console

from ops import operations
from ops.errors import PreconditionFailed
from ops.management import output
from ops.management.base import NOT_VERIFIED, OperationCommand, document_of, execute, new_run
from ops.models import Run
from ops.runs.context import OpsContext, get_context


class Command(OperationCommand):
    help = (
        "Verify backups again. Each is read back in full: checksum, compression, end marker, rows of every table. With"
        " --restore it is loaded into a scratch database, migrated and compared by content: a restore test."
    )
    examples = """
  Does the newest backup restore?
    manage.py verify_backup --latest --restore
  Read all of them back, from cron:
    manage.py verify_backup --all --json
"""

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        which = parser.add_mutually_exclusive_group(required=True)
        which.add_argument("name", nargs="?", metavar="NAME", help="a backup of list_backups, or how its name begins")
        which.add_argument("--latest", action="store_true", help="the newest one")
        which.add_argument("--all", action="store_true", help="every one")
        parser.add_argument("--restore", action="store_true", help="a restore test: load it into a scratch database")
        parser.add_argument("--backup-dir", type=Path, metavar="DIR", help="default: the storage in the settings")

    def run_operation(self, console: Console, options: dict[str, Any]) -> tuple[dict[str, Any], int]:
        context = get_context(directory=options["backup_dir"])
        kind = Run.Kind.RESTORE_TEST if options["restore"] else Run.Kind.VERIFICATION
        run = new_run(kind, names=chosen(context, options))
        result = execute(console, operations.verify, context, run)
        output.show_verifications(console, result)
        return document_of(run, result), 0 if result.passed else NOT_VERIFIED


def chosen(context: OpsContext, options: dict[str, Any]) -> list[str]:
    """The names to verify. Raises PreconditionFailed when there is none."""
    if options["name"]:
        return [context.repository.get(options["name"]).name]
    names = [entry.name for entry in context.repository.records()]
    if not names:
        raise PreconditionFailed("There is no backup to verify.", "Make one: manage.py backup_database")
    return names if options["all"] else names[:1]
