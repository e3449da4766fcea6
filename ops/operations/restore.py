"""Restore a backup, undo a restore, drop the previous database."""

import dataclasses
import datetime as dt
import time
from collections.abc import Collection
from pathlib import Path

from msgspec.structs import replace

from ops.backups import sources
from ops.backups.engines.base import PreviousDatabase, Scratch, require_backed_up
from ops.backups.file_content import require_backup
from ops.backups.preview import RestorePreview, preview_restore
from ops.backups.repository import MANIFEST
from ops.backups.restore_checks import require_restorable
from ops.backups.sources import RestoreSource
from ops.backups.table_policy import kept_live
from ops.backups.verify import LoadResult, load_and_migrate, migrate
from ops.databases.postgres import lock
from ops.databases.postgres.differences import NotKept
from ops.databases.postgres.lock import OutcomeUnknown
from ops.errors import PreconditionFailed
from ops.maintenance import maintenance_mode
from ops.models import Run
from ops.operations.copy_faults import recorded_faults, update_row
from ops.operations.decisions import decide_by_restore
from ops.operations.pre_restore import (
    FAULTS,
    back_up_first,
    find_replaced,
    finish_backup,
    is_made_afterwards,
    require_backup_possible,
)
from ops.operations.restore_rights import require_rights_stay
from ops.runs.context import OpsContext, repository_from_settings
from ops.runs.executor import operation
from ops.runs.recorder import RunRecorder
from ops.runs.results import UNDO, DropResult, RestoreResult, UndoResult
from ops.signals import database_restored
from ops.utils.progress import Progress, Stage


def find_source(context: OpsContext, *, name: str = "", file: str = "", location: str = "") -> RestoreSource:
    """The backup `name`, in `location` or where its nearest good copy is; or the `file` at a path.

    That has its manifest if it is next to it.
    """
    if not file:
        return sources.from_record(context.repository, context.repository.get(name), location)
    path = Path(file)
    if path.with_name(path.name + MANIFEST).is_file():
        repository = repository_from_settings(path.parent)
        return dataclasses.replace(sources.from_record(repository, repository.get(path.name)), location="", where="")
    if path.is_file():
        require_backup(path.name, lambda: path.open("rb"), outcome="Nothing was changed.")
    return sources.from_file(path)


def preview(context: OpsContext, source: RestoreSource, *, by_keys: bool = True) -> RestorePreview:
    """What a restore of `source` would change. A copy that turns out to be damaged is recorded.

    Raises what `preview_restore` raises. The error of a copy names a location that has another good one.
    """
    with recorded_faults(context, source, update_row) as watched:
        return preview_restore(engine=context.engine, source=watched, by_keys=by_keys)


@operation(Run.Kind.RESTORE)
def restore(
    context: OpsContext,
    run: RunRecorder,
    *,
    name: str = "",
    file: str = "",
    location: str = "",
    untrusted: bool = False,
    pre_backup: bool = True,
    backup_first: bool = False,
    to: str = "",
) -> RestoreResult:
    """Replace the live database by a backup, all or nothing; the previous database is kept for undo.

    It is read from `location`, or from where its nearest good copy is. With `pre_backup` the replaced database is
    backed up: after the swap where that is possible, and not `backup_first`. If that backup fails, the restore is done
    all the same, and the result says why.

    With `to` the backup is loaded into a new database of that name instead, and the live one is not touched.

    Raises ArtifactInvalid, VerificationFailed, PreconditionFailed or PreBackupFailed; then nothing was changed.
    """
    source = find_source(context, name=name, file=file, location=location)
    run.set_backup(source.name)
    if source.where:
        run.log(f"Read from {source.where}.")
    require_restorable(source, engine=context.engine, untrusted=untrusted)
    if to:
        return restore_to(context, run, source, to)
    afterwards = pre_backup and is_made_afterwards(context, backup_first=backup_first)
    with context.engine.swap_strategy(claims=run).scratch(for_swap=True, recorded=source.properties) as staging:
        if afterwards:
            require_backup_possible(context, run)
        loaded = load(context, run, staging, source)
        prepare_history(run, staging)
        blocked_at = time.monotonic()
        with maintenance_mode(reason=f"A backup is being restored ({source.name})."):
            require_rights_stay(run, staging)
            made_first = back_up_first(context, run) if pre_backup and not afterwards else ""
            live_tables = kept_live(trusted=source.trusted)
            not_kept, cut_over = go_live(
                context, run, staging, backup=source.name, live_tables=live_tables, backup_due=afterwards
            )
        writes_blocked = time.monotonic() - blocked_at
    previous, unknown = find_replaced(context, run)
    result = replace(
        result_of(source, loaded),
        not_kept=not_kept,
        pre_backup=made_first,
        pre_backup_error=unknown if afterwards else "",
        previous=previous,
        writes_blocked=round(writes_blocked, 3),
        cut_over=round(cut_over, 3),
    )
    if afterwards and previous:
        # If the run is interrupted from here on, this is what it has done.
        run.result = result
        made, error = finish_backup(context, run, previous)
        result = replace(
            result, pre_backup=made, pre_backup_error=error, previous=replace(previous, backup_due=not made)
        )
    if not file:
        decide_by_done_restore(context, run, restored=source.name)
    return result


def decide_by_done_restore(context: OpsContext, run: RunRecorder, *, restored: str) -> None:
    """As `decide_by_restore`. The disk may be full: users can decide later, too."""
    try:
        decide_by_restore(context, run, restored=restored)
    except FAULTS as error:
        run.log_error("It was not decided whether suspicious backups are wrong", error)


def restore_to(context: OpsContext, run: RunRecorder, source: RestoreSource, database: str) -> RestoreResult:
    """Load `source` into a new database, and keep that."""
    strategy = context.engine.swap_strategy(claims=run)
    with strategy.scratch(name=database, for_swap=False, recorded=source.properties) as scratch:
        loaded = load(context, run, scratch, source)
        scratch.keep()
    return replace(result_of(source, loaded), database=database)


def load(context: OpsContext, run: RunRecorder, scratch: Scratch, source: RestoreSource) -> LoadResult:
    """Load, compare and migrate. A copy that turns out to be damaged is recorded."""
    with recorded_faults(context, source, run.index) as watched:
        return load_and_migrate(context.engine, scratch, source=watched, on_progress=run.report)


def result_of(source: RestoreSource, loaded: LoadResult) -> RestoreResult:
    """The result of loading; `restore` adds the rest."""
    return RestoreResult(
        backup=source.name,
        rows=sum(loaded.rows.values()),
        tables=len(loaded.rows),
        compared=source.trusted and source.manifest is not None,
        location=source.location,
        where=source.where,
        migrations=loaded.migrations,
        left_out=loaded.left_out,
        not_kept=loaded.not_kept,
    )


def prepare_history(run: RunRecorder, staging: Scratch) -> None:
    """Write what is known of the history into the staging database, before writes are blocked."""
    with staging.as_default():
        run.prepare_history()


def go_live(
    context: OpsContext,
    run: RunRecorder,
    staging: Scratch,
    *,
    backup: str,
    live_tables: Collection[str],
    backup_due: bool = False,
) -> tuple[tuple[NotKept, ...], float]:
    """Copy `live_tables` and the rest of the history into the staging database, and swap it with the live one.

    `backup_due`: that one is still to be backed up. Returns what the staging database could not get of the live one's
    properties, and the seconds of the swap alone. Raises OpsError; then nothing was changed, or the message says that
    it is not known whether the staging database is live.
    """
    run.point_of_no_return()
    run.report(Progress(stage=Stage.HISTORY))
    for not_copied in staging.copy_live_rows(live_tables) if live_tables else ():
        run.log(not_copied)
    with staging.as_default():
        run.write_history()
        announce(run, backup)
    not_kept = staging.keep_properties()
    for left in not_kept:
        run.log(str(left))
    run.report(Progress(stage=Stage.CUT_OVER))
    run.begin_replacing(server=context.engine.replaced_server(), database=context.engine.database)
    began = time.monotonic()
    try:
        staging.swap(run=run.id, backup=backup, backup_due=backup_due)
    except OutcomeUnknown:
        with context.engine.relocked(within=lock.LONGEST_FAILOVER):
            run.require_applied()
        staging.keep()
    run.mark_applied()
    cut_over = time.monotonic() - began
    run.record_replaced()
    return not_kept, cut_over


def announce(run: RunRecorder, backup: str) -> None:
    """Let the project write into the restored database, which is "default" now."""
    description = "Undo of a restore" if backup == UNDO else f"Backup {backup}"
    answers = database_restored.send_robust(sender=None, description=description, requested_by=run.requested_by)
    for receiver, error in answers:
        if isinstance(error, Exception):
            run.log_error(f"{getattr(receiver, '__name__', receiver)} did not record the restore", error)


@operation(Run.Kind.UNDO)
def undo_restore(context: OpsContext, run: RunRecorder, *, replaced_by: str = "") -> UndoResult:
    """Make the previous database live again. The live one becomes the previous one, so an undo can be undone.

    `replaced_by` is as in `require_confirmed`. Raises PreconditionFailed or OpsError; then nothing was changed.
    """
    context.engine.require_writable()
    previous = require_confirmed(context, replaced_by)
    run.set_backup(previous.backup)
    with context.engine.strategy_of(previous, claims=run).previous_as_staging() as staging:
        migrations = migrate(staging, previous.name, on_progress=run.report)
        prepare_history(run, staging)
        blocked_at = time.monotonic()
        with maintenance_mode(reason="A restore is being undone."):
            require_rights_stay(run, staging)
            not_kept, cut_over = go_live(context, run, staging, backup=UNDO, live_tables=kept_live(trusted=True))
        writes_blocked = time.monotonic() - blocked_at
    return UndoResult(
        restored=previous,
        previous=find_replaced(context, run)[0],
        migrations=migrations,
        not_kept=not_kept,
        writes_blocked=round(writes_blocked, 3),
        cut_over=round(cut_over, 3),
    )


@operation(Run.Kind.DROP_PREVIOUS)
def drop_previous_database(
    context: OpsContext, _run: RunRecorder, *, replaced_by: str = "", without_backup: bool = False
) -> DropResult:
    """Drop the database that the last restore replaced. Raises PreconditionFailed when there is none.

    It also raises that while the pre-restore backup of that database is due, unless `without_backup`. `replaced_by` is
    as in `require_confirmed`.
    """
    context.engine.require_writable()
    previous = require_confirmed(context, replaced_by)
    if not without_backup:
        require_backed_up(previous)
    context.engine.strategy_of(previous).drop_previous(previous)
    return DropResult(dropped=previous)


def require_confirmed(context: OpsContext, replaced_by: str) -> PreviousDatabase:
    """The previous database, if it is the one that the run `replaced_by` has replaced; any without an id.

    A restore may have ended since a user has confirmed: its previous database was never shown. Raises
    PreconditionFailed.
    """
    previous = context.engine.require_previous()
    if replaced_by and previous.run != replaced_by:
        raise PreconditionFailed(
            "Another restore or undo has ended since this was requested, so another previous database is kept now."
            " Nothing was changed.",
            "Look at what is kept now, and request it again.",
        )
    return previous


def find_expired_previous(context: OpsContext) -> PreviousDatabase | None:
    """The previous database, if it was replaced more than UNDO_KEEP_DAYS ago, and its backup is not due."""
    previous = context.engine.previous_database()
    oldest = dt.datetime.now(dt.UTC) - dt.timedelta(days=context.previous_days)
    return previous if previous and previous.replaced_at < oldest and not previous.backup_due else None
