"""Prune: delete the backups outside the retention policy."""

import datetime as dt
from collections.abc import Sequence

import psycopg2

from ops.backups import retention
from ops.backups.locations.protection import protect, records_in
from ops.backups.manifest import Manifest, Origin
from ops.backups.record import LOCAL, BackupRecord
from ops.backups.retention import RetentionDecision
from ops.backups.signing import Trust
from ops.errors import OpsError
from ops.models import Run
from ops.runs import event_log
from ops.runs.context import OpsContext
from ops.runs.executor import operation
from ops.runs.recorder import RunRecorder
from ops.runs.results import PruneResult
from ops.utils import clock
from ops.utils.progress import Progress, Stage


@operation(Run.Kind.PRUNE)
def prune(context: OpsContext, run: RunRecorder) -> PruneResult:
    """Delete the backups that the retention policy does not keep; none if the last backup run failed."""
    run.report(Progress(stage=Stage.PRUNE))
    deleted, kept = apply_retention(context, run)
    return PruneResult(deleted=deleted, kept=kept)


def apply_retention(
    context: OpsContext, run: RunRecorder, *, last_run_failed: bool | None = None
) -> tuple[dict[str, str], dict[str, str]]:
    """Prune BACKUP_DIR. Returns the names of the backups that were deleted there, and of those that were kept, with
    the reason for each.
    """
    catalog = context.repository
    with catalog.states.locked():
        records = catalog.records()
        # Changes of the policy take the same lock: none is made between this decision and the deletion.
        decisions = evaluate_retention(context.with_current_policy(), records, last_run_failed=last_run_failed)
        deleted = {decision.name: decision.reason for decision in decisions if not decision.keep}
        for name in deleted:
            catalog.delete_copy(name, LOCAL)
    run.refresh_rows()
    return deleted, {decision.name: decision.reason for decision in decisions if decision.keep}


def evaluate_retention(
    context: OpsContext, records: Sequence[BackupRecord], *, last_run_failed: bool | None = None
) -> list[RetentionDecision]:
    """What `prune` would do in BACKUP_DIR with `records` now. `last_run_failed`: None looks it up."""
    return evaluate_location(context, records, LOCAL, last_run_failed=last_run_failed)


def evaluate_location(
    context: OpsContext,
    records: Sequence[BackupRecord],
    location: str,
    *,
    last_run_failed: bool | None = None,
    now: dt.datetime | None = None,
    undo_needs: frozenset[str] | None = None,
) -> list[RetentionDecision]:
    """What pruning would do in `location` at `now`. `records` are all backups.

    `undo_needs`: None asks the server, as `pinned_by_undo`.
    """
    if last_run_failed is None:
        last_run_failed = last_backup_failed(context)
    now = now or clock.now()
    if undo_needs is None:
        undo_needs = pinned_by_undo(context, records)
    decisions = evaluate(
        context,
        records_in(records, location),
        location,
        last_run_failed=last_run_failed,
        now=now,
        undo_needs=undo_needs,
        # It may not have been copied yet.
        suspicious=retention.first_undecided(ours(context, records), now=now),
    )
    others = [other for other in (LOCAL, *context.repository.others) if other != location]
    wanted = {other: wanted_in(context, records, other, now=now, undo_needs=undo_needs) for other in others}
    return protect(decisions, location=location, records=records, wanted=wanted, now=now)


def wanted_in(
    context: OpsContext,
    records: Sequence[BackupRecord],
    location: str,
    *,
    now: dt.datetime,
    undo_needs: frozenset[str],
) -> frozenset[str]:
    """The names of the backups that the policy of `location` would keep if it had all of them."""
    decisions = evaluate(context, records, location, last_run_failed=False, now=now, undo_needs=undo_needs)
    return frozenset(decision.name for decision in decisions if decision.keep)


def ours(context: OpsContext, records: Sequence[BackupRecord]) -> list[Manifest]:
    """The manifests of this database that are signed here."""
    signed = (record.manifest for record in records if record.trust is Trust.SIGNED)
    here = (context.engine.kind, context.engine.database)
    return [manifest for manifest in signed if manifest and (manifest.engine, manifest.database) == here]


def evaluate(
    context: OpsContext,
    records: Sequence[BackupRecord],
    location: str,
    *,
    last_run_failed: bool,
    now: dt.datetime,
    undo_needs: frozenset[str],
    suspicious: Manifest | None = None,
) -> list[RetentionDecision]:
    policy = context.policy if location == LOCAL else context.repository.others[location].policy
    return retention.evaluate(
        records,
        now=now,
        policy=policy,
        engine=context.engine.kind,
        database=context.engine.database,
        undo_needs=undo_needs,
        last_run_failed=last_run_failed,
        suspicious=suspicious,
    )


def pinned_by_undo(context: OpsContext, records: Sequence[BackupRecord]) -> frozenset[str]:
    """The pre-restore backups of the restore whose previous database is still kept.

    All of them while the server does not answer: then it is not known which, and copying must not wait for it.
    """
    found = [record for record in records if record.manifest and record.manifest.origin is Origin.PRE_RESTORE]
    if not found:
        return frozenset()
    try:
        previous = context.engine.previous_database()
    except (OpsError, OSError, psycopg2.Error):
        return frozenset(record.name for record in found)
    runs = {previous.run} if previous else set()
    return frozenset(record.name for record in found if record.manifest and record.manifest.run in runs)


def last_backup_failed(context: OpsContext) -> bool:
    """Whether the backup run that ended last did not succeed."""
    last = event_log.last_ended(context.repository, Run.Kind.BACKUP)
    return last is not None and last.status != Run.Status.SUCCEEDED
