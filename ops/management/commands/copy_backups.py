"""``manage.py copy_backups``: calls `ops.operations.copy_backups`."""

from typing import Any

from django.core.management.base import CommandParser
from rich.console import Console

from ops import operations
from ops.errors import PreconditionFailed
from ops.management import output
from ops.management.base import FAILED, OperationCommand, document_of, execute, new_run
from ops.models import Run
from ops.runs.context import get_context


class Command(OperationCommand):
    help = (
        "Copy the backups to the storage locations in BACKUP_LOCATIONS, read each copy back and compare it, and delete"
        " there what the retention policy of the location does not keep. An interrupted run goes on with the next one."
    )
    examples = """
  Copy what is missing, everywhere:
    manage.py copy_backups
  To one storage location:
    manage.py copy_backups --location nas
"""
    interrupted = "Interrupted. Copies that were read back count; the next run makes the others."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--take-over",
            action="store_true",
            help="this installation continues another one, which has used the locations with another BACKUP_DIR",
        )
        parser.add_argument("--location", action="append", default=[], metavar="NAME", help="only to this one")

    def run_operation(self, console: Console, options: dict[str, Any]) -> tuple[dict[str, Any], int]:
        context = get_context()
        if not context.repository.others:
            raise PreconditionFailed(
                f"There is no storage location besides {context.repository.location}. Nothing was copied.",
                "Add one: BACKUP_LOCATIONS, see docs/backups.md.",
            )
        run = new_run(Run.Kind.COPY, locations=options["location"], take_over=options["take_over"])
        result = execute(console, operations.copy_backups, context, run)
        output.show_copies(console, result)
        return document_of(run, result), FAILED if any(each.error for each in result.locations.values()) else 0
