"""``manage.py sync_backups``: the door to `ops.operations.sync`."""

from typing import Any

from rich.console import Console
from rich.markup import escape

from ops import operations
from ops.management import output
from ops.management.base import OperationCommand
from ops.utils.formatting import pluralize


class Command(OperationCommand):
    help = (
        "Write the console's lists of backups and runs anew from the manifests and events in the storage. It changes"
        " nothing there, and does the same as often as you like."
    )
    examples = """
  After files were copied into the backup directory by hand:
    manage.py sync_backups
"""

    def operate(self, console: Console, _options: dict[str, Any]) -> tuple[dict[str, Any], int]:
        site = operations.get_context()
        synced = operations.sync(site)
        output.show_found(console, synced.found)
        backups = pluralize(synced.backups, "backup")
        runs = pluralize(synced.runs, "run")
        console.print(f"{backups} and {runs}, as they are in {escape(site.catalogue.location)}.", soft_wrap=True)
        output.show_unknown_keys(console, site.catalogue.entries())
        return operations.as_json(synced), 0
