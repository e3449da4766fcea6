"""The database that the last restore replaced, as long as it is kept."""

import datetime as dt
from dataclasses import dataclass
from uuid import UUID

from ops import operations
from ops.backups.engines.base import Undo
from ops.errors import OpsError
from ops.models import Run
from ops.utils.formatting import format_size


@dataclass(frozen=True, kw_only=True)
class Kept:
    """`run` is the restore (or undo) that replaced it, where its row is known; `until` when it is let go by itself."""

    undo: Undo
    run: Run | None
    until: dt.datetime

    @property
    def size(self) -> str:
        return format_size(self.undo.size)


def kept_database() -> Kept | None:
    """None where there is none, or the server does not say."""
    try:
        site = operations.get_context()
        undo = site.engine.undo_copy()
    except OpsError:
        return None
    if undo is None:
        return None
    return Kept(undo=undo, run=run_of(undo), until=undo.when + dt.timedelta(days=site.undo_days))


def run_of(undo: Undo) -> Run | None:
    try:
        key = UUID(undo.run)
    except ValueError:
        return None
    return Run.objects.filter(pk=key).only("who", "kind").first()
