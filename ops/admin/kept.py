"""Until when backups are kept, and why, as the dry run of pruning says it at this moment."""

from collections.abc import Callable, Iterable

from django.db.models import Sum

from ops import operations
from ops.backups.retention import RetentionDecision
from ops.errors import OpsError
from ops.models import Backup
from ops.runs.context import OpsContext
from ops.utils.formatting import strip_kept

UNKNOWN = "unknown: BACKUP_DIR cannot be read"
NOWHERE = "although no storage location has its file"
"""No pruning deletes what is left of it."""


def stored_sizes() -> tuple[int, int]:
    """The bytes of all backups, and of the newest good one; 0 where there is none."""
    used = Backup.objects.aggregate(bytes=Sum("size"))["bytes"]
    newest = Backup.objects.good().order_by("-taken_at").values_list("size", flat=True).first()
    return used or 0, newest or 0


def describe_kept(names: Iterable[str], read_context: Callable[[], OpsContext]) -> dict[str, str]:
    """By the names of backups: ``until 2026-11-30: less than 7 days old``, a phrase that follows "kept"."""
    names = set(names)
    try:
        decisions = operations.evaluate_index(read_context(), names)
    except (OpsError, OSError):
        # The history of runs, on which they depend, cannot be read.
        return dict.fromkeys(names, UNKNOWN)
    return {name: describe(decisions.get(name)) for name in names}


def describe(decision: RetentionDecision | None) -> str:
    if decision is None:
        return NOWHERE
    return strip_kept(decision.reason) if decision.keep else f"until the next pruning: {decision.reason}"
