"""``manage.py undo_restore``: calls `ops.operations.undo_restore`."""

from django.core.management.base import CommandParser

from ops.management.base import OperationCommand


class Command(OperationCommand):
    handler = "ops.management.handlers.undo_restore"
    help = (
        "Undo the last restore: the previous database becomes the live one again. The database as it is now becomes the"
        " previous database, so an undo can be undone as well."
    )
    examples = """
  Undo the last restore:
    manage.py undo_restore
"""

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--yes", action="store_true", help="do not ask for confirmation")
