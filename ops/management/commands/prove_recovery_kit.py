"""``manage.py prove_recovery_kit``: calls `ops.operations.prove_recovery_kit`."""

from django.core.management.base import CommandParser

from ops.management.base import OperationCommand


class Command(OperationCommand):
    handler = "ops.management.handlers.prove_recovery_kit"
    help = (
        "Prove that a recovery kit is still at hand. The command shows a text that only the kit's key opens, and asks"
        " for the word in it. Decrypt the text on another machine: the key does not get back to this one."
    )
    examples = """
  Prove the only kit:
    manage.py prove_recovery_kit
  One of several:
    manage.py prove_recovery_kit ayd48q2m
"""

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "kit", nargs="?", default="", metavar="KIT", help="its name, as list_recovery_kits shows it"
        )
