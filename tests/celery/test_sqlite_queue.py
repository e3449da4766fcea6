"""One run of each kind is queued at a time, on SQLite as on PostgreSQL."""

from pathlib import Path

from tests.celery.test_tasks import shell

REQUESTS_AT_ONCE = """
import time
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from django.db import connection
from ops.runs import executor
barrier = Barrier(8)
def request_backup(number):
    barrier.wait(30)
    try:
        return executor.queue(Run(kind=Run.Kind.BACKUP, requested_by="ada@example.com", origin=Run.Origin.ADMIN))[1]
    finally:
        connection.close()
with ThreadPoolExecutor(8) as pool:
    made = list(pool.map(request_backup, range(8)))
answer = [sorted(made), Run.objects.count()]
"""


def test_of_simultaneous_requests_one_is_queued(home: Path) -> None:
    assert shell(home, REQUESTS_AT_ONCE) == [[False] * 7 + [True], 1]
