"""Until when backups are kept, and why, as the dry run of pruning says it at this moment."""

from functools import cached_property

from django.db.models import Sum

from ops import operations
from ops.backups.retention import RetentionDecision
from ops.errors import OpsError
from ops.models import Backup
from ops.runs.context import get_context
from ops.utils.formatting import strip_kept

UNKNOWN = "unknown: BACKUP_DIR cannot be read"
NOWHERE = "although no storage location has its file"
"""No pruning deletes what is left of it."""


def stored_sizes() -> tuple[int, int]:
    """The bytes of all backups, and of the newest good one; 0 where there is none."""
    used = Backup.objects.aggregate(bytes=Sum("size"))["bytes"]
    newest = Backup.objects.good().order_by("-taken_at").values_list("size", flat=True).first()
    return used or 0, newest or 0


class Retention:
    """The decisions of the retention policy. They are evaluated when the first is asked for, once for a page."""

    @cached_property
    def decisions(self) -> dict[str, RetentionDecision] | None:
        """By name; None if the history of runs, on which they depend, cannot be read."""
        try:
            return operations.evaluate_index(get_context())
        except (OpsError, OSError):
            return None

    def describe(self, name: str) -> str:
        """``until 2026-11-30: less than 7 days old``, a phrase that follows "kept"."""
        if self.decisions is None:
            return UNKNOWN
        decision = self.decisions.get(name)
        if decision is None:
            return NOWHERE
        return strip_kept(decision.reason) if decision.keep else f"until the next pruning: {decision.reason}"
