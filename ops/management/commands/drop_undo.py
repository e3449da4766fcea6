"""``manage.py drop_undo``: the door to `ops.operations.drop_undo`."""

from typing import Any

from django.core.management.base import CommandParser
from rich.console import Console

from ops import operations
from ops.backups.restore import require_undo
from ops.management import output
from ops.management.base import ConfirmationDeclined, OperationCommand, new_run, prompt
from ops.management.progress import get_reporter
from ops.models import Run
from ops.utils.formatting import format_size


class Command(OperationCommand):
    help = (
        "Let go of the database that the last restore replaced, which takes as much room as the live one. It is let go"
        " by itself after UNDO_KEEP_DAYS."
    )
    examples = """
  Free the room:
    manage.py drop_undo --yes
"""

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--yes", action="store_true", help="do not ask")

    def operate(self, console: Console, options: dict[str, Any]) -> tuple[dict[str, Any], int]:
        site = operations.get_context()
        undo = require_undo(site.engine)
        if not options["yes"] and prompt(console, f"Type yes to drop {undo.name} for good: ") != "yes":
            raise ConfirmationDeclined("Not confirmed. Nothing was changed.")
        with get_reporter(console) as report:
            done = operations.drop_undo(site, new_run(Run.Kind.DROP_UNDO), report)
        output.show_found(console, done.found)
        console.print(f"Dropped {undo.name}, {format_size(undo.size)}.", markup=False)
        return done.as_json(), 0
