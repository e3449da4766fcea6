"""``manage.py decide_backup``: calls `ops.operations.decide_backup`."""

from django.core.management.base import CommandParser

from ops.management.base import OperationCommand, add_backup_dir


class Command(OperationCommand):
    handler = "ops.management.handlers.decide_backup"
    help = (
        "Decide on a suspicious backup: the database has lost much since the backups before it. Until then, no backup"
        " that existed when it was made is pruned. Right: later backups are compared with this one. Wrong: they are"
        " compared with those before it. A restore of an earlier backup decides that it is wrong. The decision is"
        " recorded, and can be changed."
    )
    examples = """
  The rows were deleted on purpose:
    manage.py decide_backup database_20261130_020000 --right
  They were not, and were brought back without a restore:
    manage.py decide_backup database_20261130_020000 --wrong
"""

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("name", metavar="NAME", help="a suspicious backup of list_backups, or how its name begins")
        decision = parser.add_mutually_exclusive_group(required=True)
        decision.add_argument("--right", action="store_true", help="the database is right as it is in the backup")
        decision.add_argument("--wrong", action="store_true", help="rows are missing")
        add_backup_dir(parser, "decide on a backup")
