"""What ``manage.py create_recovery_kit`` does: makes a kit by the operation, and shows the new key once."""

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console

from ops import operations
from ops.backups.encryption import new_identity, recipient_of
from ops.conf import conf
from ops.errors import PreconditionFailed
from ops.management.execution import current_user, document_of, execute, new_run
from ops.management.progress import PrintableConsole
from ops.models import Run
from ops.operations.recovery_kit_sheet import new_sheet
from ops.runs.context import get_context

STANDARD_OUTPUT = "-"
NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
ONCE = "Print or write it down now, and keep it away from this machine. It is not shown again."


def handle(console: Console, options: dict[str, Any]) -> tuple[dict[str, Any], int]:
    target = options["output"]
    require_private(target, console, as_json=options["json"])
    context = get_context()
    secret_key = new_identity()
    sheet = new_sheet(context, secret_key, made_by=current_user())
    run = new_run(Run.Kind.RECOVERY_KIT, recipient=recipient_of(secret_key))
    if target == STANDARD_OUTPUT:
        console = PrintableConsole(sys.stderr)
    with written(target, sheet.as_html()):
        result = execute(console, operations.create_recovery_kit, context, run)
    if target == STANDARD_OUTPUT:
        sys.stdout.write(sheet.as_html())
    elif not target:
        console.print(sheet.as_text(), markup=False, soft_wrap=True)
    where = f"It is in {target}: print it, and delete the file." if target not in {"", STANDARD_OUTPUT} else ONCE
    console.print(f"The recovery kit {sheet.name} was made. {where}", markup=False, soft_wrap=True)
    return document_of(run, result), 0


def require_private(target: str, console: Console, *, as_json: bool) -> None:
    """Raises PreconditionFailed where the key might be stored by accident."""
    if target == STANDARD_OUTPUT and as_json:
        raise PreconditionFailed("Standard output takes the page or the JSON object, not both. No kit was made.")
    if not target and not console.is_terminal:
        raise PreconditionFailed(
            "The output is not a terminal, so the key might get into a log. No kit was made.",
            "Use --output FILE, or --output - if that is what you want.",
        )
    if target and target != STANDARD_OUTPUT and Path(target).resolve().is_relative_to(conf.BACKUP_DIR.resolve()):
        raise PreconditionFailed(
            f"{target} is in BACKUP_DIR, where the key would lie next to the backups. No kit was made.",
            "Choose a place that is not copied with the backups, such as a USB drive.",
        )


@contextlib.contextmanager
def written(target: str, page: str) -> Iterator[None]:
    """Write `page` into the new file `target`, which is deleted if the block fails. Not for standard output."""
    if target in {"", STANDARD_OUTPUT}:
        yield
        return
    try:
        descriptor = os.open(target, NEW_FILE, 0o600)
    except OSError as error:
        raise PreconditionFailed(f"{target} cannot be made: {error.strerror}. No kit was made.") from error
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(page)
            file.flush()
            os.fsync(file.fileno())
        yield
    except BaseException:
        Path(target).unlink(missing_ok=True)
        raise
