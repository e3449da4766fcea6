"""The base of the commands that execute operations: progress, ``--json``, error messages and exit codes."""

import getpass
import shutil
import socket
import sys
import textwrap
from argparse import RawDescriptionHelpFormatter
from pathlib import Path
from typing import Any, TypeVar

from django.core.management.base import BaseCommand, CommandError, CommandParser, DjangoHelpFormatter
from msgspec import Struct
from rich.console import Console
from rich.markup import escape

from ops.errors import AlreadyRunning, ArtifactInvalid, Cancelled, OpsError, VerificationFailed
from ops.management.progress import PrintableConsole, get_reporter
from ops.models import Run
from ops.runs.context import OpsContext
from ops.runs.executor import Operation
from ops.utils.posix_signals import sigterm_as_interrupt
from ops.utils.printable import json_text, printable
from ops.utils.schema import to_json

Outcome = TypeVar("Outcome", bound=Struct)

FAILED, NOT_VERIFIED, LOCKED, DECLINED, INTERRUPTED = 1, 3, 4, 5, 130
EXIT_CODES = """
exit codes: 0 done · 1 error · 3 invalid or unverified backup · 4 another operation is running ·
  5 not confirmed · 130 interrupted
"""


class ConfirmationDeclined(Cancelled):
    """The user did not confirm."""


class HelpFormatter(RawDescriptionHelpFormatter, DjangoHelpFormatter):
    """Keeps the line breaks of the examples, and lists Django's own options last."""


class OperationCommand(BaseCommand):
    """A command whose `run_operation` does the work and returns what ``--json`` prints.

    Text goes to standard output, or to standard error if the JSON goes to standard output. An OpsError ends the command
    with its message and hint.
    """

    requires_system_checks = ()
    examples = ""
    exit_codes = EXIT_CODES
    interrupted = "Interrupted. The live database was not changed."

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        epilog = f"examples:\n{self.examples.strip(chr(10))}\n{self.exit_codes}"
        parser = super().create_parser(prog_name, subcommand, epilog=epilog, formatter_class=HelpFormatter, **kwargs)
        parser.description = textwrap.fill(self.help, shutil.get_terminal_size().columns - 2)
        return parser

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="print the result as one JSON object")

    def run_operation(self, console: Console, options: dict[str, Any]) -> tuple[dict[str, Any], int]:
        """Do the work, show the outcome, and return the JSON document and the exit code. Raises OpsError."""
        raise NotImplementedError

    def exit_code(self, error: OpsError) -> int:
        """The exit code for an error."""
        match error:
            case AlreadyRunning():
                return LOCKED
            case ArtifactInvalid() | VerificationFailed():
                return NOT_VERIFIED
            case ConfirmationDeclined():
                return DECLINED
        return FAILED

    def handle(self, **options: Any) -> None:
        console = PrintableConsole(sys.stderr if options["json"] in {True, "-"} else sys.stdout)
        try:
            with sigterm_as_interrupt():
                document, code = self.run_operation(console, options)
        except OpsError as error:
            code = self.exit_code(error)
            self.print_json(options, {"status": "failed", "error": error.message, "hint": error.hint})
            raise CommandError(printable(str(error)), returncode=code) from error
        except KeyboardInterrupt as interrupt:
            self.print_json(options, {"status": "interrupted"})
            raise CommandError(str(interrupt) or self.interrupted, returncode=INTERRUPTED) from None
        self.print_json(options, {"status": "done" if code == 0 else "failed", **document})
        if code:
            sys.exit(code)

    def print_json(self, options: dict[str, Any], document: dict[str, Any]) -> None:
        if options["json"]:
            sys.stdout.write(json_text(document))


def add_backup_dir(parser: CommandParser, purpose: str) -> None:
    text = f"{purpose} in DIR (default: the storage in the settings)"
    parser.add_argument("--backup-dir", type=Path, metavar="DIR", help=text)


def execute(console: Console, operation: Operation[Outcome], context: OpsContext, run: Run, **objects: Any) -> Outcome:
    """Call the operation with a display of its progress, and show what was cleaned up after killed runs."""
    try:
        with get_reporter(console) as on_progress:
            result = operation(context, run, on_progress, **objects)
    except KeyboardInterrupt:
        if run.status == Run.Status.SUCCEEDED:
            raise KeyboardInterrupt(f"Interrupted after the {run.get_kind_display()}, which is complete.") from None
        raise
    show_recovered(console, run.recovered)
    return result


def show_recovered(console: Console, recovered: tuple[str, ...]) -> None:
    """Show what was cleaned up after killed runs."""
    for sentence in recovered:
        console.print(f"[yellow]Cleaned up:[/yellow] {escape(sentence)}", soft_wrap=True)


def document_of(run: Run, result: Struct) -> dict[str, Any]:
    """The JSON document of a run and its result."""
    return {"run": str(run.pk), "recovered": list(run.recovered), **to_json(result)}


def new_run(kind: Run.Kind, **arguments: Any) -> Run:
    """A run that is requested by the user of this terminal."""
    return Run(kind=kind, requested_by=current_user(), origin=Run.Origin.COMMAND, arguments=arguments)


def current_user() -> str:
    """``user@host``; in a container the user may have no name."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = "unknown"
    return f"{user}@{socket.gethostname()}"


def prompt(console: Console, question: str) -> str:
    """Read a line from the user. Raises ConfirmationDeclined if standard input has ended."""
    console.print(question, end="", markup=False, soft_wrap=True)
    try:
        return input().strip()
    except EOFError:
        raise ConfirmationDeclined(
            "Not a terminal, cannot ask for confirmation. Nothing was changed.", "Use --yes for non-interactive runs."
        ) from None


def confirm_by_name(console: Console, name: str, question: str) -> None:
    """Ask for the full name of the database. Raises ConfirmationDeclined."""
    if prompt(console, question) != name:
        raise ConfirmationDeclined("Database name does not match. Nothing was changed.")
