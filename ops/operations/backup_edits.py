"""Changes to one backup: pin it, edit its note, delete it, record its download."""

from ops.backups.repository import BackupRecord
from ops.errors import PreconditionFailed
from ops.models import Run
from ops.runs import executor
from ops.runs.context import OpsContext
from ops.runs.executor import operation
from ops.runs.recorder import RunRecorder
from ops.runs.results import DeletionResult, EditResult


@operation(Run.Kind.CHANGE)
def change_backup(
    context: OpsContext, run: RunRecorder, *, name: str, pinned: bool | None = None, note: str | None = None
) -> EditResult:
    """Change a backup's manifest; None keeps the value."""
    run.set_backup(name)
    entry = context.repository.change(name, pinned=pinned, note=note)
    run.index(entry)
    manifest = entry.require_manifest()
    return EditResult(backup=name, pinned=manifest.pinned, note=manifest.note)


@operation(Run.Kind.DELETION)
def delete_backup(context: OpsContext, run: RunRecorder, *, name: str) -> DeletionResult:
    """Delete a backup permanently. Raises PreconditionFailed for the last verified one."""
    entry = context.repository.get(name)
    run.set_backup(entry.name)
    if is_last_verified(context, entry):
        raise PreconditionFailed(
            f"{entry.name} is the last verified backup. Nothing was deleted.", "Create another verified backup first."
        )
    context.repository.delete(entry.name)
    run.remove_rows([entry.name])
    return DeletionResult(backup=entry.name, size=entry.manifest.size if entry.manifest else 0)


def is_last_verified(context: OpsContext, entry: BackupRecord) -> bool:
    others = (other for other in context.repository.records() if other.name != entry.name)
    return entry.verified and not any(other.verified for other in others)


def record_download(context: OpsContext, run: Run) -> BackupRecord:
    """Record that a user downloads the backup ``name``. Raises OpsError if it cannot be recorded or read.

    A download changes nothing, so it does not need the lock of the database.
    """
    entry = context.repository.get(run.arguments["name"])
    context.repository.open(entry).close()
    run.backup = entry.name
    executor.log_instant(context, run)
    return entry
