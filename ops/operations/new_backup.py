"""Make one backup within a run: of the live database, or of the previous one."""

import datetime as dt
from collections.abc import Iterable

from ops.backups.create import BackupSpec, create_backup
from ops.backups.engines.base import PreviousDatabase
from ops.backups.losses import Baseline, baseline_of
from ops.backups.manifest import Kind, Manifest, Origin
from ops.backups.record import BackupRecord
from ops.backups.table_policy import HISTORY, LOCKOUTS, SESSIONS, app_labels, exclusions
from ops.runs import event_log
from ops.runs.context import OpsContext
from ops.runs.recorder import RunRecorder


def make_backup(
    context: OpsContext,
    run: RunRecorder,
    *,
    origin: Origin,
    previous: PreviousDatabase | None = None,
    file_kind: str = "",
    note: str = "",
    pinned: bool = False,
) -> Manifest:
    """Back up the live database, or the `previous` one for the restore that has replaced it.

    Raises what `create_backup` raises, which leaves nothing behind.
    """
    reason, _ = context.engine.explain_read_only()
    if reason:
        run.log(f"The database cannot be written: {reason}. The backup is recorded next to the backups only.")
    kind = Kind(file_kind or context.kind())
    engine = context.engine.for_previous(previous) if previous else context.engine
    taken_at = previous.replaced_at if previous else dt.datetime.now(dt.UTC)
    name = context.repository.next_name(kind, taken_at)
    run.reserve_file(name)
    spec = BackupSpec(
        kind=kind,
        origin=origin,
        created_by=run.requested_by,
        # The retention policy keeps the backups of the restore whose previous database is kept.
        run=previous.run if previous else run.id,
        app_version=context.app_version,
        note=note,
        pinned=pinned,
        excluded=exclusions(),
        baseline=find_baseline(context, context.repository.records(), until=taken_at),
    )
    manifest = create_backup(engine=engine, repository=context.repository, spec=spec, name=name, on_progress=run.report)
    if manifest.suspicion:
        run.log(f"{name} is suspicious. {' '.join(manifest.suspicion.describe())}")
    run.index(context.repository.get(name))
    return manifest


def find_baseline(context: OpsContext, records: Iterable[BackupRecord], *, until: dt.datetime) -> Baseline:
    """What a backup of the database as it was at the time `until` is compared with."""
    engine, repository = context.engine, context.repository
    good = baseline_of(records, engine=engine.kind, database=engine.database, until=until)
    replaced = bool(good) and event_log.was_replaced(
        repository, database=engine.database, since=good[0].taken_at, until=until
    )
    # Rows of the operation of the site come and go.
    ignored = HISTORY | LOCKOUTS | SESSIONS
    return Baseline(manifests=good, ignored=ignored, apps=app_labels(), replaced=replaced)
