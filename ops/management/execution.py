"""What the handlers of commands share: they execute operations with a display of progress, and ask for confirmation."""

import getpass
import socket
from typing import Any, TypeVar

from msgspec import Struct
from rich.console import Console
from rich.markup import escape

from ops.databases.postgres.start import waiting_for_server
from ops.management.base import ConfirmationDeclined
from ops.management.progress import get_reporter
from ops.models import Run
from ops.runs.context import OpsContext
from ops.runs.executor import Operation
from ops.utils.schema import to_json

Outcome = TypeVar("Outcome", bound=Struct)


def execute(console: Console, operation: Operation[Outcome], context: OpsContext, run: Run, **objects: Any) -> Outcome:
    """Call the operation with a display of its progress, and show what was cleaned up after killed runs."""
    try:
        # The user may have taken a long time to confirm.
        with get_reporter(console) as on_progress, waiting_for_server():
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
