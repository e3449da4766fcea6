"""What the page of a run offers besides its status: its backups, and the undo of a restore.

All of it is in the part of the page that is polled, so that it appears when the run ends.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.db import Error as DatabaseError
from django.db import connection
from django.urls import reverse

from ops.admin.run_detail import RunPresenter
from ops.backups.engines.base import PreviousDatabase
from ops.health.database import with_health_deadline
from ops.models import Backup, Run
from ops.runs.context import get_context
from ops.runs.descriptions import describe_previous
from ops.runs.results import RestoreResult, UndoResult, VerificationResult
from ops.utils.single_flight import shared_calls

LONGEST_LIST = 20
"""Backups of a verification that are linked."""
MAKES_BACKUP = frozenset({Run.Kind.BACKUP, Run.Kind.UPLOAD})
PREVIOUS_WITHIN = 0.8
"""Seconds that a page waits for the server that has the previous database."""
NOT_BACKED_UP = (
    "It has no verified backup yet. Until it has one, it is kept, and no other restore can start. Every backup run"
    " tries to make it."
)
NO_PREVIOUS = "The previous database of this run is no longer kept, so this run cannot be undone."


@dataclass(frozen=True, kw_only=True)
class BackupLink:
    """A backup that the run made or used. Without a `url`, `note` says why, as far as that is known."""

    name: str
    url: str = ""
    note: str = ""


def outcome_context(shown: RunPresenter, *, may_undo: bool, answers: bool = True) -> dict[str, Any]:
    """The variables of ``_run_status.html`` that need more than the row of the run. Never raises for a fault.

    `answers`: whether the database did just now. A frozen one is asked nothing.
    """
    results, is_kept = shown.results, False
    if shown.replaced and shown.result is None:
        # It was killed after the swap.
        kept = find_previous()
        is_kept = isinstance(kept, PreviousDatabase) and kept.run == str(shown.id)
        if isinstance(kept, PreviousDatabase) and is_kept:
            results = [describe_previous(kept), *([NOT_BACKED_UP] if kept.backup_due else [])]
    elif shown.replaced and isinstance(shown.result, RestoreResult | UndoResult) and shown.result.previous:
        kept = find_previous()
        is_kept = isinstance(kept, PreviousDatabase) and kept.run == str(shown.id)
        if not is_kept and not isinstance(kept, BaseException):
            stale = describe_previous(shown.result.previous)
            results = [*(sentence for sentence in results if sentence != stale), NO_PREVIOUS]
    return {
        "results": results,
        "undo_url": reverse("admin:ops_backup_undo") if is_kept and may_undo else "",
        "backups": link_backups(shown, answers=answers),
    }


def find_previous() -> PreviousDatabase | BaseException | None:
    """The previous database that is kept now: that of the last restore or undo. An error if nothing answers in time."""

    def read() -> PreviousDatabase | None:
        return get_context().engine.previous_database()

    call = shared_calls.run("previous database", read)
    return call.result(within=PREVIOUS_WITHIN)


def link_backups(shown: RunPresenter, *, answers: bool) -> list[BackupLink]:
    names = list(dict.fromkeys(names_of(shown)))[:LONGEST_LIST]
    if not names or not answers:
        return [BackupLink(name=name) for name in names]
    try:
        with with_health_deadline(connection):
            keys = dict(Backup.objects.filter(name__in=names).values_list("name", "pk"))
    except DatabaseError:
        connection.close()
        return [BackupLink(name=name) for name in names]
    is_made = shown.run.status == Run.Status.SUCCEEDED or shown.run.kind not in MAKES_BACKUP
    note = "not in the list of backups any more" if shown.is_finished and is_made else ""
    return [
        BackupLink(name=name, url=reverse("admin:ops_backup_change", args=[keys[name]]))
        if name in keys
        else BackupLink(name=name, note=note)
        for name in names
        if name in keys or is_made
    ]


def names_of(shown: RunPresenter) -> Iterator[str]:
    """The names of the backups that the run made or used, the most important first."""
    if shown.run.backup:
        yield shown.run.backup
    match shown.result:
        case RestoreResult(pre_backup=name) if name:
            yield name
        case VerificationResult(verifications=verifications, unread=unread):
            yield from verifications
            yield from unread
