"""What ``manage.py copy_backups`` does: calls `ops.operations.copy_backups`."""

from typing import Any

from rich.console import Console

from ops import operations
from ops.errors import PreconditionFailed
from ops.management import output
from ops.management.base import FAILED
from ops.management.execution import document_of, execute, new_run
from ops.models import Run
from ops.runs.context import get_context


def handle(console: Console, options: dict[str, Any]) -> tuple[dict[str, Any], int]:
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
