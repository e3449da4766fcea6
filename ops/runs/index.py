"""The rows of runs and backups, rebuilt from the events and manifests in the storage."""

import datetime as dt
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar
from uuid import UUID

from django.apps import apps
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from ops.backups.locations.catalog import BackupCatalog
from ops.backups.locations.coverage import copies_of, read_copies
from ops.backups.manifest import Kind, Level, Manifest, Origin, Verification
from ops.backups.record import LOCAL, MISSING, BackupRecord, Copy
from ops.backups.signing import Trust
from ops.backups.suspicion import Decision, Suspicion, Verdict
from ops.models import Backup, Run
from ops.runs.event_log import EVENT_FIELDS, read_runs
from ops.runs.schedule_rows import apply_schedules
from ops.utils import clock
from ops.utils.schema import to_json

MANIFEST_FIELDS = tuple(field.attname for field in Backup._meta.concrete_fields if field.attname != "id")
QUEUED_BEFORE = "Queued before a restore, which has replaced the database of the run."
EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
BATCH = 500
"""Rows in a statement."""
Row = TypeVar("Row", Run, Backup)


def rebuild_index(repository: BackupCatalog, *, restored: bool = False) -> None:
    """Rebuild the rows of backups and runs in "default" from the repository, in one transaction.

    Rows of running runs are left to those runs. In a `restored` database, which is that of an earlier moment, queued
    runs are cancelled, sessions are ended (their users may have signed out since), and schedules count from now. All
    schedules get the times that are stored next to the backups.

    Raises Django's database errors.
    """
    # Read before the files: rows that are added meanwhile are newer than the files.
    known = set(Backup.objects.values_list("pk", flat=True))
    running = set(Run.objects.filter(status=Run.Status.RUNNING).values_list("pk", flat=True))
    runs, records = read_runs(repository.events()), list(repository.records())
    with transaction.atomic():
        _write_backups(records, known)
        _write_runs(runs)
        _close(running - set(runs), Run.Status.INTERRUPTED, "The start of the run is not recorded next to the backups.")
        if restored:
            queued = Run.objects.filter(status=Run.Status.QUEUED).values_list("pk", flat=True)
            _close(set(queued), Run.Status.CANCELLED, QUEUED_BEFORE)
            _end_sessions()
            _skip_missed_schedules()
        apply_schedules()


def write_new(repository: BackupCatalog, *, known_events: Collection[str], records: Iterable[BackupRecord]) -> None:
    """Write the runs of events that are not among the `known_events`, and these backups. The rest was written before.

    The caller holds the lock of the database, so only copying and the settings can have changed other rows. Raises
    Django's database errors.
    """
    names = [name for name in repository.event_names() if name not in known_events]
    runs = read_runs(repository.read_events(names))
    _write_runs(runs)
    for record in records:
        write_backup(record)
    if any(run.kind == Run.Kind.COPY and run.is_finished for run in runs.values()):
        refresh_backups(repository)
    apply_schedules()


def refresh_backups(repository: BackupCatalog) -> None:
    """Make the rows of backups match the storage, while other runs may add and delete backups."""
    # Read before the files: rows that are added meanwhile are newer than the files.
    known = set(Backup.objects.values_list("pk", flat=True))
    records = repository.records()
    with transaction.atomic():
        _write_backups(records, known)


def write_backup(record: BackupRecord) -> None:
    """Write the row of a backup. Without a readable manifest it has none."""
    if record.manifest is None:
        return
    backup = _backup_of(record.manifest, record)
    with transaction.atomic():
        Backup.objects.filter(name=backup.name).exclude(pk=backup.pk).delete()
        _upsert(Backup, [backup], MANIFEST_FIELDS)


def remove_backups(names: Collection[str]) -> None:
    Backup.objects.filter(name__in=names).delete()


def write_run(run: Run) -> None:
    """Write the fields of `EVENT_FIELDS`; others write the rest of the row."""
    _upsert(Run, [run], EVENT_FIELDS)


def _write_backups(records: Iterable[BackupRecord], known: set[UUID]) -> None:
    expected = {}
    for record in records:
        if not record.manifest:
            continue
        key = UUID(record.manifest.id)
        # An unsigned file does not replace the signed backup whose id it copies.
        if key not in expected or record.trust == Trust.SIGNED:
            expected[key] = _backup_of(record.manifest, record)
    rows = {backup.pk: backup for backup in Backup.objects.all()}
    # Names are unique: rows whose names have moved to other backups are deleted first.
    moved = {key for key, backup in expected.items() if key in rows and rows[key].name != backup.name}
    for keys in _batches([*((known & rows.keys()) - expected.keys()), *moved]):
        Backup.objects.filter(pk__in=keys).delete()
    changed = [backup for key, backup in expected.items() if key not in rows or _differs(backup, rows[key])]
    _upsert(Backup, changed, MANIFEST_FIELDS)


def _differs(backup: Backup, other: Backup) -> bool:
    return any(getattr(backup, name) != getattr(other, name) for name in MANIFEST_FIELDS)


def _write_runs(runs: Mapping[UUID, Run]) -> None:
    rows = {key: end for key, *end in Run.objects.values_list("pk", "status", "finished_at")}
    finished = [run for key, run in runs.items() if run.is_finished and rows.get(key) != [run.status, run.finished_at]]
    _upsert(Run, finished, EVENT_FIELDS)
    running = [run for key, run in runs.items() if run.status == Run.Status.RUNNING and key not in rows]
    Run.objects.bulk_create(running, batch_size=BATCH, ignore_conflicts=True)


def _upsert(model: type[Row], rows: Sequence[Row], names: Sequence[str]) -> None:
    model.objects.bulk_create(rows, batch_size=BATCH, update_conflicts=True, unique_fields=["id"], update_fields=names)


def _close(keys: set[UUID], status: Run.Status, error: str) -> None:
    for batch in _batches(list(keys)):
        Run.objects.filter(pk__in=batch).update(status=status, error=error, finished_at=clock.now())


def _batches(keys: Sequence[UUID]) -> Iterator[Sequence[UUID]]:
    """SQLite limits the number of parameters in a statement."""
    return (keys[start : start + BATCH] for start in range(0, len(keys), BATCH))


def _end_sessions() -> None:
    if apps.is_installed("django.contrib.sessions"):
        Session = apps.get_model("sessions", "Session")
        Session.objects.all().delete()


def _skip_missed_schedules() -> None:
    """Schedules count from their last start, which is long ago in a restored database: all would start at once."""
    if apps.is_installed("django_celery_beat"):
        PeriodicTask = apps.get_model("django_celery_beat", "PeriodicTask")
        PeriodicTask.objects.filter(last_run_at__isnull=False).update(last_run_at=timezone.now())


def describe_fault(record: BackupRecord) -> str:
    """Why it is not verified: its last verification failed, or no location has a good copy any more."""
    verification = record.manifest.verification if record.manifest else None
    if verification and verification.error:
        return verification.error
    return "" if record.file_missing else record.fault.rstrip(".")


def _backup_of(manifest: Manifest, record: BackupRecord) -> Backup:
    verification = manifest.verification
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
        verified_level=str(verification.level) if verification else "",
        verified_at=verification.verified_at if verification else None,
        verification_seconds=verification.duration if verification else None,
        verification_error=describe_fault(record),
        suspicion=str(manifest.verdict or ""),
        trust=str(record.trust),
        file_missing=record.file_missing,
        copies=to_json(copies_of(record)),
        copy_count=len(record.reachable),
        run=manifest.run,
        recipients=[*manifest.encryption.recipients] if manifest.encryption else None,
        manifest=manifest.as_json(),
    )


# --- From rows to records ---------------------------------------------------------------------------------------------
READ_FIELDS = (
    *("id", "name", "kind", "origin", "engine", "database", "created_by", "taken_at", "size", "run", "pinned"),
    *("verified_level", "verified_at", "verification_error", "suspicion", "trust", "file_missing", "copies"),
)


def read_records(backups: QuerySet[Backup] | None = None) -> list[BackupRecord]:
    """All backups, or `backups`, as their rows have them, with the values that the retention policy depends on.

    Reading the rows of 10,000 backups takes 0.3 s, reading their manifests about 10 s.
    """
    rows = Backup.objects.all() if backups is None else backups
    return [_record_of(dict(zip(READ_FIELDS, row, strict=True))) for row in rows.values_list(*READ_FIELDS)]


def _record_of(row: Mapping[str, Any]) -> BackupRecord:
    copies = {copy.location: copy for copy in read_copies(row["copies"])}
    local = copies.pop(LOCAL, None)
    local_fault = local.error if local else MISSING
    is_good = not local_fault or any(not copy.error for copy in copies.values())
    return BackupRecord(
        name=row["name"],
        manifest=_manifest_of(row),
        trust=Trust(row["trust"]),
        file_missing=row["file_missing"],
        fault="" if is_good else local_fault,
        local_fault=local_fault,
        copies={
            name: Copy(sha256="0" * 64, size=copy.size, verified_at=copy.verified_at or EPOCH, error=copy.error)
            for name, copy in copies.items()
        },
        unreachable=frozenset(name for name, copy in copies.items() if not copy.answers),
    )


def _manifest_of(row: Mapping[str, Any]) -> Manifest:
    taken_at = row["taken_at"].astimezone(dt.UTC)
    return Manifest(
        **{name: row[name] for name in ("name", "engine", "database", "created_by", "size", "run", "pinned")},
        id=str(row["id"]),
        kind=Kind(row["kind"]),
        origin=Origin(row["origin"]),
        taken_at=taken_at,
        duration=0,
        server_version="",
        tool_version="",
        app_version="",
        migrations=(),
        tables={},
        uncompressed_size=0,
        sha256="",
        verifications=_verifications_of(row),
        untrusted=row["origin"] == Origin.UPLOAD,
        suspicion=_suspicion_of(row["suspicion"], taken_at),
    )


def _verifications_of(row: Mapping[str, Any]) -> tuple[Verification, ...]:
    if row["verified_at"] is None:
        return ()
    level, at = Level(row["verified_level"]), row["verified_at"].astimezone(dt.UTC)
    return (Verification(level=level, verified_at=at, duration=0, error=row["verification_error"]),)


def _suspicion_of(verdict: str, at: dt.datetime) -> Suspicion | None:
    """One with this verdict; what was lost is not in the columns."""
    if not verdict:
        return None
    decision = Decision(right=verdict == Verdict.RIGHT, decided_by="", decided_at=at)
    return Suspicion(losses=(), number=0, compared_with="", decision=None if verdict == Verdict.UNDECIDED else decision)
