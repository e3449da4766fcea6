"""``manage.py copy_backups``: calls `ops.operations.copy_backups`."""

from django.core.management.base import CommandParser

from ops.management.base import OperationCommand


class Command(OperationCommand):
    handler = "ops.management.handlers.copy_backups"
    help = (
        "Copy the backups to the storage locations in BACKUP_LOCATIONS, read each copy back and compare it, and delete"
        " there what the retention policy of the location does not keep. An interrupted run goes on with the next one."
    )
    examples = """
  Copy what is missing, everywhere:
    manage.py copy_backups
  To one storage location:
    manage.py copy_backups --location nas
"""
    interrupted = "Interrupted. Copies that were read back count; the next run makes the others."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--take-over",
            action="store_true",
            help="this installation continues another one, which has used the locations with another BACKUP_DIR",
        )
        parser.add_argument("--location", action="append", default=[], metavar="NAME", help="only to this one")
