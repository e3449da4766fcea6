"""What ``manage.py prove_recovery_kit`` does: calls `ops.operations.prove_recovery_kit`."""

from typing import Any

from rich.console import Console

from ops import operations
from ops.backups.recovery_kit import RecoveryKit, RecoveryKits, new_challenge, normalized
from ops.errors import PreconditionFailed
from ops.keys import recovery_kits_from_settings
from ops.management.base import ConfirmationDeclined
from ops.management.execution import document_of, execute, new_run
from ops.models import Run
from ops.runs.context import get_context
from ops.utils.formatting import join_names

ATTEMPTS = 3


def handle(console: Console, options: dict[str, Any]) -> tuple[dict[str, Any], int]:
    kit = find_kit(recovery_kits_from_settings(), options["kit"])
    challenge = new_challenge(kit)
    console.print(
        f"Save this text as challenge.txt on the machine where you have the key of the kit {kit.name}, and type"
        f" there:\n\n  age -d -i key.txt challenge.txt\n\n{challenge.text}",
        markup=False,
        soft_wrap=True,
    )
    ask_for(console, challenge.word)
    run = new_run(Run.Kind.KIT_PROOF, recipient=kit.recipient)
    result = execute(console, operations.prove_recovery_kit, get_context(), run)
    console.print(f"The recovery kit {kit.name} is at hand. The next proof is due in half a year.")
    return document_of(run, result), 0


def find_kit(kits: RecoveryKits, name: str) -> RecoveryKit:
    """The named one, or the only one. Raises PreconditionFailed."""
    current = kits.current()
    if name or not current:
        return kits.get(name)
    if len(current) > 1:
        raise PreconditionFailed(
            f"There are {len(current)} recovery kits: {join_names([kit.name for kit in current])}.",
            "Name one: manage.py prove_recovery_kit KIT",
        )
    return current[0]


def ask_for(console: Console, word: str) -> None:
    """Raises ConfirmationDeclined after `ATTEMPTS` wrong words, and at the end of standard input."""
    for _ in range(ATTEMPTS):
        console.print("The word: ", end="")
        try:
            typed = input()
        except EOFError:
            break
        if normalized(typed) == normalized(word):
            return
        console.print("[red]This is not the word.[/red]")
    raise ConfirmationDeclined("The word was not typed. Nothing was recorded.", "Each attempt has a text of its own.")
