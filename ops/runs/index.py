"""The rows of runs and backups, rebuilt from the events and manifests in the storage."""

import datetime as dt
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import TypeVar
from uuid import UUID

from django.apps import apps
from django.db import transaction
from django.utils import timezone

from ops.backups.manifest import Manifest
from ops.backups.repository import BackupRecord, BackupRepository
from ops.backups.signing import Trust
from ops.models import Backup, Run
from ops.runs.event_log import EVENT_FIELDS, read_runs

MANIFEST_FIELDS = tuple(
    field.attname
    for field in Backup._meta.concrete_fields
    if field.attname not in {"id", "retained_until", "retention_reason"}
)
QUEUED_BEFORE = "Queued before a restore, which has replaced the database that it was meant for."
BATCH = 500
"""Rows in a statement."""
Row = TypeVar("Row", Run, Backup)


def rebuild_index(repository: BackupRepository, *, restored: bool = False) -> None:
    """Make the rows of "default" say what the repository says: backups, and every run with how it ended.

    Rows change together or not at all, and only where they differ. What is under way is left to whoever is at work on
    it, unless the database is `restored`: then its rows tell of another moment, what is queued in them is cancelled,
    its sessions are ended, since they may be of people who have signed out or were locked out, and its schedules go on
    from now.

    Raises Django's database errors.
    """
    # Looked up before the files are read: rows that appear meanwhile are newer than what was read.
    known = set(Backup.objects.values_list("pk", flat=True))
    running = set(Run.objects.filter(status=Run.Status.RUNNING).values_list("pk", flat=True))
    runs, entries = read_runs(repository.events()), list(repository.records())
    with transaction.atomic():
        _write_backups(entries, known)
        _write_runs(runs)
        _close(running - set(runs), Run.Status.INTERRUPTED, "Its start is not recorded next to the backups.")
        if restored:
            queued = Run.objects.filter(status=Run.Status.QUEUED).values_list("pk", flat=True)
            _close(set(queued), Run.Status.CANCELLED, QUEUED_BEFORE)
            _end_sessions()
            _skip_missed_schedules()


def index_backups(entries: Iterable[BackupRecord], kept: Mapping[str, tuple[dt.datetime | None, str]]) -> None:
    """Make the rows of backups say what `entries` say, which are all. `kept`: until when, and why, by name."""
    with transaction.atomic():
        _write_backups(entries, set(Backup.objects.values_list("pk", flat=True)))
        changed = []
        for backup in Backup.objects.only("name", "retained_until", "retention_reason"):
            until, because = kept.get(backup.name, (None, ""))
            if (backup.retained_until, backup.retention_reason) != (until, because):
                backup.retained_until, backup.retention_reason = until, because
                changed.append(backup)
        Backup.objects.bulk_update(changed, ["retained_until", "retention_reason"], batch_size=BATCH)


def write_backup(entry: BackupRecord) -> None:
    """Write the row of a backup that is new or has changed. What has no readable manifest has no row."""
    if entry.manifest is None:
        return
    backup = _backup_of(entry.manifest, entry)
    with transaction.atomic():
        Backup.objects.filter(name=backup.name).exclude(pk=backup.pk).delete()
        _upsert(Backup, [backup], MANIFEST_FIELDS)


def remove_backups(names: Collection[str]) -> None:
    Backup.objects.filter(name__in=names).delete()


def write_run(run: Run) -> None:
    """Write its row, but for what is not the run's own to say (see IN_EVENTS)."""
    _upsert(Run, [run], EVENT_FIELDS)


def _write_backups(entries: Iterable[BackupRecord], known: set[UUID]) -> None:
    wanted = {}
    for entry in entries:
        if not entry.manifest:
            continue
        key = UUID(entry.manifest.id)
        # A file that nobody signed does not hide the backup whose number it gives as its own.
        if key not in wanted or entry.trust == Trust.SIGNED:
            wanted[key] = _backup_of(entry.manifest, entry)
    there = {backup.pk: backup for backup in Backup.objects.all()}
    # A name that has moved from one backup to another would be in the way.
    moved = {key for key, backup in wanted.items() if key in there and there[key].name != backup.name}
    for keys in _batches([*((known & there.keys()) - wanted.keys()), *moved]):
        Backup.objects.filter(pk__in=keys).delete()
    changed = [backup for key, backup in wanted.items() if key not in there or _differs(backup, there[key])]
    _upsert(Backup, changed, MANIFEST_FIELDS)


def _differs(backup: Backup, other: Backup) -> bool:
    return any(getattr(backup, name) != getattr(other, name) for name in MANIFEST_FIELDS)


def _write_runs(runs: Mapping[UUID, Run]) -> None:
    there = {key: end for key, *end in Run.objects.values_list("pk", "status", "finished_at")}
    over = [run for key, run in runs.items() if run.is_finished and there.get(key) != [run.status, run.finished_at]]
    _upsert(Run, over, EVENT_FIELDS)
    under_way = [run for key, run in runs.items() if run.status == Run.Status.RUNNING and key not in there]
    Run.objects.bulk_create(under_way, batch_size=BATCH, ignore_conflicts=True)


def _upsert(model: type[Row], rows: Sequence[Row], names: Sequence[str]) -> None:
    model.objects.bulk_create(rows, batch_size=BATCH, update_conflicts=True, unique_fields=["id"], update_fields=names)


def _close(keys: set[UUID], status: Run.Status, error: str) -> None:
    for batch in _batches(list(keys)):
        Run.objects.filter(pk__in=batch).update(status=status, error=error, finished_at=timezone.now())


def _batches(keys: Sequence[UUID]) -> Iterator[Sequence[UUID]]:
    """SQLite limits the number of parameters in a statement."""
    return (keys[start : start + BATCH] for start in range(0, len(keys), BATCH))


def _end_sessions() -> None:
    if apps.is_installed("django.contrib.sessions"):
        Session = apps.get_model("sessions", "Session")
        Session.objects.all().delete()


def _skip_missed_schedules() -> None:
    """Schedules count from their last start. In a restored database that is long ago, and all would start at once."""
    if apps.is_installed("django_celery_beat"):
        PeriodicTask = apps.get_model("django_celery_beat", "PeriodicTask")
        PeriodicTask.objects.filter(last_run_at__isnull=False).update(last_run_at=timezone.now())


def _backup_of(manifest: Manifest, entry: BackupRecord) -> Backup:
    proof = manifest.verification
    return Backup(
        id=UUID(manifest.id),
        name=manifest.name,
        kind=str(manifest.kind),
        origin=str(manifest.origin),
        engine=manifest.engine,
        database=manifest.database,
        created_by=manifest.created_by,
        taken_at=manifest.taken_at,
        size=manifest.size,
        uncompressed_size=manifest.uncompressed_size,
        rows=manifest.rows,
        duration=manifest.duration,
        note=manifest.note,
        pinned=manifest.pinned,
        verified_level=str(proof.level) if proof else "",
        verified_at=proof.verified_at if proof else None,
        verification_seconds=proof.duration if proof else None,
        verification_error=proof.error if proof else "",
        trust=str(entry.trust),
        file_missing=entry.file_missing,
        run=manifest.run,
        manifest=manifest.as_json(),
    )
