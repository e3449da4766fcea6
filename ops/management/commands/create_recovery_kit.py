"""``manage.py create_recovery_kit``: calls `ops.operations.create_recovery_kit`, and shows the new key once."""

from django.core.management.base import CommandParser

from ops.management.base import OperationCommand


class Command(OperationCommand):
    handler = "ops.management.handlers.create_recovery_kit"
    help = (
        "Make a recovery kit: a person's key, to which new backups in encrypted locations are encrypted as well, and"
        " what is needed to recover on an empty machine. The key is shown once. This machine keeps its public half."
    )
    examples = """
  Show the kit in the terminal:
    manage.py create_recovery_kit
  Write a page to print, which only you can read:
    manage.py create_recovery_kit --output kit.html
  From a container:
    (umask 077 && docker exec CONTAINER python manage.py create_recovery_kit --output - > kit.html)
"""

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        where = "write the kit as a page to print into the new file FILE (- for standard output)"
        parser.add_argument("--output", default="", metavar="FILE", help=where)
