"""What ``manage.py withdraw_recovery_kit`` does: calls `ops.operations.withdraw_recovery_kit`."""

from typing import Any

from rich.console import Console

from ops import operations
from ops.keys import recovery_kits_from_settings
from ops.management.base import ConfirmationDeclined
from ops.management.execution import document_of, execute, new_run, prompt
from ops.models import Run
from ops.runs.context import get_context


def handle(console: Console, options: dict[str, Any]) -> tuple[dict[str, Any], int]:
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
