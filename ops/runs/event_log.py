"""What has happened, kept where no restore rolls it back: events beside the backups, and rows as an index of them.

An event is a JSON object: ``event`` is ``started``, ``claimed``, ``left``, ``ended`` or ``swept``, ``run`` is the run's
id, ``when`` the moment, and the rest are the fields of `ops.models.Run` at that moment. A run that started and did not
end is under way, or was killed.

``claims`` of a ``claimed`` event is the name of a data file that the run is about to write, so that it can be swept
away if the run gets no further; ``claims_database`` is the name of a database that it is about to make. A ``left``
event names a database that the run could not drop before it ended; ``swept`` says that a later run has done so. A
migration to another database is not a run: its events have a ``target`` and claims, and nothing else.
"""

import datetime as dt
import logging
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol, TypeVar
from uuid import UUID

from django.apps import apps
from django.db import transaction
from django.utils import timezone

from ops.backups.manifest import Manifest
from ops.backups.signing import Trust
from ops.errors import OpsError
from ops.models import Backup, Run
from ops.runs.event_format import CLAIMED, ENDED, LEFT, STARTED, SWEPT, Event, read_run

logger = logging.getLogger(__name__)

EVENT_FIELDS = tuple({field.attname for field in Run._meta.concrete_fields} - {"id", "in_place", "cancel_requested"})
"""`in_place` is a mark on one database, and `cancel_requested` is for others to write."""
MANIFEST_FIELDS = tuple(
    field.attname for field in Backup._meta.concrete_fields if field.attname not in {"id", "kept_until", "kept_because"}
)
QUEUED_BEFORE = "Queued before a restore, which has replaced the database that it was meant for."
BATCH = 500
"""Rows in a statement."""
Row = TypeVar("Row", Run, Backup)


class Entry(Protocol):
    """A backup as the catalogue finds it: its manifest (None: unreadable), its worth, and whether data are missing."""

    @property
    def manifest(self) -> Manifest | None: ...
    @property
    def trust(self) -> str: ...
    @property
    def missing(self) -> bool: ...


class Catalogue(Protocol):
    """The backups and events in a storage."""

    def record(self, event: dict[str, Any]) -> str:
        """Write the event; it is there to stay when this returns. Returns its name."""

    def events(self) -> list[dict[str, Any]]:
        """All events, in the order in which they came."""

    def unended_events(self) -> list[dict[str, Any]]:
        """Events of the runs that have not ended, or left a database. Reads no others: there may be ten thousands."""

    def entries(self) -> Iterable[Entry]: ...

    def sweep(self, claimed: Iterable[str]) -> tuple[str, ...]:
        """Remove what is unfinished of these data files, and say what it was in sentences."""


# --- Events ------------------------------------------------------------------------------------------------------


def record_start(catalogue: Catalogue, run: Run) -> None:
    catalogue.record(_event(STARTED, run))


def record_claim(catalogue: Catalogue, run: Run, name: str) -> None:
    catalogue.record({**_event(CLAIMED, run), "claims": name})


def claims_of(events: Iterable[Event]) -> set[str]:
    """The names of the data files that these events lay claim to."""
    return {str(event["claims"]) for event in events if event.get("event") == CLAIMED and "claims" in event}


def record_database(catalogue: Catalogue, run: Run, name: str) -> None:
    """The run is about to make the database `name`."""
    catalogue.record({**_event(CLAIMED, run), "claims_database": name})


def record_leftover(catalogue: Catalogue, run: Run, name: str) -> None:
    """The run has made the database `name`, and could not drop it."""
    catalogue.record({**_event(LEFT, run), "claims_database": name})


def databases_of(events: Iterable[Event]) -> set[str]:
    """The databases that these runs may have left: all that a run claimed which did not end, else what it says."""
    events = list(events)
    ended = {event.get("run") for event in events if event.get("event") == ENDED}
    names = (
        event.get("claims_database")
        for event in events
        if event.get("event") == LEFT or (event.get("event") == CLAIMED and event.get("run") not in ended)
    )
    return {name for name in names if isinstance(name, str)}


def record_swept(catalogue: Catalogue, events: Iterable[Event]) -> None:
    """What the runs of these events left is gone."""
    events = list(events)
    for run in {event.get("run") for event in events if event.get("event") == LEFT}:
        catalogue.record({"event": SWEPT, "run": run, "when": timezone.now().isoformat()})


def record_end(catalogue: Catalogue, run: Run) -> None:
    catalogue.record(_event(ENDED, run))


def last_ended(catalogue: Catalogue, kind: Run.Kind) -> Run | None:
    """The newest run of this kind that is over."""
    ended = [run for run in runs_of(catalogue.events()).values() if run.kind == kind and run.is_over]
    return max(ended, key=lambda run: run.ended or run.asked, default=None)


def _event(event: str, run: Run) -> dict[str, Any]:
    values = {name: getattr(run, name) for name in EVENT_FIELDS}
    said = {name: value.isoformat() if isinstance(value, dt.datetime) else value for name, value in values.items()}
    return {"event": event, "run": str(run.pk), "when": timezone.now().isoformat(), **said}


def runs_of(events: Iterable[Event]) -> dict[UUID, Run]:
    """Each run as its last event knows it. Events that can not be read are logged and left out."""
    runs: dict[UUID, Run] = {}
    for event in events:
        if event.get("event") == SWEPT or "target" in event:
            continue
        try:
            run = read_run(event)
        except (OpsError, KeyError, ValueError, OverflowError) as error:
            logger.warning("An event of the run %r can not be read (%s).", event.get("run"), type(error).__name__)
            continue
        if run.is_over or run.pk not in runs or not runs[run.pk].is_over:
            runs[run.pk] = run
    return runs


# --- Rows --------------------------------------------------------------------------------------------------------


def rebuild_index(catalogue: Catalogue, *, restored: bool = False) -> None:
    """Make the rows of "default" say what the catalogue says: backups, and every run with how it ended.

    Rows change together or not at all, and only where they differ. What is under way is left to whoever is at work on
    it, unless the database is `restored`: then its rows tell of another moment, what is queued in them is cancelled,
    its sessions are ended, since they may be of people who have signed out or were locked out, and its schedules go on
    from now.

    Raises Django's database errors.
    """
    # Looked up before the files are read: rows that appear meanwhile are newer than what was read.
    known = set(Backup.objects.values_list("pk", flat=True))
    running = set(Run.objects.filter(status=Run.Status.RUNNING).values_list("pk", flat=True))
    runs, entries = runs_of(catalogue.events()), list(catalogue.entries())
    with transaction.atomic():
        _write_backups(entries, known)
        _write_runs(runs)
        _close(running - set(runs), Run.Status.INTERRUPTED, "Its start is not recorded beside the backups.")
        if restored:
            queued = Run.objects.filter(status=Run.Status.QUEUED).values_list("pk", flat=True)
            _close(set(queued), Run.Status.CANCELLED, QUEUED_BEFORE)
            _end_sessions()
            _skip_missed_schedules()


def write_catalogue(entries: Iterable[Entry], kept: Mapping[str, tuple[dt.datetime | None, str]]) -> None:
    """Make the rows of backups say what `entries` say, which are all. `kept`: until when, and why, by name."""
    with transaction.atomic():
        _write_backups(entries, set(Backup.objects.values_list("pk", flat=True)))
        changed = []
        for backup in Backup.objects.only("name", "kept_until", "kept_because"):
            until, because = kept.get(backup.name, (None, ""))
            if (backup.kept_until, backup.kept_because) != (until, because):
                backup.kept_until, backup.kept_because = until, because
                changed.append(backup)
        Backup.objects.bulk_update(changed, ["kept_until", "kept_because"], batch_size=BATCH)


def write_backup(entry: Entry) -> None:
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


def _write_backups(entries: Iterable[Entry], known: set[UUID]) -> None:
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
    there = {key: end for key, *end in Run.objects.values_list("pk", "status", "ended")}
    over = [run for key, run in runs.items() if run.is_over and there.get(key) != [run.status, run.ended]]
    _upsert(Run, over, EVENT_FIELDS)
    under_way = [run for key, run in runs.items() if run.status == Run.Status.RUNNING and key not in there]
    Run.objects.bulk_create(under_way, batch_size=BATCH, ignore_conflicts=True)


def _upsert(model: type[Row], rows: Sequence[Row], names: Sequence[str]) -> None:
    model.objects.bulk_create(rows, batch_size=BATCH, update_conflicts=True, unique_fields=["id"], update_fields=names)


def _close(keys: set[UUID], status: Run.Status, error: str) -> None:
    for batch in _batches(list(keys)):
        Run.objects.filter(pk__in=batch).update(status=status, error=error, ended=timezone.now())


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


def _backup_of(manifest: Manifest, entry: Entry) -> Backup:
    proof = manifest.verification
    return Backup(
        id=UUID(manifest.id),
        name=manifest.name,
        kind=str(manifest.kind),
        origin=str(manifest.origin),
        engine=manifest.engine,
        database=manifest.database,
        who=manifest.who,
        when=manifest.when,
        size=manifest.size,
        plain_size=manifest.plain_size,
        rows=manifest.rows,
        seconds=manifest.seconds,
        note=manifest.note,
        keep=manifest.keep,
        proof_level=str(proof.level) if proof else "",
        proof_when=proof.when if proof else None,
        proof_seconds=proof.seconds if proof else None,
        proof_fault=proof.error if proof else "",
        trust=str(entry.trust),
        missing=entry.missing,
        run=manifest.run,
        manifest=manifest.as_json(),
    )
