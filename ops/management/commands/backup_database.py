"""``manage.py backup_database``: calls `ops.operations.back_up`."""

from pathlib import Path
from typing import Any

from django.core.management.base import CommandParser
from rich.console import Console

from ops import operations
from ops.management import output
from ops.management.base import OperationCommand, document_of, execute, new_run
from ops.models import Run
from ops.runs.context import get_context


class Command(OperationCommand):
    help = (
        "Back up the database: one consistent snapshot, compressed, then read back in full and counted against the"
        " snapshot before it counts as a backup. Old backups are pruned afterwards."
    )
    examples = """
  Back up now:
    manage.py backup_database
  Before something risky, and keep it whatever the retention policy says:
    manage.py backup_database --note "before the upgrade" --keep
  From cron, to another disk:
    manage.py backup_database --backup-dir /mnt/disk/backups --json
"""

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        add = parser.add_argument
        add("--note", default="", metavar="TEXT", help="a line that lists show with it")
        add("--keep", action="store_true", help="pin it: never prune this one")
        add("--no-compress", action="store_true", help="write it uncompressed")
        add("--format", choices=("plain", "custom"), default="plain", help="custom: for pg_restore -j; PostgreSQL only")
        add("--backup-dir", type=Path, metavar="DIR", help="where to (default: the storage in the settings)")
        add("--retention-days", type=int, metavar="N", help="prune what is older (default: BACKUP_RETENTION_DAYS)")

    def run_operation(self, console: Console, options: dict[str, Any]) -> tuple[dict[str, Any], int]:
        context = get_context(directory=options["backup_dir"], retention_days=options["retention_days"])
        kind = context.kind(compress=not options["no_compress"], custom=options["format"] == "custom")
        run = new_run(Run.Kind.BACKUP, file_kind=kind, note=options["note"], pinned=options["keep"])
        result = execute(console, operations.back_up, context, run)
        output.show_backup(console, result, where=context.engine.where, location=context.repository.location)
        return document_of(run, result), 0
