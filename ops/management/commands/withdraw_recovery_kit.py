"""``manage.py withdraw_recovery_kit``: calls `ops.operations.withdraw_recovery_kit`."""

from django.core.management.base import CommandParser

from ops.management.base import OperationCommand


class Command(OperationCommand):
    handler = "ops.management.handlers.withdraw_recovery_kit"
    help = (
        "Withdraw a recovery kit that is lost: new backups are not encrypted to it. Existing backups are not encrypted"
        " again, so anyone who finds the kit can still open those that it opened."
    )
    examples = """
  The paper is lost:
    manage.py withdraw_recovery_kit ayd48q2m
"""

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("kit", metavar="KIT", help="its name, as list_recovery_kits shows it")
        parser.add_argument("--yes", action="store_true", help="do not ask for confirmation")
