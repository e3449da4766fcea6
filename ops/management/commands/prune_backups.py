"""``manage.py prune_backups``: the door to `ops.operations.prune`."""

from pathlib import Path
from typing import Any

from django.core.management.base import CommandParser
from rich.console import Console

from ops import operations
from ops.management import output
from ops.management.base import OperationCommand, new_run
from ops.management.progress import get_reporter
from ops.models import Run


class Command(OperationCommand):
    help = (
        "Delete the backups that the retention lets go: older than BACKUP_RETENTION_DAYS and not one of the daily,"
        " weekly, monthly or yearly ones. Never the last verified one, and nothing at all after a failed backup."
    )
    examples = """
  What would go, and why?
    manage.py prune_backups --dry-run
"""

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        add = parser.add_argument
        add("--dry-run", action="store_true", help="say every backup's verdict, delete nothing")
        add("--backup-dir", type=Path, metavar="DIR", help="default: the storage in the settings")
        add("--retention-days", type=int, metavar="N", help="instead of BACKUP_RETENTION_DAYS")

    def operate(self, console: Console, options: dict[str, Any]) -> tuple[dict[str, Any], int]:
        site = operations.get_context(directory=options["backup_dir"], retention_days=options["retention_days"])
        if options["dry_run"]:
            verdicts = operations.evaluate_retention(site, site.catalogue.entries())
            output.show_verdicts(console, verdicts, dry_run=True)
            return operations.as_json(operations.Pruned(verdicts=tuple(verdicts))), 0
        with get_reporter(console) as report:
            done = operations.prune(site, new_run(Run.Kind.PRUNE), report)
        output.show_found(console, done.found)
        output.show_verdicts(console, done.result.verdicts, dry_run=False)
        return done.as_json(), 0
