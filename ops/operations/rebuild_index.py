"""Rebuild the index: the rows of backups and runs, from the files in the storage."""

from dataclasses import dataclass

from ops.models import Backup, Run
from ops.runs import executor, index
from ops.runs.context import OpsContext


@dataclass(frozen=True, kw_only=True)
class RebuildResult:
    """The numbers of rows, and what was cleaned up after killed runs."""

    recovered: tuple[str, ...]
    backups: int
    runs: int


def rebuild_index(context: OpsContext) -> RebuildResult:
    """Clean up after killed runs, unless a run is running, and rebuild both tables.

    This is not a run itself: it repairs the record of runs, also while one is running, and at the start of each worker.
    """
    recovered = executor.reconcile(context)
    index.rebuild_index(context.repository)
    return RebuildResult(recovered=recovered, backups=Backup.objects.count(), runs=Run.objects.count())
