"""``manage.py backup_database``: calls `ops.operations.back_up`."""

from typing import Any

from django.core.management.base import CommandParser
from rich.console import Console
from rich.markup import escape

from ops import operations
from ops.conf import conf
from ops.errors import OpsError
from ops.management import output
from ops.management.base import OperationCommand, add_backup_dir, document_of, execute, new_run
from ops.models import Run
from ops.runs.context import OpsContext, get_context
from ops.utils.formatting import join_names


class Command(OperationCommand):
    help = (
        "Back up the database: a consistent snapshot, compressed, and verified by reading it back and comparing the"
        " row counts of all tables. Backups outside the retention policy are deleted afterwards."
    )
    examples = """
  Back up now:
    manage.py backup_database
  Before an upgrade, and exempt it from the retention policy:
    manage.py backup_database --note "before the upgrade" --keep
  From cron, to another disk:
    manage.py backup_database --backup-dir /mnt/disk/backups --json
"""

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        add = parser.add_argument
        add("--note", default="", metavar="TEXT", help="a note that is shown in lists")
        add("--keep", action="store_true", help="pin the backup: it is never pruned")
        add("--no-compress", action="store_true", help="do not compress the file")
        add(
            "--format",
            choices=("plain", "custom"),
            default="plain",
            help="custom: a file for pg_restore (PostgreSQL only)",
        )
        add_backup_dir(parser, "store it")
        add("--retention-days", type=int, metavar="N", help="keep backups for N days (default: BACKUP_RETENTION_DAYS)")

    def run_operation(self, console: Console, options: dict[str, Any]) -> tuple[dict[str, Any], int]:
        context = get_context(directory=options["backup_dir"], retention_days=options["retention_days"])
        kind = context.kind(compress=not options["no_compress"], custom=options["format"] == "custom")
        run = new_run(Run.Kind.BACKUP, file_kind=kind, note=options["note"], pinned=options["keep"])
        result = execute(console, operations.back_up, context, run)
        output.show_backup(console, result, where=context.engine.where, location=context.repository.location)
        copies = copy_backup(console, context) if context.repository.others else {}
        return document_of(run, result) | copies, 0


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
