"""The task in which a worker reads or imports large spreadsheets. Its outcome is in the row."""

import logging
from functools import partial

from celery import shared_task
from django.utils import timezone

from homerack.spreadsheets import jobs
from homerack.spreadsheets.models import UNFINISHED, SpreadsheetImport, State
from ops.databases.postgres.start import waiting_for_server
from ops.utils.single_flight import SingleFlight

logger = logging.getLogger(__name__)

PUBLISH_TIMEOUT = 1.5
"""Seconds that a request waits for Redis."""
RETRY_ONCE = {"max_retries": 1, "interval_start": 0, "interval_step": 0, "interval_max": 0}
"""For a connection that was open when Redis restarted."""
UNREACHABLE = (
    "The queue is unreachable: Redis does not answer. Nothing was imported. Start Redis (REDIS_URL), and try again."
)


@shared_task(ignore_result=True)  # type: ignore[untyped-decorator]
def run_import(key: str) -> None:
    with waiting_for_server():
        jobs.run(key)
        jobs.prune()


def start(job: SpreadsheetImport) -> None:
    """Do what the import waits for: here, or in a worker if it is large. Never raises for a queue that is down."""
    if not job.is_large:
        jobs.run(str(job.pk))
        return
    publish = partial(run_import.apply_async, (str(job.pk),), retry_policy=RETRY_ONCE)
    outcome = SingleFlight().run("publish", publish).result(within=PUBLISH_TIMEOUT)
    if isinstance(outcome, BaseException):
        logger.error("The import %s could not be queued.", job.pk, exc_info=outcome)
        waiting = SpreadsheetImport.objects.filter(pk=job.pk, state__in=UNFINISHED, begun_at=None)
        waiting.update(state=State.FAILED, note=UNREACHABLE, finished_at=timezone.now())
