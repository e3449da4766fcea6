"""Changes to one backup: pin it, edit its note, delete it."""

from collections.abc import Sequence

from ops.backups.record import BackupRecord
from ops.errors import PreconditionFailed
from ops.models import Run
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
    record = context.repository.change(name, pinned=pinned, note=note)
    run.index(record)
    manifest = record.require_manifest()
    return EditResult(backup=name, pinned=manifest.pinned, note=manifest.note)


@operation(Run.Kind.DELETION)
def delete_backup(context: OpsContext, run: RunRecorder, *, name: str) -> DeletionResult:
    """Delete a backup permanently. Raises PreconditionFailed for the last verified one, and the last good one."""
    catalog = context.repository
    run.set_backup(catalog.get(name).name)
    with catalog.states.locked():
        record = catalog.get(name)
        require_others(record, [other for other in catalog.records() if other.name != record.name])
        catalog.delete_decided(record.name)
    run.remove_rows([record.name])
    return DeletionResult(backup=record.name, size=record.manifest.size if record.manifest else 0)


def require_others(record: BackupRecord, others: Sequence[BackupRecord]) -> None:
    """Raises PreconditionFailed if `record` must stay. Others count whose copies are within reach."""
    within_reach = [other for other in others if other.reachable]
    if record.verified and not any(other.verified for other in within_reach):
        silent = any(other.verified for other in others)
        raise PreconditionFailed(
            f"{record.name} is the last verified backup{' within reach' if silent else ''}. Nothing was deleted.",
            "Create another verified backup first.",
        )
    if record.good and not any(other.good for other in within_reach):
        raise PreconditionFailed(
            f"{record.name} is the last backup that is not suspicious. Nothing was deleted.",
            "Decide on those after it first: manage.py decide_backup",
        )
