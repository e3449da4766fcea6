"""What the commands that run an operation share: progress, ``--json``, errors as sentences, and exit codes."""

import getpass
import socket
import sys
from argparse import RawDescriptionHelpFormatter
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from rich.console import Console

from ops.errors import AlreadyRunning, ArtifactInvalid, Cancelled, OpsError, VerificationFailed
from ops.management.progress import PrintableConsole
from ops.models import Run
from ops.runs.recorder import Request
from ops.utils.posix_signals import sigterm_as_interrupt
from ops.utils.printable import json_text, printable

FAILED, NOT_PROVEN, LOCKED, DECLINED, INTERRUPTED = 1, 3, 4, 5, 130
EXIT_CODES = """
exit codes: 0 done · 1 an error · 3 a backup is not what it should be · 4 another operation is running ·
  5 not confirmed · 130 interrupted
"""


class ConfirmationDeclined(Cancelled):
    """The person did not confirm."""


class OperationCommand(BaseCommand):
    """A command whose `operate` does the work and returns what ``--json`` prints.

    Console output is for people: on standard output, or on standard error when that belongs to the JSON. Raised
    OpsErrors end the command with their message and hint.
    """

    requires_system_checks = ()
    examples = ""

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        epilog = f"examples:\n{self.examples.strip(chr(10))}\n{EXIT_CODES}"
        return super().create_parser(
            prog_name, subcommand, epilog=epilog, formatter_class=RawDescriptionHelpFormatter, **kwargs
        )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="print the result as one JSON object, for scripts")

    def run_operation(self, console: Console, options: dict[str, Any]) -> tuple[dict[str, Any], int]:
        """Do it, tell the person, and return the JSON document and the exit code. Raises OpsError."""
        raise NotImplementedError

    def handle(self, **options: Any) -> None:
        console = PrintableConsole(sys.stderr if options["json"] else sys.stdout)
        try:
            with sigterm_as_interrupt():
                document, code = self.run_operation(console, options)
        except OpsError as error:
            code = exit_code(error)
            self.print_json(options, {"status": "failed", "error": error.message, "hint": error.hint})
            raise CommandError(printable(str(error)), returncode=code) from error
        except KeyboardInterrupt:
            self.print_json(options, {"status": "interrupted"})
            raise CommandError("Interrupted. What was under way was taken back.", returncode=INTERRUPTED) from None
        self.print_json(options, {"status": "done" if code == 0 else "failed", **document})
        if code:
            sys.exit(code)

    def print_json(self, options: dict[str, Any], document: dict[str, Any]) -> None:
        if options["json"]:
            sys.stdout.write(json_text(document))


def new_run(operation: Run.Kind, **arguments: Any) -> Request:
    """A run that the person at this terminal asks for."""
    return Request(kind=operation, who=current_user(), origin=Run.Origin.COMMAND, arguments=arguments)


def current_user() -> str:
    """The user and the machine; a container may know its user by number only."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = "somebody"
    return f"{user}@{socket.gethostname()}"


def exit_code(error: OpsError) -> int:
    match error:
        case AlreadyRunning():
            return LOCKED
        case ArtifactInvalid() | VerificationFailed():
            return NOT_PROVEN
        case ConfirmationDeclined():
            return DECLINED
    return FAILED


def prompt(console: Console, question: str) -> str:
    """A line that a person types. Raises Declined where nobody is there to."""
    console.print(question, end="", markup=False, soft_wrap=True)
    try:
        return input().strip()
    except EOFError:
        raise ConfirmationDeclined(
            "Nobody is here to confirm. Nothing was changed.", "Add --yes in a script."
        ) from None


def confirm_by_name(console: Console, name: str, question: str) -> None:
    """Only the database's name in full will do. Raises Declined."""
    if prompt(console, question) != name:
        raise ConfirmationDeclined("That is not the database's name. Nothing was changed.")
