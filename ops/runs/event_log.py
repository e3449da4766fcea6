"""The event log: one JSON file for each event of a run, next to the backups, where no restore rolls it back.

In an event, ``event`` is one of the words below, ``run`` the run's id, ``when`` the
time; the rest are the fields of `ops.models.Run` at that time. A run without an ``ended`` event is running or was
killed.

An ``uncertain`` event says that the connection was lost at the cut-over, and no server has answered since. The next
run records how the run ended. Of a migration, whose target another run may never ask, that is an ``ended`` event, which
a later one corrects.

A ``replaced`` event says that the run has replaced the live database. A ``lost`` event says that the live database does
not have what the run did: a server took over that had not received it. If that server is replaced in its turn, another
``replaced`` event may follow. `ops.backups.replacements` has the last one of each database.

In a ``claimed`` event, ``claims`` is the name of a data file that the run is about to write, so that a later run can
delete it; ``claims_database`` is the name of a database that it is about to create, and ``target`` the server and
database that it is created for, if that is not the run's own. A ``left`` event names a database that the run could not
drop before it ended; ``swept`` records that a later run dropped it.
"""

import datetime as dt
import logging
import shlex
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Literal
from uuid import UUID

from msgspec import Struct, structs

from ops.backups import replacements
from ops.backups.event_files import run_and_event
from ops.backups.locations.catalog import BackupCatalog
from ops.backups.replacements import LastReplacement, Replacement
from ops.errors import ArtifactInvalid
from ops.health.replacement import describe_loss
from ops.models import Run
from ops.runs import results
from ops.utils import clock, schema
from ops.utils.schema import Count, Line, Moment, Seconds, Text

logger = logging.getLogger(__name__)

Event = Mapping[str, Any]
STARTED, CLAIMED, LEFT, ENDED, SWEPT, UNCERTAIN = "started", "claimed", "left", "ended", "swept", "uncertain"
REPLACED, LOST = "replaced", "lost"
FINISHES = frozenset({ENDED, LOST})
NOT_RECORDED = {"id", "applied", "cancel_requested", "cancelled_by", "reported_at"}
AGAIN: Mapping[str, str] = {
    Run.Kind.RESTORE: "restore_database",
    Run.Kind.UNDO: "undo_restore",
    Run.Kind.MIGRATION: "migrate_to_postgres",
}
"""The runs that replace the live database, and the commands that repeat them."""
EVENT_FIELDS = tuple({field.attname for field in Run._meta.concrete_fields} - NOT_RECORDED)
"""`applied` is about one database, those on a cancellation are written by others, and `reported_at` is
about the row."""
DEPTH, PARTS = 12, 100_000
"""Limits for the arguments of a run: nesting of lists and objects, and number of values."""


# --- Writing ---------------------------------------------------------------------------------------------------------


def record(
    repository: BackupCatalog, event: str, run: Run, *, file: str = "", database: str = "", target: str = ""
) -> None:
    """Write an event of `run`: it claims the data file `file`, or claims or leaves the database `database`."""
    fields = {"claims": file, "claims_database": database, "target": target}
    repository.add_event({**_event(event, run), **{name: value for name, value in fields.items() if value}})


def begin_replacing(repository: BackupCatalog, run: Run, *, server: str, database: str) -> None:
    """`run` is about to replace `database` on the server with this id (`ops.databases.postgres.server_id`).

    Until it is recorded whether it has done so, that is not known.
    """
    last = replacements.read(repository.files, server=server, database=database)
    begun = structs.replace(last, unsure=_replacement(run))
    replacements.write(repository.files, begun, server=server, database=database)


def record_replaced(repository: BackupCatalog, run: Run, *, server: str, database: str) -> None:
    """`run` has replaced `database`."""
    record(repository, REPLACED, run)
    last = LastReplacement(done=_replacement(run))
    replacements.write(repository.files, last, server=server, database=database)


def record_not_replaced(repository: BackupCatalog, run: UUID, *, server: str, database: str) -> None:
    """`run` has not replaced `database`, which `begin_replacing` has announced."""
    last = replacements.read(repository.files, server=server, database=database)
    if last.unsure and last.unsure.run == run:
        left = structs.replace(last, unsure=None)
        replacements.write(repository.files, left, server=server, database=database)


def record_lost(repository: BackupCatalog, run: Run, *, server: str, database: str) -> Run:
    """The live `database` does not have what `run` did. Returns it as failed."""
    run.status, run.finished_at = Run.Status.FAILED, run.finished_at or clock.now()
    run.error, run.hint = describe_loss(run), again(run)
    record(repository, LOST, run)
    last = LastReplacement(done=_replacement(run), is_lost=True)
    replacements.write(repository.files, last, server=server, database=database)
    return run


def again(run: Run) -> str:
    """The command that repeats a run which replaces the live database."""
    file = run.arguments.get("file")
    hint = f"If it is still wanted: manage.py {AGAIN[run.kind]}"
    if run.kind == Run.Kind.RESTORE:
        hint += f" --backup-file {shlex.quote(str(file))}" if file else f" {run.backup}"
    return hint


def _replacement(run: Run) -> Replacement:
    return Replacement(
        run=run.pk,
        kind=run.kind,
        backup=run.backup,
        requested_at=run.requested_at,
        started_at=run.started_at or run.requested_at,
    )


def record_swept(repository: BackupCatalog, events: Iterable[Event], *, target: str = "") -> None:
    """The databases that the runs of these events left were dropped."""
    left = {event.get("run") for event in events if event.get("event") == LEFT and event.get("target", "") == target}
    for run in left:
        repository.add_event({"event": SWEPT, "run": run, "when": clock.now().isoformat()})


def _event(event: str, run: Run) -> dict[str, Any]:
    values = {name: getattr(run, name) for name in EVENT_FIELDS}
    fields = {name: value.isoformat() if isinstance(value, dt.datetime) else value for name, value in values.items()}
    return {"event": event, "run": str(run.pk), "when": clock.now().isoformat(), **fields}


# --- Reading ---------------------------------------------------------------------------------------------------------


def claimed_files(events: Iterable[Event]) -> set[str]:
    """The names of the data files that these events claim."""
    return {str(event["claims"]) for event in events if event.get("event") == CLAIMED and "claims" in event}


def claimed_databases(events: Iterable[Event], *, target: str = "") -> set[str]:
    """The databases that may be left: all claims of runs that did not end, and what the others recorded as left."""
    events = list(events)
    ended = {event.get("run") for event in events if event.get("event") == ENDED}
    names = (
        event.get("claims_database")
        for event in events
        if event.get("target", "") == target
        and (event.get("event") == LEFT or (event.get("event") == CLAIMED and event.get("run") not in ended))
    )
    return {name for name in names if isinstance(name, str)}


def claimed_before(repository: BackupCatalog, names: Collection[str]) -> set[str]:
    """Those of `names` that a run claimed as databases, for any target, whether it has ended or not.

    A run drops what it has claimed before it ends, but a server that takes over may not have received that. The newest
    events are read first.
    """
    missing, found = set(names), set[str]()
    for name in reversed(repository.event_names() if missing else []):
        if not missing:
            break
        if run_and_event(name)[1] == CLAIMED:
            for event in repository.read_events([name]):
                database = event.get("claims_database")
                if database in missing:
                    missing.remove(database)
                    found.add(database)
    return found


def last_ended(repository: BackupCatalog, kind: Run.Kind) -> Run | None:
    """The run of this kind that ended last. Of the history, which is long, only what is newer is read."""
    for name in reversed(repository.event_names()):
        if run_and_event(name)[1] == ENDED:
            for run in read_runs(repository.read_events([name])).values():
                if run.kind == kind:
                    return run
    return None


def was_replaced(repository: BackupCatalog, *, database: str, since: dt.datetime, until: dt.datetime) -> bool:
    """Whether a run replaced the live `database` between these times, or was lost: a restore, undo or migration."""
    first, last = (f"{moment.astimezone(dt.UTC):%Y%m%d_%H%M%S_%f}" for moment in (since, until))
    names = [name for name in repository.event_names() if first <= name < last and run_and_event(name)[1] in FINISHES]
    lost = {UUID(run) for run, event in map(run_and_event, names) if event == LOST}
    return any(
        run.kind in AGAIN
        # One that is lost has replaced it twice.
        and (run.status == Run.Status.SUCCEEDED or run.pk in lost)
        and not run.arguments.get("to")
        # A migration is recorded with the database that it read.
        and (run.database == database or run.kind == Run.Kind.MIGRATION)
        for run in read_runs(repository.read_events(names)).values()
    )


def read_runs(events: Iterable[Event]) -> dict[UUID, Run]:
    """Each run as of its last event. Events that cannot be read are logged and skipped.

    The end of a run that is lost does not count: its process may have ended without knowing that.
    """
    runs: dict[UUID, Run] = {}
    lost: set[UUID] = set()
    for event in events:
        if event.get("event") == SWEPT:
            continue
        try:
            run = read_run(event)
        except ArtifactInvalid as error:
            logger.warning("An event of the run %r cannot be read: %s", event.get("run"), error.message)
            continue
        if event["event"] == REPLACED and run.is_finished:
            lost.discard(run.pk)
        elif event["event"] == LOST:
            lost.add(run.pk)
        elif run.pk in lost:
            continue
        if run.is_finished or run.pk not in runs or not runs[run.pk].is_finished:
            runs[run.pk] = run
    return runs


class StageRecord(Struct):
    """A stage of a run: when it began, and how many seconds it took, or None if it did not end."""

    stage: Line
    began: Moment
    seconds: Seconds | None


class RunEvent(Struct):
    """The fields of an event, which are checked because events are not signed."""

    event: Literal["started", "claimed", "left", "uncertain", "replaced", "lost", "ended"]
    run: UUID
    kind: Run.Kind
    status: Run.Status
    origin: Run.Origin
    database: Line
    requested_by: Line
    backup: Line
    stage: Line
    host: Line
    error: Text
    hint: Text
    log: Text
    done: Count
    total: Count
    pid: Count | None
    requested_at: Moment
    started_at: Moment | None
    finished_at: Moment | None
    stages: list[StageRecord]
    arguments: dict[str, Any]
    result: dict[str, Any]

    def __post_init__(self) -> None:
        for moment in (self.requested_at, self.started_at, self.finished_at):
            if moment:
                schema.require_time(moment.astimezone(dt.UTC))
        finished = self.status not in {Run.Status.QUEUED, Run.Status.RUNNING}
        if self.status == Run.Status.QUEUED or (self.event != REPLACED and finished != (self.event in FINISHES)):
            raise ValueError(f"a run is {self.status} in an event called {self.event}")
        if not _is_small(self.arguments, DEPTH, [PARTS]):
            raise ValueError("the arguments are too large or nested too deep")


def read_run(event: Event) -> Run:
    """The run as of this event, without its result if that is malformed. Raises ArtifactInvalid."""
    try:
        read = schema.read_document(dict(event), RunEvent, what="The event")
    except OverflowError as error:
        raise ArtifactInvalid(f"The event is not valid: {error}.") from error
    run = Run(id=read.run)
    for name in EVENT_FIELDS:
        setattr(run, name, getattr(read, name))
    result = results.read_result(read.kind, read.result)
    run.stages, run.result = schema.to_json(read.stages), schema.to_json(result) if result else {}
    run.arguments = sanitize(read.arguments)
    return run


def _is_small(value: object, depth: int, budget: list[int]) -> bool:
    budget[0] -= 1
    if not depth or budget[0] < 0:
        return False
    if isinstance(value, Mapping):
        return all(len(name) <= schema.MAX_LINE and _is_small(part, depth - 1, budget) for name, part in value.items())
    if isinstance(value, list):
        return all(_is_small(part, depth - 1, budget) for part in value)
    if isinstance(value, str):
        return len(value) <= schema.MAX_TEXT
    return not isinstance(value, int) or abs(value) <= schema.MAX_INTEGER


def sanitize(value: object) -> Any:
    """The same JSON value without NUL and lone surrogates, which PostgreSQL cannot store."""
    if isinstance(value, str):
        return value.replace("\0", "").encode(errors="replace").decode()
    if isinstance(value, Mapping):
        return {sanitize(str(name)): sanitize(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [sanitize(part) for part in value]
    return value
