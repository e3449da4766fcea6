"""``manage.py restore_database``: calls `ops.operations.restore`."""

import sys
from pathlib import Path
from typing import Any

from django.core.management.base import CommandParser
from rich.console import Console

from ops import operations
from ops.backups.restore_checks import require_restorable
from ops.errors import PreconditionFailed
from ops.management import output
from ops.management.base import OperationCommand, add_backup_dir, confirm_by_name, document_of, execute, new_run
from ops.models import Run
from ops.operations import PreBackupFailed
from ops.runs.context import OpsContext, get_context
from ops.runs.results import RestoreResult
from ops.utils import clock
from ops.utils.schema import to_json


class Command(OperationCommand):
    help = (
        "Replace the live database by a backup. The backup is loaded into a staging database, compared with its"
        " manifest, migrated, and swapped in. The previous database is kept for undo_restore."
    )
    examples = """
  Restore the newest verified backup:
    manage.py restore_database --latest
  Read another copy than the nearest:
    manage.py restore_database database_20261120_020000.sql.gz --location nas
  Load an old backup into another database, without touching the live one:
    manage.py restore_database database_20261120_020000.sql.gz --to old_database
  Restore a file that pg_dump wrote elsewhere:
    manage.py restore_database --backup-file dump.sql --untrusted
"""

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        which = parser.add_mutually_exclusive_group(required=True)
        which.add_argument(
            "name", nargs="?", metavar="NAME", help="a backup of list_backups, or the beginning of its name"
        )
        which.add_argument("--latest", action="store_true", help="the newest verified backup")
        which.add_argument("--backup-file", type=Path, metavar="PATH", help="a file that is not in the list")
        add = parser.add_argument
        add(
            "--to", default="", metavar="DATABASE", help="load it into a new database of this name (SQLite: a new file)"
        )
        add("--location", default="", metavar="NAME", help="read the copy there (default: the nearest good one)")
        add("--yes", action="store_true", help="do not ask for confirmation")
        add(
            "--no-pre-backup",
            action="store_true",
            help="do not back up the live database first; undo_restore works all the same",
        )
        add(
            "--untrusted",
            action="store_true",
            help="accept a file without a valid signature: only the rows of its tables are loaded",
        )
        add_backup_dir(parser, "find NAME")

    def run_operation(self, console: Console, options: dict[str, Any]) -> tuple[dict[str, Any], int]:
        context = get_context(directory=options["backup_dir"])
        arguments = source_arguments(context, options)
        source = operations.find_source(context, **arguments)
        require_restorable(source, engine=context.engine, untrusted=options["untrusted"])
        arguments |= {"untrusted": options["untrusted"]}
        if options["to"]:
            run = new_run(Run.Kind.RESTORE, **arguments, to=options["to"])
            result = execute(console, operations.restore, context, run)
            output.show_loaded(console, result)
            return document_of(run, result), 0
        preview = operations.preview(context, source)
        output.show_source(console, source, where=context.engine.where)
        output.show_preview(console, preview)
        if not options["yes"]:
            name = context.engine.database
            confirm_by_name(console, name, f"To confirm, type the database name ({name}): ")
        run = new_run(Run.Kind.RESTORE, **arguments, pre_backup=not options["no_pre_backup"])
        result = restore(console, context, run, may_ask=not options["yes"] and sys.stdin.isatty())
        output.show_restored(console, result, where=context.engine.where)
        return {**document_of(run, result), "rights": to_json(preview.rights)}, 0


def source_arguments(context: OpsContext, options: dict[str, Any]) -> dict[str, Any]:
    """The arguments of the run that name the backup. Raises PreconditionFailed if there is none."""
    location = options["location"]
    if options["backup_file"]:
        if location:
            raise PreconditionFailed(
                "--location chooses a copy of a backup in the list, and --backup-file is not in it.",
                "Name the backup, or leave out --location. Nothing was changed.",
            )
        return {"file": str(options["backup_file"].absolute())}
    if options["name"]:
        return {"name": context.repository.get(options["name"]).name, "location": location}
    return {"name": context.repository.latest(now=clock.now()).name, "location": location}


def restore(console: Console, context: OpsContext, run: Run, *, may_ask: bool) -> RestoreResult:
    """Restore. If the pre-restore backup fails, offer to skip it, where `may_ask`."""
    try:
        return execute(console, operations.restore, context, run)
    except PreBackupFailed as error:
        if not may_ask:
            raise
        console.print(error.message, style="yellow", soft_wrap=True, markup=False)
        name = context.engine.database
        confirm_by_name(console, name, f"To restore without this backup, type the database name ({name}): ")
    again = new_run(Run.Kind.RESTORE, **run.arguments | {"pre_backup": False})
    return execute(console, operations.restore, context, again)
