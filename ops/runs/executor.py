"""One operation at a time, and a record of each that survives whatever happens to the process or the database.

The order of things: the lock; what killed runs left is closed and swept away; the event of the start is in the storage;
the operation; the event of the end; the row. Rows are written beside all that, by `ops.runs.row_writer`.
"""

import contextlib
import datetime as dt
import os
import socket
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import TypeVar
from uuid import UUID

from django.db import IntegrityError
from django.db.models import Q, QuerySet
from django.utils import timezone

from ops.backups.engines.base import Engine
from ops.errors import AlreadyRunning, OpsError, PreconditionFailed
from ops.models import Run
from ops.notifications import alerts
from ops.runs import event_log
from ops.runs.event_format import sanitize
from ops.runs.event_log import Catalogue
from ops.runs.recorder import DATABASE_TIMEOUT, Request, RunRecorder, unrecorded
from ops.utils.posix_signals import ignore_interrupts
from ops.utils.progress import ProgressCallback, no_progress
from ops.utils.single_flight import SingleFlight

Answer = TypeVar("Answer")
CANCELLED_EARLY = "It was cancelled before anybody had begun with it."
LONGEST_WAIT = dt.timedelta(minutes=15)
"""In the queue, while no other run is at work."""
MAX_ATTEMPTS = 3
"""To find the run that waits, or to become it."""
QUEUE_LOST = PreconditionFailed(
    "No worker took it out of the queue for 15 minutes. Nothing was changed.",
    "Redis forgets its queue when it is started anew without a file of its own. See that it and the worker run, and ask"
    " again.",
)


class NoLongerQueued(PreconditionFailed):
    """A run that waited is not to be done any more."""


@contextlib.contextmanager
def recorded(
    request: Request, *, engine: Engine, catalogue: Catalogue, report: ProgressCallback = no_progress
) -> Iterator[RunRecorder]:
    """Run the block alone on its database, and record it.

    Raises AlreadyRunning and PreconditionFailed before anything is recorded but in a queued row, the latter when the
    storage takes no record. What the block raises is recorded and goes on.
    """
    over: list[Run] = []
    with contextlib.ExitStack() as stack:
        # Called when the lock has been given back: nobody waits for a mail server.
        stack.callback(alerts.notify_runs, over)
        try:
            stack.enter_context(engine.locked(lock_label(request)))
            recording = _begin(request, engine, catalogue, report)
        except PreconditionFailed as error:
            _query_with_timeout(partial(_refuse, request, error))
            over += _refused(request, engine, error)
            raise
        try:
            yield recording
        except BaseException as error:
            with ignore_interrupts():
                over.append(recording.end(error))
            raise
        with ignore_interrupts():
            over.append(recording.end(None))


def queue(request: Request) -> tuple[Run, bool]:
    """The row of a run that waits for a worker, which finds it with `waiting`; and whether it is new.

    One run of each kind waits at a time. Of two requests at the same moment the database lets one make the row, and
    the other gets that row.
    """
    row = {
        "id": request.id,
        "who": request.who,
        "origin": request.origin,
        "arguments": sanitize(request.arguments),
        "backup": name_of_backup(request),
        "asked": request.asked,
    }
    find_or_make = partial(Run.objects.get_or_create, kind=request.kind, status=Run.Status.QUEUED, defaults=row)
    for _ in range(MAX_ATTEMPTS - 1):
        # A worker may take the other one out of the queue just when this one has been refused for its sake.
        with contextlib.suppress(IntegrityError):
            return find_or_make()
    return find_or_make()


def name_of_backup(request: Request) -> str:
    """The one that a queued run is about, or ''."""
    names = request.arguments.get("names") or [request.arguments.get("name", "")]
    return str(names[0]) if len(names) == 1 else ""


def claim(run: UUID | str) -> Request | None:
    """What the queued row asks for; None when it is gone, was cancelled, or is being worked on by somebody else."""
    row = Run.objects.filter(pk=run, status=Run.Status.QUEUED).first()
    if row is None:
        return None
    return Request(
        kind=Run.Kind(row.kind),
        who=row.who,
        origin=Run.Origin(row.origin),
        arguments=row.arguments,
        id=row.pk,
        asked=row.asked,
        waited=True,
    )


def log_instant(request: Request, *, engine: Engine, catalogue: Catalogue, backup: str) -> None:
    """Record something that is done the moment it is asked for, and changes nothing. Raises OpsError or OSError."""
    run = _begun(request, engine)
    run.backup, run.status, run.ended = backup, Run.Status.SUCCEEDED, run.started
    event_log.record_end(catalogue, run)
    event_log.write_run(run)


def cancel(run: Run) -> bool:
    """Ask for the end of a run; one that still waits ends at once. False when it is over."""
    waits = Run.objects.filter(pk=run.pk, status=Run.Status.QUEUED)
    if waits.update(status=Run.Status.CANCELLED, ended=timezone.now(), error=CANCELLED_EARLY):
        return True
    return bool(Run.objects.filter(pk=run.pk, status=Run.Status.RUNNING).update(cancel_requested=True))


def fail_queued(run: UUID, error: OpsError) -> list[Run]:
    """Close the queued row of a run that nobody will work on. Returns it, or nothing when it does not wait any more."""
    if _fail(Run.objects.filter(pk=run, status=Run.Status.QUEUED), error):
        return [Run.objects.get(pk=run)]
    return []


def _fail(rows: QuerySet[Run], error: OpsError) -> int:
    return rows.update(status=Run.Status.FAILED, error=error.message, hint=error.hint, ended=timezone.now())


def _begin(request: Request, engine: Engine, catalogue: Catalogue, report: ProgressCallback) -> RunRecorder:
    if request.waited:
        _take(request)
    try:
        found = _clean_up(engine, catalogue)
        recording = RunRecorder(_begun(request, engine), catalogue=catalogue, report=report, found=found)
        recording.begin()
    except OSError as error:
        raise unrecorded(error) from error
    return recording


def _take(request: Request) -> None:
    """Of all who may have been handed this request, only one goes on; none after a restore, which cancels what waits.

    The caller has the lock, so no restore can come in between.
    """
    waits = Run.objects.filter(pk=request.id, status=Run.Status.QUEUED)
    mine = {"status": Run.Status.RUNNING, "started": timezone.now(), "host": socket.gethostname(), "pid": os.getpid()}
    if _query_with_timeout(lambda: waits.update(**mine)) != 1:
        raise NoLongerQueued("It does not wait any more: it was cancelled, or somebody else has begun with it.")


def _refuse(request: Request, error: PreconditionFailed) -> None:
    """Close the row in the queue, or the one that this process has just taken out of it."""
    if isinstance(error, NoLongerQueued):
        return
    own = Q(status=Run.Status.RUNNING, host=socket.gethostname(), pid=os.getpid())
    _fail(Run.objects.filter(Q(status=Run.Status.QUEUED) | own, pk=request.id), error)


def _refused(request: Request, engine: Engine, error: PreconditionFailed) -> list[Run]:
    """The run that there was not, to be told of; nothing where another one was only in the way."""
    if isinstance(error, AlreadyRunning):
        return []
    run = _begun(request, engine)
    run.status, run.ended, run.error, run.hint = Run.Status.FAILED, timezone.now(), error.message, error.hint
    return [run]


def reconcile(engine: Engine, catalogue: Catalogue) -> tuple[str, ...]:
    """Close and sweep away what killed runs left, and say what it was; nothing while another run is at work.

    Runs whose place in the queue is lost are closed as well.
    """
    try:
        with engine.locked(f"cleaning up on {socket.gethostname()} since {_minute(timezone.now())}"):
            found, lost = _clean_up(engine, catalogue), _query_with_timeout(_give_up_lost)
    except AlreadyRunning:
        return ()
    if isinstance(lost, BaseException):
        return found
    alerts.notify_runs(lost)
    return (*found, *(f"{_describe(run)} was lost from the queue." for run in lost))


def _give_up_lost() -> list[Run]:
    """The caller has the lock: no run is at work now, and none was lately, behind which others could still wait."""
    since = timezone.now() - LONGEST_WAIT
    waiting = list(Run.objects.filter(status=Run.Status.QUEUED, asked__lt=since).values_list("pk", flat=True))
    if not waiting or Run.objects.filter(started__isnull=False, ended__gt=since).exists():
        return []
    return [run for key in waiting for run in fail_queued(key, QUEUE_LOST)]


def lock_label(request: Request) -> str:
    """Whose lock it is, for whoever finds it taken."""
    since = _minute(timezone.now())
    return f"{request.kind.label} by {request.who} on {socket.gethostname()} since {since}"


def _begun(request: Request, engine: Engine) -> Run:
    return Run(
        id=request.id,
        kind=request.kind,
        status=Run.Status.RUNNING,
        database=engine.database,
        who=request.who,
        origin=request.origin,
        arguments=sanitize(request.arguments),
        asked=request.asked,
        started=timezone.now(),
        host=socket.gethostname(),
        pid=os.getpid(),
    )


def _clean_up(engine: Engine, catalogue: Catalogue) -> tuple[str, ...]:
    """The caller has the lock, so no run on this database that has not ended is alive."""
    events = [event for event in catalogue.unended_events() if event.get("database") == engine.database]
    swept = catalogue.sweep(event_log.claims_of(events))
    # Before the runs are closed: who is killed now leaves their claims to the next one.
    dropped = engine.sweep(event_log.databases_of(events))
    event_log.record_swept(catalogue, events)
    killed = [run for run in event_log.runs_of(events).values() if not run.is_over]
    return (*(_mark_interrupted(killed, catalogue) if killed else ()), *swept, *dropped)


def _mark_interrupted(killed: Sequence[Run], catalogue: Catalogue) -> tuple[str, ...]:
    """Record how these runs ended."""
    rows = _query_with_timeout(lambda: Run.objects.in_bulk([run.pk for run in killed]))
    if isinstance(rows, BaseException):
        # Whether a restore was in place is what only the database knows: the next run will see.
        return tuple(f"{_describe(run)} was killed; how far it was is to be seen in the database." for run in killed)
    closed = [_closed(run, rows.get(run.pk)) for run in killed]
    for run in closed:
        event_log.record_end(catalogue, run)
    _query_with_timeout(partial(_write_rows, closed))
    alerts.notify_runs(closed)
    return tuple(f"{_describe(run)} was killed. It is recorded as {run.get_status_display()}." for run in closed)


def _write_rows(runs: Iterable[Run]) -> None:
    for run in runs:
        event_log.write_run(run)


def _closed(run: Run, row: Run | None) -> Run:
    """How the killed `run` ended, by what its row in the live database says."""
    if row and row.is_over:
        return row
    run = row or run
    run.ended = timezone.now()
    run.status, run.error = Run.Status.INTERRUPTED, f"The process {run.pid} on {run.host} was killed."
    run.hint = "The database is as it was. Start it again."
    if run.in_place:
        run.status, run.hint = Run.Status.SUCCEEDED, "The restored database had been put in place by then."
    return run


def _describe(run: Run) -> str:
    where = f"started on {run.host}" if run.host else "asked for"
    return f"The {run.get_kind_display()} that {run.who} {where} at {_minute(run.started or run.asked)}"


def _minute(moment: dt.datetime) -> str:
    return f"{moment.astimezone(dt.UTC):%Y-%m-%d %H:%M} UTC"


def _query_with_timeout(question: Callable[[], Answer]) -> Answer | BaseException:
    """The answer of the live database, or why there was none: no run waits for long for the sake of its record."""
    return SingleFlight().run("rows", question).result(within=DATABASE_TIMEOUT)
