"""What ``manage.py backup_database`` does: calls `ops.operations.back_up`."""

from typing import Any

from rich.console import Console
from rich.markup import escape

from ops import operations
from ops.conf import conf
from ops.errors import OpsError
from ops.management import output
from ops.management.base import NOT_VERIFIED
from ops.management.execution import document_of, execute, new_run
from ops.models import Run
from ops.runs.context import OpsContext, get_context
from ops.utils.formatting import join_names


def handle(console: Console, options: dict[str, Any]) -> tuple[dict[str, Any], int]:
    context = get_context(directory=options["backup_dir"], retention_days=options["retention_days"])
    kind = context.kind(compress=not options["no_compress"], custom=options["format"] == "custom")
    run = new_run(Run.Kind.BACKUP, file_kind=kind, note=options["note"], pinned=options["keep"])
    result = execute(console, operations.back_up, context, run)
    output.show_backup(console, result, where=context.engine.where, location=context.repository.location)
    copies = copy_backup(console, context) if context.repository.others else {}
    return document_of(run, result) | copies, NOT_VERIFIED if result.pre_restore_error else 0


def copy_backup(console: Console, context: OpsContext) -> dict[str, Any]:
    """A worker copies the backup, or this process, where there is none. The backup is made in any case."""
    if conf.OPS_CELERY_APP:
        from ops import tasks  # noqa: PLC0415  # Celery takes 0.2 s to import

        tasks.request_copies()
        console.print("  The worker copies it to: " + escape(join_names(list(context.repository.others))))
        return {}
    run = new_run(Run.Kind.COPY)
    try:
        result = execute(console, operations.copy_backups, context, run)
    except OpsError as error:
        console.print(f"[yellow]Not copied:[/yellow] {escape(str(error))}", soft_wrap=True)
        return {"copies": {"error": error.message, "hint": error.hint}}
    output.show_copies(console, result)
    return {"copies": document_of(run, result)}
