"""What workers do: runs that users have queued, and what schedules start.

How one ended is recorded in its run. Celery keeps no result: to prepare for one, whoever starts a task would connect to
the result backend, and would try that for 20 seconds.
"""

import logging
from functools import partial
from typing import Any
from uuid import UUID

from celery import shared_task
from celery.signals import worker_ready

from ops import operations
from ops.conf import conf
from ops.errors import OpsError, PreconditionFailed
from ops.health.dependencies import ping_redis
from ops.models import Run
from ops.notifications import alerts
from ops.runs import authorization, executor
from ops.runs.context import get_context
from ops.utils.single_flight import SingleFlight, shared_calls

logger = logging.getLogger(__name__)

SCHEDULER = "schedule"
"""Who requested a run that a schedule started."""
PING_TIMEOUT = 1.0
PUBLISH_TIMEOUT = 1.5
"""Seconds that a click waits for Redis, each.

A message that is sent later all the same does no harm: its row has ended by then, and the worker leaves it alone.
"""
RETRY_ONCE = {"max_retries": 1, "interval_start": 0, "interval_step": 0, "interval_max": 0}
"""For a connection that was open when Redis was restarted. More tries would take longer than a click may."""


# --- What users request ----------------------------------------------------------------------------------------------
@shared_task(ignore_result=True)  # type: ignore[untyped-decorator]
def execute_run(key: str) -> None:
    """Do what the queued row says; nothing when it is no longer queued."""
    run = executor.claim(key)
    if run is None:
        logger.info("The run %s is no longer queued.", key)
        return
    try:
        authorize(run)
        executor.OPERATIONS[run.kind](get_context(), run)
    except OpsError as error:
        logger.error("The %s of %s did not succeed: %s", run.get_kind_display(), run.requested_by, error)  # noqa: TRY400
        # Whatever was refused before the run had begun would wait on.
        alerts.notify_runs(executor.fail_queued(run.pk, error))


def authorize(run: Run) -> None:
    """Raises PreconditionFailed for a user who lost the right to start this run while it waited.

    Those who have a shell, and schedules, need no right in the database.
    """
    if run.origin != Run.Origin.ADMIN:
        return
    refusal = authorization.find_refusal(username=run.requested_by, kind=run.kind, arguments=run.arguments)
    if refusal:
        raise PreconditionFailed(
            f"{run.requested_by} requested it, but {refusal}. Nothing was changed.",
            "Another user with the right can start it.",
        )


def require_redis() -> None:
    """Before a row is queued. Raises PreconditionFailed where Redis does not answer within a second."""
    url = conf.REDIS_URL
    if url and isinstance(
        shared_calls.run("redis", partial(ping_redis, url)).result(within=PING_TIMEOUT), BaseException
    ):
        raise PreconditionFailed(
            "Cannot start: Redis does not answer.", "Nothing was queued. Start Redis (REDIS_URL) and try again."
        )


def enqueue(key: UUID) -> None:
    """Hand the queued row to a worker. Never raises what the queue does: the row ends as failed with it.

    Returns in PUBLISH_TIMEOUT seconds, although Celery and Redis's client would try again and again.
    """
    publish = partial(execute_run.apply_async, (str(key),), retry_policy=RETRY_ONCE)
    outcome = SingleFlight().run("publish", publish).result(within=PUBLISH_TIMEOUT)
    if not isinstance(outcome, BaseException):
        return
    logger.error("The run %s could not be queued.", key, exc_info=outcome)
    why = "The queue does not answer: Redis cannot be reached. Nothing was changed."
    failed = executor.fail_queued(key, PreconditionFailed(why, "Start Redis (REDIS_URL) and try again."))
    # A user waits for the answer to a click, and a mail server may take its time.
    SingleFlight().run("notification", partial(alerts.notify_runs, failed))


# --- What schedules start --------------------------------------------------------------------------------------------


@shared_task(ignore_result=True)  # type: ignore[untyped-decorator]
def back_up() -> None:
    """Make a backup, verify it by reading it back, and prune."""
    run_scheduled(Run.Kind.BACKUP)


@shared_task(ignore_result=True)  # type: ignore[untyped-decorator]
def prune() -> None:
    """Delete the backups outside the retention policy."""
    run_scheduled(Run.Kind.PRUNE)


@shared_task(ignore_result=True)  # type: ignore[untyped-decorator]
def restore_test() -> None:
    """Restore the newest backup of this site's own that is verified into a scratch database, and compare."""
    newest = operations.newest_verified(get_context())
    if newest is None:
        logger.info("There is no restore test: no backup of this site is signed, whole and verified.")
        return
    run_scheduled(Run.Kind.RESTORE_TEST, names=[newest.name])


@shared_task(ignore_result=True)  # type: ignore[untyped-decorator]
def drop_expired_previous() -> None:
    """Drop the database that a restore replaced, once it has expired; otherwise there is not even a run."""
    if operations.previous_expired(get_context()):
        run_scheduled(Run.Kind.DROP_PREVIOUS)


@shared_task(ignore_result=True)  # type: ignore[untyped-decorator]
def reconcile() -> None:
    """Close the runs whose processes were killed, clean up after them, and alert to what no run can report."""
    for sentence in executor.reconcile(get_context()):
        logger.warning("%s", sentence)
    alerts.check()


@shared_task(ignore_result=True)  # type: ignore[untyped-decorator]
def rebuild_index() -> None:
    """Close what killed runs left, and rebuild the rows of backups and runs from the storage."""
    for sentence in operations.rebuild_index(get_context()).recovered:
        logger.warning("%s", sentence)


@worker_ready.connect  # type: ignore[untyped-decorator]
def on_worker_ready(**_options: object) -> None:
    """Leave the first look to a process of the pool: this one takes messages, and keeps no connection to a database."""
    rebuild_index.delay()


def run_scheduled(kind: Run.Kind, **arguments: Any) -> None:
    """Run an operation now. An OpsError ends it with a line in the log; it is not retried."""
    run = Run(kind=kind, requested_by=SCHEDULER, origin=Run.Origin.SCHEDULE, arguments=arguments)
    try:
        executor.OPERATIONS[kind](get_context(), run)
    except OpsError as error:
        logger.error("The scheduled %s did not succeed: %s", kind.label, error)  # noqa: TRY400  # a sentence says it all
