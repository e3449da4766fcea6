"""``manage.py verify_backup``: calls `ops.operations.verify`."""

from typing import Any

from django.core.management.base import CommandParser
from rich.console import Console
from rich.markup import escape

from ops import operations
from ops.backups.record import LOCAL
from ops.errors import PreconditionFailed
from ops.management import output
from ops.management.base import NOT_VERIFIED, OperationCommand, add_backup_dir, document_of, execute, new_run
from ops.models import Run
from ops.runs.context import OpsContext, get_context
from ops.utils.formatting import join_names


class Command(OperationCommand):
    help = (
        "Verify backups: each is read back in full, and its checksum, end marker and the row count of every table are"
        " checked. With --restore, each is restored into a scratch database, migrated, and its contents are compared."
    )
    examples = """
  Test a restore of the newest backup:
    manage.py verify_backup --latest --restore
  Test a restore from another storage location, and measure it:
    manage.py verify_backup --latest --restore --location nas
  Read all copies in a storage location back:
    manage.py verify_backup --all --location nas
  Read all backups back, from cron:
    manage.py verify_backup --all --json
"""

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        which = parser.add_mutually_exclusive_group(required=True)
        which.add_argument(
            "name", nargs="?", metavar="NAME", help="a backup of list_backups, or the beginning of its name"
        )
        which.add_argument("--latest", action="store_true", help="the newest backup of this kind of database")
        which.add_argument("--all", action="store_true", help="all backups of this kind of database")
        parser.add_argument(
            "--restore",
            action="store_true",
            help="restore test: restore into a scratch database and compare the contents",
        )
        parser.add_argument(
            "--location", default="", metavar="NAME", help="read the copies there (default: the nearest good ones)"
        )
        add_backup_dir(parser, "verify backups")

    def run_operation(self, console: Console, options: dict[str, Any]) -> tuple[dict[str, Any], int]:
        context = get_context(directory=options["backup_dir"])
        kind = Run.Kind.RESTORE_TEST if options["restore"] else Run.Kind.VERIFICATION
        run = new_run(kind, names=selected_names(console, context, options), location=options["location"])
        operation = operations.restore_test if options["restore"] else operations.verify
        result = execute(console, operation, context, run)
        output.show_verifications(console, result)
        if not result.passed:
            console.print(run.hint, soft_wrap=True, markup=False)
        return document_of(run, result), 0 if result.passed else NOT_VERIFIED


def selected_names(console: Console, context: OpsContext, options: dict[str, Any]) -> list[str]:
    """The names of the backups to verify. Raises PreconditionFailed if there is none."""
    if options["name"]:
        return [context.repository.get(options["name"]).name]
    names: list[str] = []
    others: list[str] = []
    location = options["location"]
    if location and location != LOCAL:
        context.repository.other(location)
    for record in context.repository.records():
        if location and not context.repository.has_copy(record, location):
            continue
        ours = not record.manifest or record.manifest.kind in context.engine.kinds
        (names if ours else others).append(record.name)
    if not names:
        where = f" in {location}" if location else ""
        raise PreconditionFailed(f"There is no backup to verify{where}.", "Make one: manage.py backup_database")
    if options["all"] and others:
        words = f"Not verified, because they are of another kind of database: {join_names(others)}."
        console.print(escape(words), soft_wrap=True)
    return names if options["all"] else names[:1]
