"""``manage.py rebuild_backup_index``: calls `ops.operations.rebuild_index`."""

import dataclasses
from typing import Any

from rich.console import Console
from rich.markup import escape

from ops import operations
from ops.management import output
from ops.management.base import OperationCommand, show_recovered
from ops.runs.context import get_context
from ops.utils.formatting import pluralize


class Command(OperationCommand):
    help = (
        "Rebuild the admin's lists of backups and runs from the manifests and events in the storage. The files are not"
        " changed."
    )
    examples = """
  After files were copied into the backup directory by hand:
    manage.py rebuild_backup_index
"""

    def run_operation(self, console: Console, _options: dict[str, Any]) -> tuple[dict[str, Any], int]:
        context = get_context()
        result = operations.rebuild_index(context)
        show_recovered(console, result.recovered)
        backups, runs = pluralize(result.backups, "backup"), pluralize(result.runs, "run")
        console.print(f"Indexed {backups} and {runs} from {escape(context.repository.location)}.", soft_wrap=True)
        output.show_unknown_keys(console, context.repository.records())
        return dataclasses.asdict(result), 0
