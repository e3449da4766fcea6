"""What ``manage.py drop_previous_database`` does: calls `ops.operations.drop_previous_database`."""

from typing import Any

from rich.console import Console

from ops import operations
from ops.backups.engines.base import require_backed_up
from ops.management import output
from ops.management.base import ConfirmationDeclined
from ops.management.execution import document_of, execute, new_run, prompt
from ops.models import Run
from ops.runs.context import get_context


def handle(console: Console, options: dict[str, Any]) -> tuple[dict[str, Any], int]:
    context = get_context()
    previous = context.engine.require_previous()
    if not options["without_backup"]:
        require_backed_up(previous)
    question = f"Type yes to permanently drop {previous.name}: "
    if not options["yes"] and prompt(console, question) != "yes":
        raise ConfirmationDeclined("Not confirmed. Nothing was changed.")
    run = new_run(Run.Kind.DROP_PREVIOUS, replaced_by=previous.run, without_backup=options["without_backup"])
    result = execute(console, operations.drop_previous_database, context, run)
    output.show_result(console, result)
    return document_of(run, result), 0
