"""Execute one operation at a time on a database, and record each even if the process or the database fails.

The order: take the lock; close killed runs and clean up after them; write the event of the start; call the operation;
write the event of the end; release the lock; send notifications. `ops.runs.row_writer` keeps the row up to date.
"""

import contextlib
import datetime as dt
import os
import socket
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar
from uuid import UUID

from django.db import IntegrityError
from django.db.models import Q, QuerySet
from django.utils import timezone

from ops.backups.engines.base import Engine
from ops.backups.repository import BackupRepository
from ops.errors import AlreadyRunning, OpsError, PreconditionFailed
from ops.models import Run
from ops.notifications import alerts
from ops.runs import event_log, index
from ops.runs.context import OpsContext
from ops.runs.recorder import DATABASE_TIMEOUT, RunRecorder, unrecorded
from ops.runs.results import Result
from ops.utils.posix_signals import ignore_interrupts
from ops.utils.progress import ProgressCallback, no_progress
from ops.utils.single_flight import SingleFlight

Answer = TypeVar("Answer")
Outcome = TypeVar("Outcome", bound=Result)
Arguments = ParamSpec("Arguments")
CANCELLED_WHILE_QUEUED = "Cancelled while queued."
LONGEST_WAIT = dt.timedelta(minutes=15)
"""In the queue, while no other run is running."""
MAX_ATTEMPTS = 3
"""At finding the queued run of a kind, or becoming it."""
QUEUE_LOST = PreconditionFailed(
    "No worker took the run out of the queue for 15 minutes. Nothing was changed.",
    "Redis loses its queue on a restart without persistence. Check that Redis and the worker run, and try again.",
)


class NoLongerQueued(PreconditionFailed):
    """The row of a queued run was cancelled, or taken by another worker."""


# --- Operations ------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def recorded(
    context: OpsContext, run: Run, on_progress: ProgressCallback = no_progress, *, writes_row: bool = True
) -> Iterator[RunRecorder]:
    """Hold the lock of the database and record the block as `run`; without `writes_row`, next to the backups only.

    Raises AlreadyRunning while another run holds the lock, and PreconditionFailed if the storage does not take the
    record; a queued row is closed then. What the block raises is recorded and raised again.
    """
    finished: list[Run] = []
    with contextlib.ExitStack() as stack:
        # Called after the lock is released, so that no other run waits for a mail server.
        stack.callback(alerts.notify_runs, finished)
        try:
            stack.enter_context(context.engine.locked(lock_label(run)))
            recorder = _begin(context, run, on_progress, writes_row=writes_row)
        except PreconditionFailed as error:
            _query_with_timeout(partial(_refuse, run, error))
            finished += _refused(run, context.engine, error)
            raise
        try:
            yield recorder
        except BaseException as error:
            with ignore_interrupts():
                finished.append(recorder.end(error))
            raise
        with ignore_interrupts():
            finished.append(recorder.end(None))


class Operation(Generic[Arguments, Outcome]):
    """The function of a kind of run, to be called with a `Run` that says who requested it and its arguments."""

    def __init__(
        self, function: Callable[Concatenate[OpsContext, RunRecorder, Arguments], Outcome], *, writes_row: bool
    ) -> None:
        self.function, self.writes_row = function, writes_row
        self.__doc__ = function.__doc__

    def __call__(
        self, context: OpsContext, run: Run, on_progress: ProgressCallback = no_progress, **objects: Any
    ) -> Outcome:
        """Call the function within `recorded`, and record its result. Raises what both of them raise.

        `objects` are arguments that cannot be recorded, for an operation that no worker executes.
        """
        with recorded(context, run, on_progress, writes_row=self.writes_row) as recorder:
            result = self.function(context, recorder, **run.arguments, **objects)  # type: ignore[call-arg]
            recorder.result = result
        return result


OPERATIONS: dict[str, Operation[..., Any]] = {}
"""By the kind of run, for workers."""


def operation(
    *kinds: Run.Kind, writes_row: bool = True
) -> Callable[[Callable[Concatenate[OpsContext, RunRecorder, Arguments], Outcome]], Operation[Arguments, Outcome]]:
    """Register a function as the operation of these kinds of runs. Its keyword arguments are the run's `arguments`.

    `writes_row`: whether the live database may be written to during the run; the event log always is.
    """

    def decorate(
        function: Callable[Concatenate[OpsContext, RunRecorder, Arguments], Outcome],
    ) -> Operation[Arguments, Outcome]:
        registered = Operation(function, writes_row=writes_row)
        OPERATIONS.update(dict.fromkeys(kinds, registered))
        return registered

    return decorate


def log_instant(context: OpsContext, run: Run) -> None:
    """Record an action that takes no time and changes nothing. Raises OpsError or OSError."""
    _start(run, context.engine)
    run.status, run.finished_at = Run.Status.SUCCEEDED, run.started_at
    event_log.record_end(context.repository, run)
    index.write_run(run)


# --- The queue -------------------------------------------------------------------------------------------------------


def queue(run: Run) -> tuple[Run, bool]:
    """Save a new `run` for a worker, which gets it with `claim`. Returns the queued row, and whether it is new.

    One run of each kind is queued at a time. Of two simultaneous requests one creates the row, and the other gets it.
    """
    fields = {name: getattr(run, name) for name in ("id", "requested_by", "origin", "requested_at")}
    fields |= {"arguments": event_log.sanitize(run.arguments), "backup": backup_of(run)}
    find_or_make = partial(Run.objects.get_or_create, kind=run.kind, status=Run.Status.QUEUED, defaults=fields)
    for _ in range(MAX_ATTEMPTS - 1):
        # A worker may take the other row out of the queue right after the constraint has refused this one.
        with contextlib.suppress(IntegrityError):
            return find_or_make()
    return find_or_make()


def backup_of(run: Run) -> str:
    """The name of the backup that a queued run is about, or ''."""
    names = run.arguments.get("names") or [run.arguments.get("name", "")]
    return str(names[0]) if len(names) == 1 else ""


def claim(key: UUID | str) -> Run | None:
    """The queued row; None when it is gone, was cancelled, or another worker has started it."""
    return Run.objects.filter(pk=key, status=Run.Status.QUEUED).first()


def cancel(run: Run) -> bool:
    """Request the cancellation of a run; a queued one ends at once. False if the run has ended."""
    queued = Run.objects.filter(pk=run.pk, status=Run.Status.QUEUED)
    if queued.update(status=Run.Status.CANCELLED, finished_at=timezone.now(), error=CANCELLED_WHILE_QUEUED):
        return True
    return bool(Run.objects.filter(pk=run.pk, status=Run.Status.RUNNING).update(cancel_requested=True))


def fail_queued(key: UUID, error: OpsError) -> list[Run]:
    """Close the row of a queued run as failed. Returns it, or nothing if it is no longer queued."""
    if _fail(Run.objects.filter(pk=key, status=Run.Status.QUEUED), error):
        return [Run.objects.get(pk=key)]
    return []


def _fail(rows: QuerySet[Run], error: OpsError) -> int:
    return rows.update(status=Run.Status.FAILED, error=error.message, hint=error.hint, finished_at=timezone.now())


# --- Start -----------------------------------------------------------------------------------------------------------


def lock_label(run: Run) -> str:
    """The holder of the lock, for the message of another run."""
    since = _minute(timezone.now())
    return f"{run.get_kind_display()} by {run.requested_by} on {socket.gethostname()} since {since}"


def _begin(context: OpsContext, run: Run, on_progress: ProgressCallback, *, writes_row: bool) -> RunRecorder:
    if is_queued(run):
        _take(run)
    try:
        run.recovered = _clean_up(context.engine, context.repository)
        _start(run, context.engine)
        recorder = RunRecorder(run, repository=context.repository, on_progress=on_progress, writes_row=writes_row)
        recorder.begin()
    except OSError as error:
        raise unrecorded(error) from error
    return recorder


def is_queued(run: Run) -> bool:
    """Whether it is a queued row, rather than a new run."""
    return not run._state.adding and run.status == Run.Status.QUEUED


def _start(run: Run, engine: Engine) -> None:
    run.status, run.database, run.started_at = Run.Status.RUNNING, engine.database, timezone.now()
    run.host, run.pid = socket.gethostname(), os.getpid()
    run.arguments = event_log.sanitize(run.arguments)


def _take(run: Run) -> None:
    """Take the row out of the queue, by compare-and-swap: the queue may deliver a run to several workers.

    The caller has the lock, so no restore can replace the row meanwhile. Raises NoLongerQueued.
    """
    queued = Run.objects.filter(pk=run.pk, status=Run.Status.QUEUED)
    mine = {
        "status": Run.Status.RUNNING,
        "started_at": timezone.now(),
        "host": socket.gethostname(),
        "pid": os.getpid(),
    }
    if _query_with_timeout(lambda: queued.update(**mine)) != 1:
        raise NoLongerQueued("The run is no longer queued: it was cancelled, or another worker has started it.")


def _refuse(run: Run, error: PreconditionFailed) -> None:
    """Close the queued row, or the one that this process has just taken out of the queue."""
    if isinstance(error, NoLongerQueued):
        return
    own = Q(status=Run.Status.RUNNING, host=socket.gethostname(), pid=os.getpid())
    _fail(Run.objects.filter(Q(status=Run.Status.QUEUED) | own, pk=run.pk), error)


def _refused(run: Run, engine: Engine, error: PreconditionFailed) -> list[Run]:
    """The run that did not start, for the notification; none if the lock was taken."""
    if isinstance(error, AlreadyRunning):
        return []
    _start(run, engine)
    run.status, run.finished_at, run.error, run.hint = Run.Status.FAILED, timezone.now(), error.message, error.hint
    return [run]


# --- Killed runs -----------------------------------------------------------------------------------------------------


def reconcile(context: OpsContext) -> tuple[str, ...]:
    """Close killed runs and clean up after them; do nothing while another run is running. Returns a sentence for each.

    Runs that were dropped from the queue are closed as well.
    """
    engine, repository = context.engine, context.repository
    try:
        with engine.locked(f"cleaning up on {socket.gethostname()} since {_minute(timezone.now())}"):
            recovered, lost = _clean_up(engine, repository), _query_with_timeout(_fail_lost)
    except AlreadyRunning:
        return ()
    if isinstance(lost, BaseException):
        return recovered
    alerts.notify_runs(lost)
    return (*recovered, *(f"{_describe(run)} was dropped from the queue." for run in lost))


def _fail_lost() -> list[Run]:
    """The caller has the lock: no run is running, and none was lately, for which others might still wait."""
    since = timezone.now() - LONGEST_WAIT
    queued = list(Run.objects.filter(status=Run.Status.QUEUED, requested_at__lt=since).values_list("pk", flat=True))
    if not queued or Run.objects.filter(started_at__isnull=False, finished_at__gt=since).exists():
        return []
    return [run for key in queued for run in fail_queued(key, QUEUE_LOST)]


def _clean_up(engine: Engine, repository: BackupRepository) -> tuple[str, ...]:
    """The caller has the lock, so every run on this database without an end was killed."""
    events = [event for event in repository.unended_events() if event.get("database") == engine.database]
    swept = repository.sweep(event_log.claimed_files(events))
    # Before the runs are closed: if this process is killed here, the next run still finds their claims.
    dropped = engine.sweep(event_log.claimed_databases(events))
    event_log.record_swept(repository, events)
    killed = [run for run in event_log.read_runs(events).values() if not run.is_finished]
    _keep_other_claims(killed, events, repository)
    return (*(_mark_interrupted(killed, repository) if killed else ()), *swept, *dropped)


def _keep_other_claims(killed: Iterable[Run], events: Sequence[event_log.Event], repository: BackupRepository) -> None:
    """Databases that killed runs claimed on other servers stay claimed when the runs are closed.

    The next migration to the same target drops them (`RunRecorder.left_databases`).
    """
    for run in killed:
        own = [event for event in events if event.get("run") == str(run.pk) and event.get("target")]
        for target in {str(event["target"]) for event in own}:
            for name in event_log.claimed_databases(own, target=target):
                event_log.record_leftover(repository, run, name, target=target)


def _mark_interrupted(killed: Sequence[Run], repository: BackupRepository) -> tuple[str, ...]:
    """Record the end of these runs. Returns a sentence for each."""
    rows = _query_with_timeout(lambda: Run.objects.in_bulk([run.pk for run in killed]))
    if isinstance(rows, BaseException):
        # Only the database shows whether a restore was applied; the next run closes it.
        return tuple(f"{_describe(run)} was killed; its state is unknown until the database answers." for run in killed)
    closed = [_closed(run, rows.get(run.pk)) for run in killed]
    for run in closed:
        event_log.record_end(repository, run)
    _query_with_timeout(partial(_write_rows, closed))
    alerts.notify_runs(closed)
    return tuple(f"{_describe(run)} was killed. It was marked as {run.get_status_display()}." for run in closed)


def _write_rows(runs: Iterable[Run]) -> None:
    for run in runs:
        index.write_run(run)


def _closed(run: Run, row: Run | None) -> Run:
    """How the killed `run` ended, according to its row in the live database."""
    if row and row.is_finished:
        return row
    run = row or run
    run.finished_at = timezone.now()
    run.status, run.error = Run.Status.INTERRUPTED, f"The process {run.pid} on {run.host} was killed."
    run.hint = "The database is unchanged. Start it again."
    if run.applied:
        run.status, run.hint = Run.Status.SUCCEEDED, "The restored database was already live."
    return run


def _describe(run: Run) -> str:
    where = f"started on {run.host}" if run.host else "requested"
    return (
        f"The {run.get_kind_display()} that {run.requested_by} {where} at {_minute(run.started_at or run.requested_at)}"
    )


def _minute(moment: dt.datetime) -> str:
    return f"{moment.astimezone(dt.UTC):%Y-%m-%d %H:%M} UTC"


def _query_with_timeout(query: Callable[[], Answer]) -> Answer | BaseException:
    """The result of a query to the live database, or its error. No run waits longer for the sake of its record."""
    return SingleFlight().run("query", query).result(within=DATABASE_TIMEOUT)
