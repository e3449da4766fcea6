"""Execute operations, and record each even if the process or the database fails.

The order: take the lock, and clean up after killed runs (`ops.runs.lock`); write the event of the start; call the
operation; write the event of the end; release the lock; send notifications. `ops.runs.row_writer` keeps the row up to
date.
"""

import contextlib
import datetime as dt
import os
import socket
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Generic, TypeVar
from uuid import UUID

import psycopg2
from django.db import Error as DatabaseError
from django.db import IntegrityError
from django.db.models import Q, QuerySet
from msgspec import Struct

from ops.backups.engines.base import Engine
from ops.databases.postgres.connection import RUN_AGAIN, OtherServer, is_ended, is_lost, server_message
from ops.databases.postgres.lock import LockLost, OutcomeUnknown
from ops.databases.postgres.refusal import Refused
from ops.databases.postgres.silence import NoAnswer
from ops.errors import AlreadyRunning, Cancelled, OpsError, PreconditionFailed
from ops.models import Run
from ops.notifications import alerts
from ops.runs import event_log, index
from ops.runs.context import OpsContext
from ops.runs.lock import CLEANING_UP, PARTLY, copies_lock, database_lock, describe_request
from ops.runs.recorder import RunRecorder, query_with_timeout, unrecorded
from ops.utils import clock
from ops.utils.posix_signals import ignore_interrupts
from ops.utils.progress import ProgressCallback, no_progress

Outcome = TypeVar("Outcome", bound=Struct)
LONGEST_WAIT = dt.timedelta(minutes=15)
"""In the queue, while no other run is running."""
SENT_AGAIN_AFTER = dt.timedelta(minutes=1)
SENT_LATELY = (dt.timedelta(minutes=4), dt.timedelta(minutes=10))
"""A worker that reconciles every five minutes has sent a queued run again so long ago. If that is longer ago, no worker
was there meanwhile."""
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

    Copying has a lock of its own: it may take hours, and reads only files.

    Raises AlreadyRunning while another run holds the lock: a queued row stays queued then. Raises PreconditionFailed if
    the storage does not take the record, which closes a queued row. What the block raises is recorded and raised again.
    """
    finished: list[Run] = []
    with contextlib.ExitStack() as stack:
        # Called after the lock is released, so that no other run waits for a mail server.
        stack.callback(alerts.notify_runs, finished)
        try:
            holder = f"{run.get_kind_display()} by {run.requested_by}"
            lock = copies_lock if run.kind == Run.Kind.COPY else database_lock
            run.recovered = stack.enter_context(lock(context, holder))
            recorder = _begin(context, run, on_progress, writes_row=writes_row)
        except PreconditionFailed as error:
            finished += _refuse(run, context.engine, error)
            raise
        try:
            yield recorder
        except BaseException as error:
            with ignore_interrupts():
                finished.append(recorder.end(with_name(run, error)))
            raise
        with ignore_interrupts():
            finished.append(recorder.end(None))


@contextlib.contextmanager
def naming_lost_server(recorder: RunRecorder) -> Iterator[None]:
    """Raise errors of connections that the server or a failover has ended as OpsError, which says what was changed."""
    try:
        yield
    except (DatabaseError, psycopg2.Error, OpsError) as error:
        if not (reason := reason_of_loss(error)):
            raise
        unchanged = f"The database is unchanged{PARTLY.get(recorder.kind, '')}."
        outcome = "The cut-over had been done." if recorder.is_applied else unchanged
        raise OpsError(f"The server changed during the run: {reason}. {outcome}", RUN_AGAIN) from error


def reason_of_loss(error: Exception) -> str:
    """Why a connection to the server was lost, or a new one refused by the server that had accepted others; or ''."""
    if isinstance(error, LockLost | OutcomeUnknown):
        return ""  # they say it themselves
    if isinstance(error, OpsError):
        is_down = isinstance(error, Refused) and error.had_answered and is_ended(error.sqlstate)
        if is_down or isinstance(error, OtherServer):
            return error.message.rstrip(".")
        # What is only a consequence does not say what was changed.
        return str(error.__cause__) if isinstance(error.__cause__, NoAnswer) else ""
    cause = error.__cause__ if isinstance(error, DatabaseError) else error
    return server_message(cause) if isinstance(cause, psycopg2.Error) and is_lost(cause) else ""


class Operation(Generic[Outcome]):
    """The function of a kind of run, to be called with a `Run` that says who requested it and its arguments."""

    def __init__(self, function: Callable[..., Outcome], *, writes_row: bool) -> None:
        self.function, self.writes_row = function, writes_row
        self.__doc__ = function.__doc__

    def __call__(
        self, context: OpsContext, run: Run, on_progress: ProgressCallback = no_progress, **objects: Any
    ) -> Outcome:
        """Call the function within `recorded`, and record its result. Raises what both of them raise.

        `objects` are arguments that cannot be recorded, for an operation that no worker executes.
        """
        with recorded(context, run, on_progress, writes_row=self.writes_row) as recorder, naming_lost_server(recorder):
            recorder.result = result = self.function(context, recorder, **run.arguments, **objects)
            recorder.require_not_lost()
        return result


OPERATIONS: dict[str, Operation[Any]] = {}
"""By the kind of run, for workers."""


def operation(*kinds: Run.Kind, writes_row: bool = True) -> Callable[[Callable[..., Outcome]], Operation[Outcome]]:
    """Register a function of a context and a `RunRecorder` as the operation of these kinds of runs.

    Its keyword arguments are the run's `arguments`. `writes_row`: whether the live database may be written to during
    the run; the event log always is.
    """

    def register(function: Callable[..., Outcome]) -> Operation[Outcome]:
        registered = Operation(function, writes_row=writes_row)
        OPERATIONS.update(dict.fromkeys(kinds, registered))
        return registered

    return register


def log_instant(context: OpsContext, run: Run) -> None:
    """Record an action that takes no time and changes nothing. Raises OpsError or OSError."""
    _start(run, context.engine)
    run.status, run.finished_at = Run.Status.SUCCEEDED, run.started_at
    event_log.record(context.repository, event_log.ENDED, run)
    index.write_run(run)


# --- The queue -------------------------------------------------------------------------------------------------------


def queue(run: Run) -> tuple[Run, bool]:
    """Save a new `run` for a worker, which gets it with `find_queued`. Returns the queued row, and whether it is new.

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


def find_same(run: Run, *, database: str) -> Run | None:
    """A running run on `database` that does what the new `run` would do, which makes no sense a second time.

    Another backup is the same whatever its arguments, which only commands give.
    """
    running = Run.objects.filter(kind=run.kind, status=Run.Status.RUNNING, database=database).order_by("-started_at")
    arguments = event_log.sanitize(run.arguments)
    is_same = (lambda _other: True) if run.kind == Run.Kind.BACKUP else (lambda other: other.arguments == arguments)
    return next(filter(is_same, running), None)


def find_waiting() -> list[UUID]:
    """Queued runs to send again, because no run keeps them from being started: the queue may have lost their message.

    A run whose process holds the lock does keep them; copying has another one.
    """
    if Run.objects.filter(status=Run.Status.RUNNING).exclude(kind=Run.Kind.COPY).exists():
        return []
    old = Run.objects.filter(status=Run.Status.QUEUED, requested_at__lt=clock.now() - SENT_AGAIN_AFTER)
    return list(old.values_list("pk", flat=True))


def mark_sent(key: UUID | str) -> str:
    """Record in the row of a queued run that it is sent again now. Returns the time, which names the message."""
    now = clock.now()
    Run.objects.filter(pk=key, status=Run.Status.QUEUED).update(reported_at=now)
    return now.isoformat()


def sent_again(run: Run) -> str:
    """When the queued `run` was last sent again, as `mark_sent` returned it; '' if it was sent once."""
    return run.reported_at.astimezone(dt.UTC).isoformat() if run.reported_at else ""


def backup_of(run: Run) -> str:
    """The name of the backup that a queued run is about, or ''."""
    names = run.arguments.get("names") or [run.arguments.get("name", "")]
    return str(names[0]) if len(names) == 1 else ""


def find_queued(key: UUID | str) -> Run | None:
    """The queued row; None when it is gone, was cancelled, or another worker has started it."""
    return Run.objects.filter(pk=key, status=Run.Status.QUEUED).first()


def cancel(run: Run, *, by: str) -> bool:
    """Request the cancellation of a run for the user `by`; a queued one ends at once. False if the run has ended."""
    queued = Run.objects.filter(pk=run.pk, status=Run.Status.QUEUED)
    message = f"Cancelled by {by} while it was queued. Nothing was changed."
    if queued.update(status=Run.Status.CANCELLED, finished_at=clock.now(), error=message, cancelled_by=by):
        return True
    running = Run.objects.filter(pk=run.pk, status=Run.Status.RUNNING)
    return bool(running.update(cancel_requested=True, cancelled_by=by))


def with_name(run: Run, error: BaseException) -> BaseException:
    """The error for the record: a cancellation says whose request it was."""
    if not isinstance(error, Cancelled):
        return error
    name = query_with_timeout(lambda: Run.objects.values_list("cancelled_by", flat=True).get(pk=run.pk))
    if not name or isinstance(name, BaseException):
        return error
    # Copies that were complete by then stay, and so do verifications.
    return Cancelled(f"Cancelled by {name} while it was running. The database was not changed.")


def fail_queued(key: UUID, error: OpsError) -> list[Run]:
    """Close the row of a queued run as failed. Returns it, or nothing if it is no longer queued."""
    if _fail(Run.objects.filter(pk=key, status=Run.Status.QUEUED), error):
        return [Run.objects.get(pk=key)]
    return []


def _fail(rows: QuerySet[Run], error: OpsError) -> int:
    return rows.update(status=Run.Status.FAILED, error=error.message, hint=error.hint, finished_at=clock.now())


# --- Start -----------------------------------------------------------------------------------------------------------


def _begin(context: OpsContext, run: Run, on_progress: ProgressCallback, *, writes_row: bool) -> RunRecorder:
    is_queued = not run._state.adding and run.status == Run.Status.QUEUED
    _start(run, context.engine)
    if is_queued:
        _take(run)
    recorder = RunRecorder(run, repository=context.repository, on_progress=on_progress, writes_row=writes_row)
    try:
        recorder.begin()
    except OSError as error:
        raise unrecorded(error) from error
    return recorder


def _start(run: Run, engine: Engine) -> None:
    run.status, run.database, run.started_at = Run.Status.RUNNING, engine.database, clock.now()
    run.host, run.pid = socket.gethostname(), os.getpid()
    run.arguments = event_log.sanitize(run.arguments)


def _take(run: Run) -> None:
    """Take the row out of the queue, by compare-and-swap: the queue may deliver a run to several workers.

    The caller has the lock, so no restore can replace the row meanwhile. Raises NoLongerQueued.
    """
    queued = Run.objects.filter(pk=run.pk, status=Run.Status.QUEUED)
    mine = {name: getattr(run, name) for name in ("status", "started_at", "host", "pid")}
    mine["reported_at"] = run.started_at
    if query_with_timeout(lambda: queued.update(**mine)) != 1:
        raise NoLongerQueued("The run is no longer queued: it was cancelled, or another worker has started it.")


def _refuse(run: Run, engine: Engine, error: PreconditionFailed) -> list[Run]:
    """Close the queued row, or the one that this process has just taken out of the queue; not if the lock was taken.

    Returns the run that did not start, for the notification. One that was cancelled, or that another worker executes,
    has not failed.
    """
    if isinstance(error, AlreadyRunning | NoLongerQueued):
        return []
    own = Q(status=Run.Status.RUNNING, host=socket.gethostname(), pid=os.getpid())
    rows = Run.objects.filter(Q(status=Run.Status.QUEUED) | own, pk=run.pk)
    query_with_timeout(partial(_fail, rows, error))
    _start(run, engine)
    run.status, run.finished_at, run.error, run.hint = Run.Status.FAILED, clock.now(), error.message, error.hint
    return [run]


# --- Repair of the record --------------------------------------------------------------------------------------------


def reconcile(context: OpsContext) -> tuple[str, ...]:
    """Close killed runs and clean up after them; do nothing while another run is running. Returns a sentence for each.

    Runs that were dropped from the queue are closed as well.
    """
    try:
        with database_lock(context, CLEANING_UP) as recovered:
            lost = query_with_timeout(_fail_lost)
    except AlreadyRunning:
        return ()
    if isinstance(lost, BaseException):
        return recovered
    alerts.notify_runs(lost)
    return (*recovered, *(f"{describe_request(run)} was dropped from the queue." for run in lost))


def rebuild_index(context: OpsContext) -> tuple[str, ...]:
    """Clean up after killed runs as `reconcile` does, and rebuild the rows of backups and runs from the storage.

    This is not a run itself: it repairs the record of runs, also while one is running, and at the start of each worker.
    """
    recovered = reconcile(context)
    index.rebuild_index(context.repository)
    return recovered


def _fail_lost() -> list[Run]:
    """Close runs that no worker took, although they were sent again. No run is running, and none was lately, for which
    they might still wait.

    The caller has the lock of the database. Copying has another one, and may take the only free worker for hours.
    """
    now = clock.now()
    since, (least, most) = now - LONGEST_WAIT, SENT_LATELY
    waiting = Run.objects.filter(status=Run.Status.QUEUED, requested_at__lt=since)
    queued = list(waiting.filter(reported_at__range=(now - most, now - least)).values_list("pk", flat=True))
    lately = Q(status=Run.Status.RUNNING) | Q(started_at__isnull=False, finished_at__gt=since)
    if not queued or Run.objects.filter(lately).exists():
        return []
    return [run for key in queued for run in fail_queued(key, QUEUE_LOST)]
