"""``manage.py undo_restore``: the door to `ops.operations.undo_restore`."""

from typing import Any

from django.core.management.base import CommandParser
from rich.console import Console

from ops import operations
from ops.backups.manifest import plain_values
from ops.backups.restore import require_undo
from ops.management import output
from ops.management.base import OperationCommand, confirm_by_name, new_run
from ops.management.progress import get_reporter
from ops.models import Run


class Command(OperationCommand):
    help = (
        "Take the last restore back: the database that it replaced becomes the live one again, and what is live now is"
        " kept, so that this can be undone as well."
    )
    examples = """
  Take the last restore back:
    manage.py undo_restore
"""

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--yes", action="store_true", help="do not ask for the database's name")

    def operate(self, console: Console, options: dict[str, Any]) -> tuple[dict[str, Any], int]:
        site = operations.get_context()
        output.show_undo(console, require_undo(site.engine), where=site.engine.where)
        rights = operations.rights_of_undo(site.engine)
        output.show_rights(console, rights)
        if not options["yes"]:
            name = site.engine.database
            confirm_by_name(console, name, f"Type the database's name, {name}, to bring it back: ")
        with get_reporter(console) as report:
            done = operations.undo_restore(site, new_run(Run.Kind.UNDO), report)
        output.show_found(console, done.found)
        output.show_undone(console, done.result, where=site.engine.where)
        return {**done.as_json(), "rights": plain_values(rights)}, 0
