"""Why a run goes on waiting, or does not report: in sentences, with the command to type next."""

import datetime as dt
from dataclasses import dataclass
from enum import StrEnum

from django.utils import timezone

from ops.conf import conf, setting_name
from ops.health.queue_watch import Fault, QueueState, queue_watch
from ops.models import Run
from ops.utils import clock
from ops.utils.formatting import format_local
from ops.utils.progress import Stage

SHORT_WAIT = dt.timedelta(seconds=15)
"""After which a worker that has nothing to do should have taken a run."""
SILENCE = dt.timedelta(seconds=30)
"""Without a report, of which there is one every few seconds."""
UNREPORTED = dt.timedelta(minutes=1)
"""Some runs never write to the database. After this time nothing is known of them."""
SILENT_STAGES = frozenset({Stage.HISTORY, Stage.CUT_OVER})
"""Whose runs do not write to the database that is being replaced."""


class Reason(StrEnum):
    """What a queued run waits for."""

    WORKER = "worker"
    REDIS = "redis"
    NO_WORKER = "no-worker"
    SILENT_WORKER = "silent-worker"
    OTHER_RUN = "other-run"
    LOST = "lost"


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """`text` says why, `hint` what to do, and `command` follows it."""

    reason: Reason
    text: str
    hint: str = ""
    command: str = ""

    @property
    def is_fault(self) -> bool:
        """Whether it will not go on by itself."""
        return self.reason not in {Reason.WORKER, Reason.OTHER_RUN}


def explain_wait(run: Run) -> Waiting:
    """Why the queued `run` has not started. Two queries at most; waits for Redis and the worker for less than a second.

    Raises Django's database errors.
    """
    state, other = queue_watch.read(), find_other(run)
    if state and state.is_certain and state.fault is not Fault.NONE:
        return explain_fault(state, other)
    is_due = clock.now() - run.requested_at > SHORT_WAIT
    if other and (is_due or is_same_lock(other, run)):
        silent = describe_silence(other)
        text = f"It waits for the end of another run: {describe_running(other)}."
        return Waiting(reason=Reason.OTHER_RUN, text=f"{text} {silent}".strip(), hint="It starts by itself after that.")
    if state and state.fault is Fault.NONE and is_due:
        return Waiting(
            reason=Reason.LOST,
            text="The worker answers, but has not taken this run. Redis may have lost it in a restart.",
            hint="It is sent again within 5 minutes. To send it now, request the same again: no second run is queued.",
        )
    return Waiting(reason=Reason.WORKER, text="Waiting for the worker to take it.")


def explain_fault(state: QueueState, other: Run | None) -> Waiting:
    since = format_moment(state.since)
    known = f" Unfinished: {describe_running(other)}. {describe_silence(other)}".rstrip() if other else ""
    if state.fault is Fault.REDIS:
        return Waiting(
            reason=Reason.REDIS,
            text=f"Redis has not answered since {since}, so no worker gets this run.{known}",
            hint=f"Start Redis ({setting_name('REDIS_URL')}). If it has lost its queue, the run is sent again.",
        )
    start = f"celery -A {conf.OPS_CELERY_APP} worker"
    if state.fault is Fault.NO_WORKER:
        text = f"No worker is running: none has been connected to Redis since {since}.{known}"
        return Waiting(reason=Reason.NO_WORKER, text=text, hint="Start one:", command=start)
    return Waiting(
        reason=Reason.SILENT_WORKER,
        text=f"The worker has not answered since {since}: it is frozen or overloaded.{known}",
        hint="The run starts when the worker goes on. If it does not, end its process. What started the worker may"
        " start another by itself. If none runs a minute later, start one:",
        command=start,
    )


def find_other(run: Run) -> Run | None:
    """The run that holds the database; for copying, the other one that copies. That of another lock comes last."""
    running = Run.objects.filter(status=Run.Status.RUNNING).exclude(pk=run.pk).order_by("started_at")
    rows = list(running.only("kind", "requested_by", "requested_at", "started_at", "reported_at", "stage", "status"))
    return next((other for other in rows if is_same_lock(other, run)), next(iter(rows), None))


def is_same_lock(other: Run, run: Run) -> bool:
    """Whether `run` cannot start before the end of `other`. Where only one copies, they just share the worker."""
    return (other.kind == Run.Kind.COPY) == (run.kind == Run.Kind.COPY)


def describe_running(run: Run) -> str:
    """``restore by ada since 20:10``."""
    return f"{run} since {format_moment(run.started_at or run.requested_at)}"


def describe_silence(run: Run) -> str:
    """A sentence on a running run whose process does not report; '' for any other."""
    since = silent_since(run)
    return f"It has not reported since {format_moment(since)}." if since else ""


def silent_since(run: Run) -> dt.datetime | None:
    """When a running run has last reported, if that is too long ago: its process is frozen, or was killed."""
    if run.status != Run.Status.RUNNING or run.reported_at is None or run.stage in SILENT_STAGES:
        return None
    return run.reported_at if clock.now() - run.reported_at > SILENCE else None


def is_silent(run: Run) -> bool:
    """Whether nothing shows that the process of a running run exists."""
    began = run.reported_at or run.started_at
    return silent_since(run) is not None or (began is not None and clock.now() - began > UNREPORTED)


def format_moment(when: dt.datetime) -> str:
    """The time, with the day unless that is today."""
    local = timezone.localtime(when)
    return f"{local:%H:%M}" if local.date() == timezone.localdate() else format_local(when)
