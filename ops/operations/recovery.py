"""Recover: fill an empty database from a storage location, when the machine that made the backups is gone."""

from collections.abc import Sequence

import msgspec

from ops.backups import sources
from ops.backups.engines.base import Engine
from ops.backups.locations.bringing import bring_data, bring_history, bring_manifests, remove_unfinished
from ops.backups.locations.location import Location
from ops.backups.locations.marker import continue_installation
from ops.backups.locations.selection import FoundBackup
from ops.backups.recovery_kit import RecoveryKit
from ops.backups.restore_checks import require_restorable
from ops.backups.verify import load_and_migrate
from ops.conf import setting_name
from ops.errors import PreconditionFailed
from ops.keys import recovery_kits_from_settings
from ops.maintenance import maintenance_mode
from ops.models import Run
from ops.operations.pre_restore import FAULTS
from ops.operations.restore import go_live, prepare_history, result_of
from ops.operations.settings_copies import bring_settings
from ops.runs import event_log
from ops.runs.context import OpsContext
from ops.runs.executor import operation
from ops.runs.recorder import RunRecorder
from ops.runs.results import RestoreResult
from ops.utils import clock


def require_empty(engine: Engine) -> None:
    """Raises PreconditionFailed for a database that has tables: `restore` keeps those for an undo."""
    if not engine.is_empty():
        raise PreconditionFailed(
            f"The database {engine.where} is not empty. Only an empty database is recovered. Nothing was changed.",
            "If an earlier recovery was interrupted, it may be complete: manage.py check_database. To replace the"
            f" database by a backup: manage.py restore_database. Or set {setting_name('DATABASES')} to a new database.",
        )


@operation(writes_row=False)
def recover(
    context: OpsContext,
    run: RunRecorder,
    *,
    recovered_from: str,
    untrusted: bool = False,
    location: Location,
    found: Sequence[FoundBackup],
    candidates: Sequence[FoundBackup],
    kit: str = "",
) -> RestoreResult:
    """Fill the empty live database with the first of `candidates` that is readable, and bring the history back.

    `found` are all backups in `location`, whose manifests are brought; `kit` is the public key of the recovery kit that
    opened them. It is recorded as a restore. No worker executes it, because the keys of the location are recorded
    nowhere. After an interruption it starts again.

    Raises ArtifactInvalid, VerificationFailed or PreconditionFailed; then the database is still empty.
    """
    require_empty(context.engine)
    catalog = context.repository
    remove_unfinished(catalog)
    for sentence in bring_history(catalog, location, run.report):
        run.log(sentence)
    close_lost_runs(context, run)
    for sentence in bring_settings(catalog, location):
        run.log(sentence)
    bring_manifests(catalog, [backup for backup in found if not location.is_deleted(backup.name)], location)
    chosen, skipped = bring_data(catalog, location, candidates, run.report)
    bring_manifests(catalog, [chosen], location)
    for name, fault in skipped.items():
        run.log(f"{name} is damaged and was not used: {fault}")
    run.set_backup(chosen.name)
    source = sources.from_record(context.repository, context.repository.get(chosen.name))
    require_restorable(source, engine=context.engine, untrusted=untrusted)
    if kit:
        keep_kit(run, kit)
    continue_installation(catalog, location)
    with context.engine.swap_strategy(claims=run).scratch(for_swap=True, recorded=source.properties) as staging:
        loaded = load_and_migrate(context.engine, staging, source=source, on_progress=run.report)
        prepare_history(run, staging)
        with maintenance_mode(reason=f"The database is being recovered ({source.name})."):
            not_kept, cut_over = go_live(context, run, staging, backup=source.name, live_tables=())
    drop_empty(context, run)
    return msgspec.structs.replace(
        result_of(source, loaded),
        not_kept=not_kept,
        cut_over=round(cut_over, 3),
        recovered_from=recovered_from,
        taken_at=chosen.taken_at,
        skipped=skipped,
    )


def close_lost_runs(context: OpsContext, run: RunRecorder) -> None:
    """Record an end for the runs of the lost machine that have none: they may have ended after the last copy."""
    events = [event for event in context.repository.unended_events() if event.get("run") != run.id]
    for lost in event_log.read_runs(events).values():
        if not lost.is_finished:
            run.log(f"The {lost.get_kind_display()} of {lost.requested_at:%Y-%m-%d %H:%M} UTC has no recorded end.")
            lost.status, lost.finished_at = Run.Status.INTERRUPTED, clock.now()
            lost.error, lost.hint = "Its end was not copied to the storage location before the machine was lost.", ""
            event_log.record(context.repository, event_log.ENDED, lost)


def drop_empty(context: OpsContext, run: RunRecorder) -> None:
    """The empty database was kept as the previous one; nobody wants to return to it."""
    try:
        if previous := context.engine.previous_database():
            context.engine.strategy_of(previous).drop_previous(previous)
    except FAULTS as error:
        run.log_error("The empty database is kept as the previous one", error)


def keep_kit(run: RunRecorder, recipient: str) -> None:
    """Encrypt new backups to the recovery kit with this public key, too."""
    kits, now = recovery_kits_from_settings(), clock.now()
    if not any(kit.recipient == recipient for kit in kits.read()):
        by = run.requested_by
        kits.add(RecoveryKit(recipient=recipient, created_at=now, created_by=by, proven_at=now, proven_by=by))
