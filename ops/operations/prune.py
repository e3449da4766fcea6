"""Prune: delete the backups outside the retention policy."""

import datetime as dt
from collections.abc import Sequence

from ops.backups import retention
from ops.backups.manifest import Origin
from ops.backups.repository import BackupRecord
from ops.backups.retention import RetentionDecision
from ops.models import Run
from ops.runs import event_log
from ops.runs.context import OpsContext
from ops.runs.executor import operation
from ops.runs.recorder import RunRecorder
from ops.runs.results import PruneResult
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
    """Returns the names of the backups that were deleted, and of those that were kept, with the reason for each."""
    records = context.repository.records()
    decisions = evaluate_retention(context, records, last_run_failed=last_run_failed)
    deleted = {decision.name: decision.reason for decision in decisions if not decision.keep}
    for name in deleted:
        context.repository.delete(name)
    retained = {decision.name: (decision.until, decision.reason) for decision in decisions if decision.keep}
    run.index_all([record for record in records if record.name in retained], retained)
    return deleted, {name: reason for name, (_until, reason) in retained.items()}


def evaluate_retention(
    context: OpsContext, records: Sequence[BackupRecord], *, last_run_failed: bool | None = None
) -> list[RetentionDecision]:
    """What `prune` would do with `records` now. `last_run_failed`: None looks it up."""
    if last_run_failed is None:
        last_run_failed = last_backup_failed(context)
    return retention.evaluate(
        records,
        now=dt.datetime.now(dt.UTC),
        policy=context.policy,
        engine=context.engine.kind,
        database=context.engine.database,
        undo_needs=pinned_by_undo(context, records),
        last_run_failed=last_run_failed,
    )


def pinned_by_undo(context: OpsContext, records: Sequence[BackupRecord]) -> frozenset[str]:
    """The pre-restore backups of the restore whose previous database is still kept."""
    previous = context.engine.swap_strategy().previous_database()
    return frozenset(
        record.name
        for record in records
        if previous
        and record.manifest
        and record.manifest.origin is Origin.PRE_RESTORE
        and record.manifest.run == previous.run
    )


def last_backup_failed(context: OpsContext) -> bool:
    """Whether the backup run that ended last did not succeed."""
    last = event_log.last_ended(context.repository, Run.Kind.BACKUP)
    return last is not None and last.status != Run.Status.SUCCEEDED
