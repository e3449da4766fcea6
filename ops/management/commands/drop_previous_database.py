"""``manage.py drop_previous_database``: calls `ops.operations.drop_previous_database`."""

from typing import Any

from django.core.management.base import CommandParser
from rich.console import Console

from ops import operations
from ops.management import output
from ops.management.base import ConfirmationDeclined, OperationCommand, document_of, execute, new_run, prompt
from ops.models import Run
from ops.runs.context import get_context


class Command(OperationCommand):
    help = (
        "Drop the previous database, which the last restore replaced. It needs as much space as the live one, and is"
        " dropped automatically after UNDO_KEEP_DAYS."
    )
    examples = """
  Free the space:
    manage.py drop_previous_database --yes
"""
    interrupted = "Interrupted. The live database was not changed; the previous database may have been dropped."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--yes", action="store_true", help="do not ask for confirmation")

    def run_operation(self, console: Console, options: dict[str, Any]) -> tuple[dict[str, Any], int]:
        context = get_context()
        previous = context.engine.swap_strategy().require_previous()
        question = f"Type yes to permanently drop {previous.name}: "
        if not options["yes"] and prompt(console, question) != "yes":
            raise ConfirmationDeclined("Not confirmed. Nothing was changed.")
        run = new_run(Run.Kind.DROP_PREVIOUS, replaced_by=previous.run)
        result = execute(console, operations.drop_previous_database, context, run)
        output.show_result(console, result)
        return document_of(run, result), 0
