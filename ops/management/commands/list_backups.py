"""``manage.py list_backups``: what is in the storage, read from the manifests; the database need not answer."""

from pathlib import Path
from typing import Any

from django.core.management.base import CommandParser
from rich.console import Console
from rich.markup import escape

from ops import operations
from ops.management import output
from ops.management.base import OperationCommand


class Command(OperationCommand):
    help = "List the backups: when, how large, how they were proven, and how long each is kept and why."
    examples = """
  All backups:
    manage.py list_backups
  The newest one's name, for a script:
    manage.py list_backups --json | jq -r '.backups[0].name'
"""

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--backup-dir", type=Path, metavar="DIR", help="default: the storage in the settings")

    def operate(self, console: Console, options: dict[str, Any]) -> tuple[dict[str, Any], int]:
        site = operations.get_context(directory=options["backup_dir"])
        entries = site.catalogue.entries()
        verdicts = {verdict.name: verdict for verdict in operations.evaluate_retention(site, entries)}
        undo = site.engine.undo_copy()
        if entries:
            output.show_entries(console, entries, verdicts)
            output.show_unknown_keys(console, entries)
        else:
            console.print(f"There is no backup in {escape(site.catalogue.location)} yet.", soft_wrap=True)
            console.print("Make one: manage.py backup_database")
        output.show_kept(console, undo, days=site.undo_days)
        return output.entries_as_json(entries, verdicts, undo), 0
