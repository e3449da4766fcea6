"""``manage.py restore_database``: the door to `ops.operations.restore` and `restore_beside`."""

import sys
from pathlib import Path
from typing import Any

from django.core.management.base import CommandParser
from django.utils import timezone
from rich.console import Console

from ops import operations
from ops.backups.manifest import plain_values
from ops.backups.preview import preview_restore
from ops.backups.restore import PreBackupFailed, Restored, check
from ops.management import output
from ops.management.base import OperationCommand, confirm_by_name, new_run
from ops.management.progress import get_reporter
from ops.models import Run


class Command(OperationCommand):
    help = (
        "Put a backup in the place of the live database. It is loaded beside it, compared with what was backed up,"
        " migrated, and renamed into place in one step; the database that it replaces is kept for undo_restore."
    )
    examples = """
  Go back to the newest backup that is proven:
    manage.py restore_database --latest
  Look into an old backup without touching the live database:
    manage.py restore_database homerack_20261120_020000.sql.gz --to homerack_old
  A file that somebody else's pg_dump wrote:
    manage.py restore_database --backup-file dump.sql --untrusted
"""

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        which = parser.add_mutually_exclusive_group(required=True)
        which.add_argument("name", nargs="?", metavar="NAME", help="a backup of list_backups, or how its name begins")
        which.add_argument("--latest", action="store_true", help="the newest backup that is proven")
        which.add_argument("--backup-file", type=Path, metavar="PATH", help="a file that is not in the list")
        add = parser.add_argument
        add("--to", default="", metavar="DATABASE", help="into a new database of this name (SQLite: a new file)")
        add("--yes", action="store_true", help="do not ask for the database's name")
        add("--no-pre-backup", action="store_true", help="do not back up first; the old database is kept all the same")
        add("--untrusted", action="store_true", help="load a file without a signature: its tables and rows, no more")
        add("--backup-dir", type=Path, metavar="DIR", help="where NAME is (default: the storage in the settings)")

    def operate(self, console: Console, options: dict[str, Any]) -> tuple[dict[str, Any], int]:
        site = operations.get_context(directory=options["backup_dir"])
        arguments = chosen(site, options)
        source = operations.find_source(site, arguments)
        check(source, engine=site.engine, untrusted=options["untrusted"])
        if options["to"]:
            return beside(console, site, {**arguments, "to": options["to"]})
        impact = preview_restore(engine=site.engine, source=source)
        output.show_source(console, source, where=site.engine.where)
        output.show_impact(console, impact)
        if not options["yes"]:
            name = site.engine.database
            confirm_by_name(console, name, f"Type the database's name, {name}, to restore it: ")
        arguments["pre_backup"] = not options["no_pre_backup"]
        done = restore(console, site, arguments, may_ask=not options["yes"] and sys.stdin.isatty())
        output.show_found(console, done.found)
        output.show_restored(console, done.result, where=site.engine.where)
        return {**done.as_json(), "rights": plain_values(impact.rights)}, 0


def chosen(site: operations.OpsContext, options: dict[str, Any]) -> dict[str, Any]:
    """The arguments that say what to restore. Raises PreconditionFailed when nothing is there."""
    arguments: dict[str, Any] = {"untrusted": options["untrusted"]}
    if options["backup_file"]:
        return arguments | {"file": str(options["backup_file"].absolute())}
    if options["name"]:
        return arguments | {"name": site.catalogue.get(options["name"]).name}
    return arguments | {"name": site.catalogue.latest(now=timezone.now()).name}


def restore(
    console: Console, site: operations.OpsContext, arguments: dict[str, Any], *, may_ask: bool
) -> operations.Done[Restored]:
    """Restore; where the backup beforehand fails and a person is there, offer to go without."""
    try:
        with get_reporter(console) as report:
            return operations.restore(site, new_run(Run.Kind.RESTORE, **arguments), report)
    except PreBackupFailed as error:
        if not may_ask:
            raise
        console.print(error.message, style="yellow", soft_wrap=True, markup=False)
        name = site.engine.database
        confirm_by_name(console, name, f"Type {name} to restore without it; the old database is kept aside: ")
    with get_reporter(console) as report:
        return operations.restore(site, new_run(Run.Kind.RESTORE, **arguments | {"pre_backup": False}), report)


def beside(console: Console, site: operations.OpsContext, arguments: dict[str, Any]) -> tuple[dict[str, Any], int]:
    with get_reporter(console) as report:
        done = operations.restore_beside(site, new_run(Run.Kind.RESTORE, **arguments), report)
    output.show_found(console, done.found)
    output.show_beside(console, done.result)
    return done.as_json(), 0
