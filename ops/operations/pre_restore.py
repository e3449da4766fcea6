"""The pre-restore backup: of the live database before the swap, or of the previous database after it.

The previous database gets no writes, so a backup of it blocks no user. It is possible where whole databases are
swapped. The swap itself records in the comment of the previous database that its backup is due
(`PreviousDatabase.backup_due`), so that a process that is killed at any moment leaves either the live database
unchanged or this record. While it is there, nothing drops the previous database, and the next backup run makes the
backup.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import replace

import psycopg2
from django.db import Error as DatabaseError

from ops.backups.create import require_space
from ops.backups.engines.base import PreviousDatabase
from ops.backups.manifest import Kind, Origin
from ops.backups.table_policy import exclusions
from ops.errors import Cancelled, OpsError
from ops.models import Run
from ops.operations.new_backup import make_backup
from ops.runs.context import OpsContext
from ops.runs.recorder import RunRecorder
from ops.utils.progress import Progress, Stage

FAULTS = (OpsError, OSError, psycopg2.Error, DatabaseError)
MAKE_IT = "Make it: manage.py backup_database"


class PreBackupFailed(OpsError):
    """The live database cannot be backed up. Nothing was changed."""


def is_made_afterwards(context: OpsContext, *, backup_first: bool) -> bool:
    """Whether the pre-restore backup is made after the swap."""
    return not backup_first and context.engine.swap_strategy().swaps_databases


def describe_steps(*, pre_backup: bool, afterwards: bool) -> Iterator[str]:
    """What a restore does, in this order."""
    if pre_backup and afterwards:
        yield "The live database is read completely, and the space for a backup of it is checked."
    yield "The backup is loaded into a staging database and compared. The site works as usual."
    if pre_backup and not afterwards:
        yield "Writes are blocked while the live database is backed up, and until the restored one is live."
    else:
        yield "Writes are blocked for about a second, while the restored database goes live."
    if pre_backup and afterwards:
        yield "The previous database is backed up. The site works as usual; no other restore can start until then."


def require_backup_possible(context: OpsContext, run: RunRecorder) -> None:
    """Read the live database completely, as a backup does, and check the space for one, before anything changes.

    Damage is found as pg_dump and the digests find it. What only shows while the backup is written, after the swap,
    leaves the restore as it is and the previous database kept. Raises PreBackupFailed.
    """
    kind = Kind(context.kind())
    run.report(Progress(stage=Stage.READ))
    with failing_before_the_restore():
        require_space(engine=context.engine, repository=context.repository, kind=kind)
        with context.engine.snapshot(kind=kind, excluded=exclusions()) as snapshot:
            run.report(Progress(stage=Stage.READ, total=snapshot.size))
            for _block in snapshot.stream(lambda progress: run.report(replace(progress, stage=Stage.READ))):
                pass
            snapshot.tables()


def back_up_first(context: OpsContext, run: RunRecorder) -> str:
    """Back up the live database, whose writes are blocked. Returns the name. Raises PreBackupFailed."""
    with failing_before_the_restore():
        return make_backup(context, run, origin=Origin.PRE_RESTORE).name


@contextlib.contextmanager
def failing_before_the_restore() -> Iterator[None]:
    """Errors of the block are raised as PreBackupFailed."""
    try:
        yield
    except Cancelled:
        raise
    except OpsError as error:
        why = error.message.rstrip(".")
        raise PreBackupFailed(
            f"The database could not be backed up before the restore: {why}. Nothing was changed.",
            "If the database is damaged, skip that backup with --no-pre-backup. The previous database is kept all the"
            " same, and undo_restore returns to it.",
        ) from error


def find_replaced(context: OpsContext, run: RunRecorder) -> tuple[PreviousDatabase | None, str]:
    """The database that `run` has replaced just now. Without an answer of the server None, and why.

    The run is done, even if the server is being stopped.
    """
    try:
        return context.engine.previous_database(), ""
    except FAULTS as error:
        return None, run.log_error("The server did not say which previous database is kept", error)


def finish_backup(context: OpsContext, run: RunRecorder, previous: PreviousDatabase) -> tuple[str, str]:
    """Make the backup of `previous` that is due. Returns its name, or '' and why that failed. Raises Cancelled.

    A run may have been killed when the backup was complete, before it recorded that.
    """
    try:
        name = find_made(context, previous)
        if not name:
            name = make_backup(context, run, origin=Origin.PRE_RESTORE, previous=previous).name
        context.engine.mark_backed_up()
    except Cancelled:
        raise
    except Exception as error:  # noqa: BLE001 - the restore is done, whatever fails
        message = run.log_error(f"The previous database {previous.name} could not be backed up", error)
        # Since the restore; that has changed much.
        return "", message.removesuffix(" Nothing was changed.")
    run.log(f"The previous database {previous.name} was backed up as {name}.")
    return name, ""


def find_made(context: OpsContext, previous: PreviousDatabase) -> str:
    """The verified pre-restore backup of `previous`, or ''."""
    for record in context.repository.records():
        manifest = record.manifest
        if manifest and manifest.origin is Origin.PRE_RESTORE and manifest.run == previous.run and record.verified:
            return record.name
    return ""


def is_resumable(context: OpsContext) -> bool:
    """Whether a worker is to start a backup run now: the run that should have made the backup was killed.

    That happens once. One that has failed is tried again by every later backup run.
    """
    if Run.objects.filter(status=Run.Status.RUNNING).exclude(kind=Run.Kind.COPY).exists():
        return False
    previous = context.engine.find_backup_due()
    if previous is None:
        return False
    since = previous.replaced_at
    restores = Run.objects.filter(kind=Run.Kind.RESTORE, finished_at__gte=since).values_list("result", flat=True)
    return not (
        Run.objects.filter(kind=Run.Kind.BACKUP, requested_at__gte=since).exists()
        or any(result.get("pre_backup_error") for result in restores)
    )
