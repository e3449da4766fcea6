"""What ``manage.py restore_database`` does: calls `ops.operations.restore`."""

import sys
from typing import Any

from rich.console import Console

from ops import operations
from ops.backups.restore_checks import require_restorable
from ops.errors import PreconditionFailed
from ops.management import output
from ops.management.base import NOT_VERIFIED
from ops.management.execution import confirm_by_name, document_of, execute, new_run
from ops.models import Run
from ops.operations import PreBackupFailed
from ops.runs.context import OpsContext, get_context
from ops.runs.results import RestoreResult
from ops.utils import clock
from ops.utils.schema import to_json


def handle(console: Console, options: dict[str, Any]) -> tuple[dict[str, Any], int]:
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
    context.engine.require_backed_up()
    preview = operations.preview(context, source)
    output.show_source(console, source, where=context.engine.where)
    output.show_preview(console, preview)
    backup = {"pre_backup": not options["no_pre_backup"], "backup_first": options["backup_first"]}
    afterwards = operations.is_made_afterwards(context, backup_first=options["backup_first"])
    output.show_steps(console, operations.describe_steps(pre_backup=backup["pre_backup"], afterwards=afterwards))
    if not options["yes"]:
        name = context.engine.database
        confirm_by_name(console, name, f"To confirm, type the database name ({name}): ")
    run = new_run(Run.Kind.RESTORE, **arguments, **backup)
    result = restore(console, context, run, may_ask=not options["yes"] and sys.stdin.isatty())
    output.show_restored(console, result, where=context.engine.where)
    # The restore is done in any case; the code is about the backup of the database that it replaced.
    code = NOT_VERIFIED if result.pre_backup_error else 0
    return {**document_of(run, result), "rights": to_json(preview.rights), "status": "done"}, code


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
    """Restore. If the live database cannot be backed up, offer to skip that, where `may_ask`."""
    try:
        return execute(console, operations.restore, context, run)
    except KeyboardInterrupt:
        if (run.result.get("previous") or {}).get("backup_due"):
            raise KeyboardInterrupt(
                "Interrupted after the restore, which is complete. The previous database is not backed up yet:"
                " manage.py backup_database"
            ) from None
        raise
    except PreBackupFailed as error:
        if not may_ask:
            raise
        console.print(error.message, style="yellow", soft_wrap=True, markup=False)
        name = context.engine.database
        confirm_by_name(console, name, f"To restore without this backup, type the database name ({name}): ")
    again = new_run(Run.Kind.RESTORE, **run.arguments | {"pre_backup": False})
    return execute(console, operations.restore, context, again)
