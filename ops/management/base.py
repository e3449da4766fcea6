"""The base of the commands that execute operations: ``--json``, error messages and exit codes.

A command has the arguments only. `ops.management.handlers` does the work, and is imported after the arguments were
parsed: the help, and mistakes in arguments, do not wait for the engines, the operations and the console.
"""

import shutil
import sys
import textwrap
from argparse import RawDescriptionHelpFormatter
from importlib import import_module
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser, DjangoHelpFormatter

from ops.errors import AlreadyRunning, ArtifactInvalid, Cancelled, OpsError, VerificationFailed
from ops.utils.posix_signals import sigterm_as_interrupt
from ops.utils.printable import json_text, printable

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
    """A command whose `handler`, the name of a module, has the function ``handle(console, options)``.

    It does the work, shows the outcome, and returns the object that ``--json`` prints, and the exit code. Text goes to
    standard output, or to standard error if the JSON goes to standard output. An OpsError ends the command with its
    message and hint.
    """

    requires_system_checks = ()
    handler: str
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
        handler, progress = import_module(self.handler), import_module("ops.management.progress")
        start = import_module("ops.databases.postgres.start")
        console = progress.PrintableConsole(sys.stderr if options["json"] in {True, "-"} else sys.stdout)
        try:
            with sigterm_as_interrupt(), start.waiting_for_server():
                document, code = handler.handle(console, options)
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
