"""The lists of backups and runs in the database, written anew from what is in the storage."""

from dataclasses import dataclass

from ops.models import Backup, Run
from ops.operations.context import OpsContext
from ops.runs import event_log, executor


@dataclass(frozen=True, kw_only=True)
class Synced:
    """How many rows there are now, and what killed runs had left."""

    found: tuple[str, ...]
    backups: int
    runs: int


def sync(site: OpsContext) -> Synced:
    """Look for killed runs, unless one is running, and write both lists. Changes nothing in the storage but that."""
    found = executor.reconcile(engine=site.engine, catalogue=site.catalogue)
    event_log.rebuild_index(site.catalogue)
    return Synced(found=found, backups=Backup.objects.count(), runs=Run.objects.count())
