"""What workers do: runs that people have queued, and what schedules start.

How one ended stands in its run. Celery keeps no result: to prepare for one, whoever starts a task would connect to the
result backend, and would try that for 20 seconds.
"""

import logging
from collections.abc import Callable
from functools import partial
from typing import Any
from uuid import UUID

from celery import shared_task
from celery.signals import worker_ready
from django.conf import settings

from ops import operations
from ops.errors import OpsError, PreconditionFailed
from ops.health.dependencies import ping_redis
from ops.models import Run
from ops.notifications import alerts
from ops.operations import OpsContext
from ops.runs import authorization, executor
from ops.runs.recorder import Request
from ops.utils.progress import ProgressCallback, no_progress
from ops.utils.single_flight import SingleFlight, shared_calls

logger = logging.getLogger(__name__)

SCHEDULER = "schedule"
OPERATIONS: dict[Run.Kind, Callable[[OpsContext, Request, ProgressCallback], object]] = {
    Run.Kind.BACKUP: operations.back_up,
    Run.Kind.VERIFICATION: operations.verify,
    Run.Kind.DRILL: operations.verify,
    Run.Kind.RESTORE: operations.restore,
    Run.Kind.UNDO: operations.undo_restore,
    Run.Kind.DROP_UNDO: operations.drop_undo,
    Run.Kind.PREFLIGHT: operations.examine_move,
}
"""What people may queue."""
PING_TIMEOUT = 1.0
PUBLISH_TIMEOUT = 1.5
"""Seconds that a click waits for Redis, each.

A message that is sent later all the same does no harm: its row has ended by then, and the worker leaves it alone.
"""
RETRY_ONCE = {"max_retries": 1, "interval_start": 0, "interval_step": 0, "interval_max": 0}
"""For a connection that was open when Redis was started anew. More tries would take longer than a click may."""


# --- What people ask for -------------------------------------------------------------------------------------------
@shared_task(ignore_result=True)  # type: ignore[untyped-decorator]
def execute_run(run: str) -> None:
    """Do what the queued row `run` asks for; nothing when it is not queued any more."""
    request = executor.claim(run)
    if request is None:
        logger.info("The run %s does not wait any more.", run)
        return
    try:
        authorize(request)
        OPERATIONS[request.kind](operations.get_context(), request, no_progress)
    except OpsError as error:
        logger.error("The %s of %s did not succeed: %s", request.kind.label, request.who, error)  # noqa: TRY400
        # Whatever was refused before the run had begun would wait on.
        alerts.notify_runs(executor.fail_queued(request.id, error))


def authorize(request: Request) -> None:
    """Raises PreconditionFailed for a user who lost the right to start this run while it waited.

    Those who have a shell, and schedules, need no right in the database.
    """
    if request.origin != Run.Origin.CONSOLE:
        return
    refusal = authorization.find_refusal(username=request.who, kind=request.kind, arguments=request.arguments)
    if refusal:
        raise PreconditionFailed(
            f"{request.who} asked for it, but {refusal}. Nothing was changed.",
            "Another user with the right can start it.",
        )


def require_redis() -> None:
    """Before a row is queued. Raises PreconditionFailed where Redis does not answer within a second."""
    url = getattr(settings, "REDIS_URL", "")
    if url and isinstance(
        shared_calls.run("redis", partial(ping_redis, url)).result(within=PING_TIMEOUT), BaseException
    ):
        raise PreconditionFailed(
            "Cannot start: Redis does not answer.", "Nothing was queued. Start Redis (REDIS_URL) and try again."
        )


def enqueue(run: UUID) -> None:
    """Hand the queued row `run` to a worker. Never raises what the queue does: the row ends as failed with it.

    Returns in HAND_OVER_WITHIN seconds, although Celery and Redis's client would try again and again.
    """
    publish = partial(execute_run.apply_async, (str(run),), retry_policy=RETRY_ONCE)
    outcome = SingleFlight().run("publish", publish).result(within=PUBLISH_TIMEOUT)
    if not isinstance(outcome, BaseException):
        return
    logger.error("The run %s could not be queued.", run, exc_info=outcome)
    why = "The queue does not answer: Redis cannot be reached. Nothing was changed."
    given_up = executor.fail_queued(run, PreconditionFailed(why, "Start Redis (REDIS_URL) and try again."))
    # A user waits for the answer to a click, and a mail server may take its time.
    SingleFlight().run("notice", partial(alerts.notify_runs, given_up))


# --- What schedules start ------------------------------------------------------------------------------------------


@shared_task(ignore_result=True)  # type: ignore[untyped-decorator]
def back_up() -> None:
    """Make a backup, prove that it is complete, and prune."""
    perform_scheduled(Run.Kind.BACKUP, operations.back_up)


@shared_task(ignore_result=True)  # type: ignore[untyped-decorator]
def prune() -> None:
    perform_scheduled(Run.Kind.PRUNE, operations.prune)


@shared_task(ignore_result=True)  # type: ignore[untyped-decorator]
def restore_test() -> None:
    """Restore the newest backup of this site's own that is verified into a scratch database, and compare."""
    newest = operations.newest_verified(operations.get_context())
    if newest is None:
        logger.info("There is no restore test: no backup of this site is there that is signed, whole and verified.")
        return
    perform_scheduled(Run.Kind.DRILL, operations.verify, names=[newest.name], restore=True)


@shared_task(ignore_result=True)  # type: ignore[untyped-decorator]
def drop_expired_undo() -> None:
    """Drop the database that a restore replaced, once it is old enough."""
    perform_scheduled(Run.Kind.DROP_UNDO, operations.drop_expired_undo)


@shared_task(ignore_result=True)  # type: ignore[untyped-decorator]
def reconcile() -> None:
    """Close the runs whose processes were killed, sweep away what they left, and tell what no run can tell."""
    site = operations.get_context()
    for sentence in executor.reconcile(engine=site.engine, catalogue=site.catalogue):
        logger.warning("%s", sentence)
    alerts.check()


@shared_task(ignore_result=True)  # type: ignore[untyped-decorator]
def rebuild_index() -> None:
    """Close what killed runs left, and have the lists of backups and runs say what is in the storage."""
    for sentence in operations.sync(operations.get_context()).found:
        logger.warning("%s", sentence)


@worker_ready.connect  # type: ignore[untyped-decorator]
def on_worker_ready(**_options: object) -> None:
    """Leave the first look to a process of the pool: this one takes messages, and keeps no connection to a database."""
    rebuild_index.delay()


def perform_scheduled(
    kind: Run.Kind, operation: Callable[[OpsContext, Request, ProgressCallback], Any], **arguments: Any
) -> None:
    """Run `operation` now. An OpsError ends it with a line in the log; it is never tried again by itself."""
    request = Request(kind=kind, who=SCHEDULER, origin=Run.Origin.SCHEDULE, arguments=arguments)
    try:
        operation(operations.get_context(), request, no_progress)
    except OpsError as error:
        logger.error("The scheduled %s did not succeed: %s", kind.label, error)  # noqa: TRY400  # a sentence says it all
