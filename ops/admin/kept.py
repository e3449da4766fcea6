"""The database that the last restore replaced, as long as it is kept."""

import datetime as dt
from dataclasses import dataclass
from uuid import UUID

from ops.backups.engines.base import PreviousDatabase
from ops.errors import OpsError
from ops.models import Run
from ops.runs.context import get_context
from ops.utils.formatting import format_size


@dataclass(frozen=True, kw_only=True)
class PreviousOnPage:
    """`run` is the restore (or undo) that replaced it, where its row is known; `until` when it is let go by itself."""

    database: PreviousDatabase
    run: Run | None
    until: dt.datetime

    @property
    def size(self) -> str:
        return format_size(self.database.size)


def previous_on_page() -> PreviousOnPage | None:
    """None where there is none, or the server does not say."""
    try:
        site = get_context()
        undo = site.engine.previous_database()
    except OpsError:
        return None
    if undo is None:
        return None
    return PreviousOnPage(
        database=undo, run=run_of(undo), until=undo.replaced_at + dt.timedelta(days=site.previous_days)
    )


def run_of(undo: PreviousDatabase) -> Run | None:
    try:
        key = UUID(undo.run)
    except ValueError:
        return None
    return Run.objects.filter(pk=key).only("requested_by", "kind").first()
