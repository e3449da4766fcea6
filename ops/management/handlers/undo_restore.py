"""What ``manage.py undo_restore`` does: calls `ops.operations.undo_restore`."""

from typing import Any

from rich.console import Console

from ops import operations
from ops.management import output
from ops.management.execution import confirm_by_name, document_of, execute, new_run
from ops.models import Run
from ops.runs.context import get_context
from ops.utils.schema import to_json


def handle(console: Console, options: dict[str, Any]) -> tuple[dict[str, Any], int]:
    context = get_context()
    previous = context.engine.require_previous()
    output.show_undo(console, previous, where=context.engine.where)
    rights = operations.rights_of_undo(context.engine)
    output.show_rights(console, rights)
    if not options["yes"]:
        name = context.engine.database
        confirm_by_name(console, name, f"To confirm, type the database name ({name}): ")
    run = new_run(Run.Kind.UNDO, replaced_by=previous.run)
    result = execute(console, operations.undo_restore, context, run)
    output.show_undone(console, result, where=context.engine.where)
    return {**document_of(run, result), "rights": to_json(rights)}, 0
