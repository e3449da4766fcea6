"""Back up: make the pre-restore backup that is due, if any, then one of the live database, and prune."""

from ops.backups.locations.state import StatesLocked
from ops.backups.manifest import Origin
from ops.errors import OpsError
from ops.models import Run
from ops.operations.decisions import decide_by_restore
from ops.operations.new_backup import make_backup
from ops.operations.pre_restore import FAULTS, MAKE_IT, finish_backup
from ops.operations.prune import apply_retention
from ops.runs.context import OpsContext
from ops.runs.executor import operation
from ops.runs.recorder import RunRecorder, explanation
from ops.runs.results import BackupResult
from ops.utils.progress import Progress, Stage


@operation(Run.Kind.BACKUP)
def back_up(
    context: OpsContext, run: RunRecorder, *, file_kind: str = "", note: str = "", pinned: bool = False
) -> BackupResult:
    """Make a verified backup, then delete those outside the retention policy. `file_kind`: a `Kind`, or ''.

    A pre-restore backup that is still due is made first. If that fails, so does the run, after it has made its own.
    """
    pre_restore, pre_restore_error = back_up_previous(context, run)
    origin = Origin.SCHEDULED if run.origin == Run.Origin.SCHEDULE else Origin.MANUAL
    manifest = make_backup(context, run, origin=origin, file_kind=file_kind, note=note, pinned=pinned)
    run.report(Progress(stage=Stage.PRUNE))
    deleted: dict[str, str] = {}
    try:
        deleted, _kept = apply_retention(context, run, last_run_failed=False)
    except StatesLocked as error:
        # The backup is good. The next run prunes, or fails for this reason.
        run.log(f"No backup was pruned. {error.message}")
    run.set_backup(manifest.name)
    return BackupResult(
        backup=manifest.name,
        rows=manifest.rows,
        tables=len(manifest.tables),
        size=manifest.size,
        uncompressed_size=manifest.uncompressed_size,
        duration=manifest.duration,
        suspicion=manifest.suspicion,
        pre_restore=pre_restore,
        pre_restore_error=pre_restore_error,
        deleted=deleted,
    )


def back_up_previous(context: OpsContext, run: RunRecorder) -> tuple[str, str]:
    """Make the pre-restore backup that is due, if any, after the run that should have made it failed or was killed.

    As `finish_backup`. A database that cannot be written cannot record that it was made.
    """
    try:
        previous = None if context.engine.explain_read_only()[0] else context.engine.find_backup_due()
    except FAULTS as fault:
        message, _ = explanation(fault)
        run.fail(OpsError(f"It is unknown whether a pre-restore backup is due: {message}"))
        return "", message
    if previous is None:
        return "", ""
    name, error = finish_backup(context, run, previous)
    if name:
        decide_by_restore(context, run, restored=previous.backup, until=previous.replaced_at)
    else:
        run.fail(OpsError(f"The pre-restore backup of {previous.name} failed: {error}", MAKE_IT))
    return name, error
