"""Rebuild the index: the rows of backups and runs, from what is in the storage."""

from dataclasses import dataclass

from ops.models import Backup, Run
from ops.runs import executor, index
from ops.runs.context import OpsContext


@dataclass(frozen=True, kw_only=True)
class SyncResult:
    """How many rows there are now, and what killed runs had left."""

    recovered: tuple[str, ...]
    backups: int
    runs: int


def rebuild_index(context: OpsContext) -> SyncResult:
    """Clean up after killed runs, unless one is running, and rebuild both tables. Changes nothing else."""
    recovered = executor.reconcile(context)
    index.rebuild_index(context.repository)
    return SyncResult(recovered=recovered, backups=Backup.objects.count(), runs=Run.objects.count())
