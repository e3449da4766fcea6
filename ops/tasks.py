"""Celery tasks: execute queued runs, and what schedules start.

The outcome is recorded in the run. Celery stores no results: for one, the process that sends a task would connect to
the result backend, and retry that for 20 seconds.
"""

import logging
from collections.abc import Callable
from functools import partial, wraps
from typing import Any
from uuid import UUID

from celery import shared_task
from celery.signals import worker_ready
from django.db import DatabaseError

from ops import operations
from ops.conf import conf
from ops.databases.postgres.start import waiting_for_server
from ops.errors import AlreadyRunning, OpsError, PreconditionFailed
from ops.health.dependencies import ping_redis
from ops.models import Run
from ops.notifications import alerts
from ops.runs import authorization, executor
from ops.runs.context import get_context
from ops.utils.broker_acks import release_failed_acks
from ops.utils.single_flight import SingleFlight, shared_calls

logger = logging.getLogger(__name__)

SCHEDULER = "scheduler"
"""The `requested_by` of runs that a schedule started."""
PING_TIMEOUT = 1.0
PUBLISH_TIMEOUT = 1.5
"""Seconds that a request of the admin waits for Redis, each.

A message that is sent later does no harm: its row has failed by then, and the worker ignores it.
"""
WAIT_FOR_LOCK = 5
"""Seconds until a worker looks again whether a queued run can start."""
RETRY_ONCE = {"max_retries": 1, "interval_start": 0, "interval_step": 0, "interval_max": 0}
"""For a connection that was open when Redis restarted. More retries would take longer than a request may."""
NOT_QUEUED = "The run %s is no longer queued."
MAKES_BACKUPS = frozenset({Run.Kind.BACKUP, Run.Kind.RESTORE, Run.Kind.UPLOAD})
"""Runs after which there may be a new backup."""


# --- Queued runs ----------------------------------------------------------------------------------------------
@shared_task(ignore_result=True)  # type: ignore[untyped-decorator]
def execute_run(key: str, sent: str = "") -> None:
    """Execute the queued run, once no other run holds the database; do nothing if it is no longer queued.

    `sent`: when the message was sent again. While another run holds the database, only the last message of a run waits.
    """
    run = executor.find_queued(key)
    if run is None:
        logger.info(NOT_QUEUED, key)
        return
    try:
        authorize(run)
        with waiting_for_server():
            executor.OPERATIONS[run.kind](get_context(), run)
    except executor.NoLongerQueued:  # since a moment ago
        logger.info(NOT_QUEUED, key)
        return
    except AlreadyRunning:
        # It stays in the queue, and its page says what it waits for.
        if sent == executor.sent_again(run):
            resend(key, delay=WAIT_FOR_LOCK)
        return
    except OpsError as error:
        logger.error("The %s requested by %s failed: %s", run.get_kind_display(), run.requested_by, error)  # noqa: TRY400
        # A run that was refused before its start is still queued.
        alerts.notify_runs(executor.fail_queued(run.pk, error))
    if run.kind in MAKES_BACKUPS:
        request_copies()


def request_copies() -> None:
    """Let a worker copy what is new. Never raises: the schedule of copies follows anyway."""
    if conf.BACKUP_LOCATIONS:
        SingleFlight().run("copies", partial(copy_backups.apply_async, retry_policy=RETRY_ONCE)).result(
            within=PUBLISH_TIMEOUT
        )


def authorize(run: Run) -> None:
    """Raise PreconditionFailed for a user who lost the permission to start this run while it was queued.

    Commands and schedules need no permission in the database.
    """
    if run.origin != Run.Origin.ADMIN:
        return
    refusal = authorization.find_refusal(username=run.requested_by, kind=run.kind, arguments=run.arguments)
    if refusal:
        raise PreconditionFailed(
            f"{run.requested_by} requested it, but {refusal}. Nothing was changed.",
            "Another user with the permission can start it.",
        )


def require_redis() -> None:
    """Call it before a row is queued. Raises PreconditionFailed if Redis does not answer within a second."""
    url = conf.REDIS_URL
    if url and isinstance(
        shared_calls.run("redis", partial(ping_redis, url)).result(within=PING_TIMEOUT), BaseException
    ):
        raise PreconditionFailed(
            "Cannot start: Redis does not answer.", "Nothing was queued. Start Redis (REDIS_URL) and try again."
        )


def enqueue(key: UUID, *, delay: float = 0) -> None:
    """Send the queued run to a worker, which starts it after `delay` seconds.

    Never raises: if the message cannot be sent, the run is marked as failed. Returns within PUBLISH_TIMEOUT seconds,
    although Celery and Redis's client would retry for longer.
    """
    publish = partial(execute_run.apply_async, (str(key),), countdown=delay, retry_policy=RETRY_ONCE)
    outcome = SingleFlight().run("publish", publish).result(within=PUBLISH_TIMEOUT)
    if not isinstance(outcome, BaseException):
        return
    logger.error("The run %s could not be queued.", key, exc_info=outcome)
    reason = "The queue is unreachable: Redis does not answer. Nothing was changed."
    failed = executor.fail_queued(key, PreconditionFailed(reason, "Start Redis (REDIS_URL) and try again."))
    # In a thread: a user waits for the response, and a mail server may be slow.
    SingleFlight().run("notification", partial(alerts.notify_runs, failed))


def resend(key: UUID | str, *, delay: float = 0) -> None:
    """Send a queued run again, whose message Redis may have lost. Never raises; a second message does no harm."""
    try:
        options = {"kwargs": {"sent": executor.mark_sent(key)}, "countdown": delay, "retry_policy": RETRY_ONCE}
    except DatabaseError:
        logger.warning("The run %s could not be sent again.", key, exc_info=True)
        return
    publish = partial(execute_run.apply_async, (str(key),), **options)
    outcome = SingleFlight().run("publish", publish).result(within=PUBLISH_TIMEOUT)
    if isinstance(outcome, BaseException):
        logger.warning("The run %s could not be sent again.", key, exc_info=outcome)


# --- Scheduled runs --------------------------------------------------------------------------------------------
def scheduled_task(function: Callable[[], None]) -> Any:
    """A task that does what `function` does, once for each start of a schedule: a message may arrive twice.

    Beat names the `schedule` and the `number` of the start (`ops.schedules.starts`). Without them it always does it.
    """

    @wraps(function)
    def task(schedule: str = "", number: int = 0) -> None:
        if not schedule or is_first(schedule, number):
            with waiting_for_server():
                function()

    return shared_task(task, ignore_result=True)


def is_first(schedule: str, number: int) -> bool:
    from ops.schedules import starts  # noqa: PLC0415  # needs django-celery-beat, which may not be installed

    if starts.begin(schedule, number):
        return True
    logger.info("Start %s of the schedule %r has already begun, or is no longer wanted.", number, schedule)
    return False


@scheduled_task
def back_up() -> None:
    """Make a backup, verify it by reading it back, and prune; then copy it."""
    run_scheduled(Run.Kind.BACKUP)
    request_copies()


@scheduled_task
def copy_backups() -> None:
    """Copy backups to the other storage locations, if one may lack something. Otherwise no run is recorded."""
    if operations.is_due(get_context()):
        run_scheduled(Run.Kind.COPY)


@scheduled_task
def prune() -> None:
    """Delete the backups outside the retention policy."""
    run_scheduled(Run.Kind.PRUNE)


@scheduled_task
def restore_test() -> None:
    """Restore the newest verified backup into a scratch database, and compare.

    The copy is the one that is left when everything nearer is lost: that in the farthest location that answers.
    """
    if operations.newest_verified(get_context()) is None:
        logger.info("The restore test was skipped: there is no verified backup.")
        return
    run_scheduled(Run.Kind.RESTORE_TEST, farthest=True)


@scheduled_task
def drop_expired_previous() -> None:
    """Drop the previous database, and delete SQLite files of migrations, if they have expired.

    Otherwise no run is recorded.
    """
    if previous := operations.find_expired_previous(get_context()):
        run_scheduled(Run.Kind.DROP_PREVIOUS, replaced_by=previous.run)
    if operations.files_expired():
        run_scheduled(Run.Kind.SQLITE_DELETION, expired=True)


@scheduled_task
def reconcile() -> None:
    """Mark killed runs as interrupted, clean up after them, finish the pre-restore backup of a killed restore, send
    queued runs again that may have been lost, and check for alerts that belong to no run.
    """
    for sentence in executor.reconcile(get_context()):
        logger.warning("%s", sentence)
    resend_waiting()
    back_up_previous()
    alerts.check()


@shared_task(ignore_result=True)  # type: ignore[untyped-decorator]
def rebuild_index() -> None:
    """Clean up after killed runs, rebuild the rows of backups and runs from the storage, and send queued runs again."""
    with waiting_for_server():
        for sentence in executor.rebuild_index(get_context()):
            logger.warning("%s", sentence)
        resend_waiting()
        back_up_previous()


def back_up_previous() -> None:
    """Back up the previous database, and the live one, if a restore was killed before it had made that backup."""
    if operations.is_resumable(get_context()):
        back_up()


def resend_waiting() -> None:
    for key in executor.find_waiting():
        resend(key)


@worker_ready.connect  # type: ignore[untyped-decorator]
def on_worker_ready(**_options: object) -> None:
    """Send a task, since the process that receives this signal must not open a connection to the database."""
    release_failed_acks()
    rebuild_index.delay()


def run_scheduled(kind: Run.Kind, **arguments: Any) -> None:
    """Execute a run now. An OpsError is logged and not retried."""
    run = Run(kind=kind, requested_by=SCHEDULER, origin=Run.Origin.SCHEDULE, arguments=arguments)
    try:
        executor.OPERATIONS[kind](get_context(), run)
    except OpsError as error:
        logger.error("The scheduled %s failed: %s", kind.label, error)  # noqa: TRY400  # the message needs no traceback
