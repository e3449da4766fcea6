"""What ``manage.py prune_backups`` does: calls `ops.operations.prune`."""

from typing import Any

from rich.console import Console

from ops import operations
from ops.management import advice, output
from ops.management.execution import document_of, execute, new_run
from ops.models import Run
from ops.runs.context import get_context
from ops.runs.results import PruneResult
from ops.utils.schema import to_json


def handle(console: Console, options: dict[str, Any]) -> tuple[dict[str, Any], int]:
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
