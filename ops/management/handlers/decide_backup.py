"""What ``manage.py decide_backup`` does: calls `ops.operations.decide_backup`."""

from typing import Any

from rich.console import Console

from ops import operations
from ops.management import output
from ops.management.execution import document_of, execute, new_run
from ops.models import Run
from ops.runs.context import get_context


def handle(console: Console, options: dict[str, Any]) -> tuple[dict[str, Any], int]:
    context = get_context(directory=options["backup_dir"])
    name = context.repository.get(options["name"]).name
    run = new_run(Run.Kind.DECISION, name=name, right=options["right"])
    result = execute(console, operations.decide_backup, context, run)
    output.show_result(console, result)
    return document_of(run, result), 0
