"""What the retention policy would delete if other numbers were set: the functions that prune, with another policy."""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import psycopg2

from ops import stored_settings
from ops.backups.engines.base import PreviousDatabase
from ops.backups.manifest import Manifest
from ops.backups.record import LOCAL, BackupRecord
from ops.backups.retention import Policy
from ops.errors import PreconditionFailed
from ops.operations.prune import evaluate_location, pinned_by_undo
from ops.operations.settings import with_numbers
from ops.runs import index
from ops.runs.context import OpsContext
from ops.utils import clock


@dataclass(frozen=True, kw_only=True)
class LostBackups:
    """The backups in a storage location that the change lets the next pruning delete, the newest first."""

    location: str
    manifests: Sequence[Manifest]

    @property
    def size(self) -> int:
        return sum(manifest.size for manifest in self.manifests)


@dataclass(frozen=True, kw_only=True)
class RetentionPreview:
    """What a change of numbers would let the next pruning delete, and would not be deleted without it."""

    policy: Policy
    """That of BACKUP_DIR after the change."""
    lost: Sequence[LostBackups]
    previous: PreviousDatabase | None = None
    """The previous database, if it would be dropped."""

    @property
    def keeps_all(self) -> bool:
        return not self.lost and self.previous is None


def preview_numbers(context: OpsContext, numbers: Mapping[str, int | None]) -> RetentionPreview:
    """As `change_numbers` would set them. Evaluates the rows of backups, as the list of backups does.

    Raises OpsError, OSError and Django's database errors.
    """
    after = with_numbers(stored_settings.read_or_default(), numbers)
    policy = stored_settings.policy_of(after)
    days = int(stored_settings.number("UNDO_KEEP_DAYS", after).value)
    records = index.read_records()
    then, undo_needs = context.with_policy(policy), pinned_by_undo(context, records)
    return RetentionPreview(
        policy=policy,
        lost=tuple(
            filter(None, (find_lost(context, then, records, name, undo_needs) for name in locations_of(context)))
        ),
        previous=find_dropped(context, days),
    )


def locations_of(context: OpsContext) -> tuple[str, ...]:
    return (LOCAL, *context.repository.others)


def find_lost(
    now: OpsContext, then: OpsContext, records: Sequence[BackupRecord], location: str, undo_needs: frozenset[str]
) -> LostBackups | None:
    """None if the change deletes nothing in `location`."""
    # A backup that failed only delays the pruning until the next one.
    before, after = (
        {
            decision.name
            for decision in evaluate_location(context, records, location, last_run_failed=False, undo_needs=undo_needs)
            if not decision.keep
        }
        for context in (now, then)
    )
    manifests = [record.manifest for record in records if record.manifest and record.name in after - before]
    manifests.sort(key=lambda manifest: manifest.taken_at, reverse=True)
    return LostBackups(location=location, manifests=manifests) if manifests else None


def find_dropped(context: OpsContext, days: int) -> PreviousDatabase | None:
    """The previous database, if it expires with `days` and not without them. Raises PreconditionFailed, OpsError."""
    if days >= context.previous_days:
        return None
    try:
        previous = context.engine.previous_database()
    except psycopg2.Error as error:
        raise PreconditionFailed(
            "The server does not say whether it keeps a previous database. Nothing was changed.", "Try again later."
        ) from error
    age = clock.now() - previous.replaced_at if previous else dt.timedelta()
    return previous if dt.timedelta(days=days) < age <= dt.timedelta(days=context.previous_days) else None
