"""``manage.py withdraw_recovery_kit``: calls `ops.operations.withdraw_recovery_kit`."""

from typing import Any

from django.core.management.base import CommandParser
from rich.console import Console

from ops import operations
from ops.keys import recovery_kits_from_settings
from ops.management.base import ConfirmationDeclined, OperationCommand, document_of, execute, new_run, prompt
from ops.models import Run
from ops.runs.context import get_context


class Command(OperationCommand):
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

    def run_operation(self, console: Console, options: dict[str, Any]) -> tuple[dict[str, Any], int]:
        kits = recovery_kits_from_settings()
        kit = kits.get(options["kit"])
        question = f"Type yes to withdraw the recovery kit {kit.name} for good: "
        if not options["yes"] and prompt(console, question) != "yes":
            raise ConfirmationDeclined("Not confirmed. Nothing was changed.")
        run = new_run(Run.Kind.KIT_WITHDRAWAL, recipient=kit.recipient)
        result = execute(console, operations.withdraw_recovery_kit, get_context(), run)
        console.print(f"The recovery kit {kit.name} was withdrawn. New backups are not encrypted to it.")
        if not kits.current():
            console.print("There is no other. Make a new one: manage.py create_recovery_kit")
        return document_of(run, result), 0
