"""One run of each kind waits at a time, on SQLite as on PostgreSQL."""

from pathlib import Path

from tests.celery.support import manage
from tests.celery.test_tasks import shell

ASK_AT_ONCE = """
import time
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from django.db import connection
from ops import runs
from ops.runs.recorder import Request
barrier = Barrier(8)
def ask(number):
    barrier.wait(30)
    try:
        return runs.queue(Request(kind=Run.Kind.BACKUP, who="ada@example.com", origin=Run.Origin.CONSOLE))[1]
    finally:
        connection.close()
with ThreadPoolExecutor(8) as executor:
    made = list(executor.map(ask, range(8)))
answer = [sorted(made), Run.objects.count()]
"""
QUEUE_SEVERAL = """
import datetime as dt
from django.utils import timezone
for minutes, kind in enumerate(["backup", "backup", "drill", "backup"]):
    Run.objects.create(kind=kind, who=str(minutes), asked=timezone.now() + dt.timedelta(minutes=minutes))
answer = None
"""
STATES = 'answer = list(Run.objects.order_by("asked").values_list("kind", "status", "error"))'
BEFORE = "Another run of this kind had been queued before."


def test_of_many_requests_at_one_moment_one_is_queued(home: Path) -> None:
    assert shell(home, ASK_AT_ONCE) == [[False] * 7 + [True], 1]


def test_a_database_with_several_keeps_the_oldest_of_each_kind(home: Path) -> None:
    assert manage(home, "migrate", "ops", "0001").returncode == 0
    shell(home, QUEUE_SEVERAL)
    done = manage(home, "migrate")
    assert done.returncode == 0, done.stderr
    assert shell(home, STATES) == [
        ["backup", "queued", ""],
        ["backup", "cancelled", BEFORE],
        ["drill", "queued", ""],
        ["backup", "cancelled", BEFORE],
    ]
