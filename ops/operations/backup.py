"""Back up: write a backup, verify it by reading it back, then prune."""

import datetime as dt
from collections.abc import Iterable

from ops.backups.create import BackupSpec, create_backup
from ops.backups.locations.state import StatesLocked
from ops.backups.losses import Baseline, baseline_of
from ops.backups.manifest import Kind, Manifest, Origin
from ops.backups.record import BackupRecord
from ops.backups.table_policy import HISTORY, LOCKOUTS, SESSIONS, app_labels, exclusions
from ops.models import Run
from ops.operations.prune import apply_retention
from ops.runs import event_log
from ops.runs.context import OpsContext
from ops.runs.executor import operation
from ops.runs.recorder import RunRecorder
from ops.runs.results import BackupResult
from ops.utils.progress import Progress, Stage


@operation(Run.Kind.BACKUP)
def back_up(
    context: OpsContext, run: RunRecorder, *, file_kind: str = "", note: str = "", pinned: bool = False
) -> BackupResult:
    """Make a verified backup, then delete those outside the retention policy. `file_kind`: a `Kind`, or ''."""
    origin = Origin.SCHEDULED if run.origin == Run.Origin.SCHEDULE else Origin.MANUAL
    manifest = make_backup(context, run, origin=origin, file_kind=file_kind, note=note, pinned=pinned)
    run.report(Progress(stage=Stage.PRUNE))
    deleted: dict[str, str] = {}
    try:
        deleted, _kept = apply_retention(context, run, last_run_failed=False)
    except StatesLocked as error:
        # The backup is good. The next run prunes, or fails for this reason.
        run.log(f"No backup was pruned. {error.message}")
    run.set_backup(manifest.name)
    return BackupResult(
        backup=manifest.name,
        rows=manifest.rows,
        tables=len(manifest.tables),
        size=manifest.size,
        uncompressed_size=manifest.uncompressed_size,
        duration=manifest.duration,
        suspicion=manifest.suspicion,
        deleted=deleted,
    )


def make_backup(
    context: OpsContext, run: RunRecorder, *, origin: Origin, file_kind: str = "", note: str = "", pinned: bool = False
) -> Manifest:
    """Make one backup within a run. Raises what `create_backup` raises, which leaves nothing behind."""
    reason, _ = context.engine.explain_read_only()
    if reason:
        run.log(f"The database cannot be written: {reason}. The backup is recorded next to the backups only.")
    kind = Kind(file_kind or context.kind())
    now = dt.datetime.now(dt.UTC)
    name = context.repository.next_name(kind, now)
    run.reserve_file(name)
    spec = BackupSpec(
        kind=kind,
        origin=origin,
        created_by=run.requested_by,
        run=run.id,
        app_version=context.app_version,
        note=note,
        pinned=pinned,
        excluded=exclusions(),
        baseline=find_baseline(context, context.repository.records(), until=now),
    )
    manifest = create_backup(
        engine=context.engine, repository=context.repository, spec=spec, name=name, on_progress=run.report
    )
    if manifest.suspicion:
        run.log(f"{name} is suspicious. {' '.join(manifest.suspicion.describe())}")
    run.index(context.repository.get(name))
    return manifest


def find_baseline(context: OpsContext, records: Iterable[BackupRecord], *, until: dt.datetime) -> Baseline:
    """What a backup that is made at the time `until` is compared with."""
    engine, repository = context.engine, context.repository
    good = baseline_of(records, engine=engine.kind, database=engine.database, until=until)
    replaced = bool(good) and event_log.was_replaced(
        repository, database=engine.database, since=good[0].taken_at, until=until
    )
    # Rows of the operation of the site come and go.
    ignored = HISTORY | LOCKOUTS | SESSIONS
    return Baseline(manifests=good, ignored=ignored, apps=app_labels(), replaced=replaced)
