"""``manage.py backup_database``: calls `ops.operations.back_up`."""

from typing import Any

from django.core.management.base import CommandParser
from rich.console import Console

from ops import operations
from ops.management import output
from ops.management.base import OperationCommand, add_backup_dir, document_of, execute, new_run
from ops.models import Run
from ops.runs.context import get_context


class Command(OperationCommand):
    help = (
        "Back up the database: a consistent snapshot, compressed, and verified by reading it back and comparing the"
        " row counts of all tables. Backups outside the retention policy are deleted afterwards."
    )
    examples = """
  Back up now:
    manage.py backup_database
  Before an upgrade, and exempt it from the retention policy:
    manage.py backup_database --note "before the upgrade" --keep
  From cron, to another disk:
    manage.py backup_database --backup-dir /mnt/disk/backups --json
"""

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        add = parser.add_argument
        add("--note", default="", metavar="TEXT", help="a note that is shown in lists")
        add("--keep", action="store_true", help="pin the backup: it is never pruned")
        add("--no-compress", action="store_true", help="do not compress the file")
        add(
            "--format",
            choices=("plain", "custom"),
            default="plain",
            help="custom: a file for pg_restore (PostgreSQL only)",
        )
        add_backup_dir(parser, "store it")
        add("--retention-days", type=int, metavar="N", help="keep backups for N days (default: BACKUP_RETENTION_DAYS)")

    def run_operation(self, console: Console, options: dict[str, Any]) -> tuple[dict[str, Any], int]:
        context = get_context(directory=options["backup_dir"], retention_days=options["retention_days"])
        kind = context.kind(compress=not options["no_compress"], custom=options["format"] == "custom")
        run = new_run(Run.Kind.BACKUP, file_kind=kind, note=options["note"], pinned=options["keep"])
        result = execute(console, operations.back_up, context, run)
        output.show_backup(console, result, where=context.engine.where, location=context.repository.location)
        return document_of(run, result), 0
