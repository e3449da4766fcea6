"""``manage.py list_backups``: what is in the storage, read from the manifests; the database need not answer."""

from pathlib import Path
from typing import Any

from django.core.management.base import CommandParser
from rich.console import Console
from rich.markup import escape

from ops import operations
from ops.management import output
from ops.management.base import OperationCommand
from ops.runs.context import get_context


class Command(OperationCommand):
    help = "List the backups: when each was taken, its size, how it was verified, how long it is kept and why."
    examples = """
  All backups:
    manage.py list_backups
  The newest one's name, for a script:
    manage.py list_backups --json | jq -r '.backups[0].name'
"""

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--backup-dir", type=Path, metavar="DIR", help="default: the storage in the settings")

    def run_operation(self, console: Console, options: dict[str, Any]) -> tuple[dict[str, Any], int]:
        context = get_context(directory=options["backup_dir"])
        entries = context.repository.records()
        decisions = {decision.name: decision for decision in operations.evaluate_retention(context, entries)}
        previous = context.engine.swap_strategy().previous_database()
        if entries:
            output.show_entries(console, entries, decisions)
            output.show_unknown_keys(console, entries)
        else:
            console.print(f"There is no backup in {escape(context.repository.location)} yet.", soft_wrap=True)
            console.print("Make one: manage.py backup_database")
        output.show_previous(console, previous, days=context.previous_days)
        return output.entries_as_json(entries, decisions, previous), 0
