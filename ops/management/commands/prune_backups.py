"""``manage.py prune_backups``: calls `ops.operations.prune`."""

from typing import Any

from django.core.management.base import CommandParser
from rich.console import Console

from ops import operations
from ops.management import advice, output
from ops.management.base import OperationCommand, add_backup_dir, document_of, execute, new_run
from ops.models import Run
from ops.runs.context import get_context
from ops.runs.results import PruneResult
from ops.utils.schema import to_json


class Command(OperationCommand):
    help = (
        "Delete the backups outside the retention policy: those that are older than BACKUP_RETENTION_DAYS, and not kept"
        " as a daily, weekly, monthly or yearly one. The last verified backup is never deleted, and"
        " none after a failed backup."
    )
    examples = """
  Show what would be deleted, and why:
    manage.py prune_backups --dry-run
"""
    interrupted = "Interrupted. The live database was not changed; some backups may have been deleted."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        add = parser.add_argument
        add("--dry-run", action="store_true", help="show the decision for every backup; delete nothing")
        add_backup_dir(parser, "prune the backups")
        add("--retention-days", type=int, metavar="N", help="keep backups for N days (default: BACKUP_RETENTION_DAYS)")

    def run_operation(self, console: Console, options: dict[str, Any]) -> tuple[dict[str, Any], int]:
        context = get_context(directory=options["backup_dir"], retention_days=options["retention_days"])
        if options["dry_run"]:
            records = context.repository.records()
            decisions = operations.evaluate_retention(context, records)
            preview = PruneResult(
                deleted={decision.name: decision.reason for decision in decisions if not decision.keep},
                kept={decision.name: decision.reason for decision in decisions if decision.keep},
            )
            output.show_pruned(console, preview, dry_run=True)
            advice.show_advice(console, context, records)
            return to_json(preview), 0
        run = new_run(Run.Kind.PRUNE)
        result = execute(console, operations.prune, context, run)
        output.show_pruned(console, result, dry_run=False)
        return document_of(run, result), 0
