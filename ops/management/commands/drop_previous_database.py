"""``manage.py drop_previous_database``: calls `ops.operations.drop_previous_database`."""

from django.core.management.base import CommandParser

from ops.management.base import OperationCommand


class Command(OperationCommand):
    handler = "ops.management.handlers.drop_previous_database"
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
        parser.add_argument(
            "--without-backup", action="store_true", help="drop it although its pre-restore backup is still to be made"
        )
