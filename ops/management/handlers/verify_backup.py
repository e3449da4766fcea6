"""What ``manage.py verify_backup`` does: calls `ops.operations.verify`."""

from typing import Any

from rich.console import Console
from rich.markup import escape

from ops import operations
from ops.backups.record import LOCAL
from ops.errors import PreconditionFailed
from ops.management import output
from ops.management.base import NOT_VERIFIED
from ops.management.execution import document_of, execute, new_run
from ops.models import Run
from ops.runs.context import OpsContext, get_context
from ops.utils.formatting import join_names


def handle(console: Console, options: dict[str, Any]) -> tuple[dict[str, Any], int]:
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
