"""A real worker and two real beats on a Redis with Sentinels, whose leader is killed or frozen."""

import contextlib
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ops import tasks
from ops.errors import PreconditionFailed
from ops.models import Run
from ops.runs import executor
from ops.schedules.beat import POLL_INTERVAL
from ops.utils.redis_client import redis_client, redis_errors
from tests.celery.support import running, wait_for
from tests.celery.test_beat import BEAT, READY, WORKER
from tests.celery.test_tasks import shell
from tests.support.backend import eventually
from tests.support.broker import forgetting_broker, use_broker
from tests.support.sentinel import RedisCluster
from tests.support.web import WebServer

PROMISED = 2.0
SERVICES = ("redis", "worker", "beat")
LOCKED = "Acquired the scheduler lock."


@pytest.fixture(scope="module")
def started_cluster() -> Iterator[RedisCluster]:
    cluster = RedisCluster.start()
    yield cluster
    cluster.stop()


@pytest.fixture
def cluster(started_cluster: RedisCluster) -> RedisCluster:
    """All servers run and follow one leader, which has no messages of an earlier test."""
    for port, process in started_cluster.servers.items():
        started_cluster.thaw(port)
        if process.poll() is not None:
            started_cluster.launch_server(port)
    started_cluster.wait_until_complete()
    started_cluster.client(started_cluster.leader()).flushall()
    return started_cluster


def test_client_writes_to_another_leader_after_the_first_was_killed(cluster: RedisCluster) -> None:
    """Also when the first Sentinel of the address does not answer."""
    stopped = next(iter(cluster.sentinels))
    cluster.sentinels[stopped].send_signal(signal.SIGSTOP)
    try:
        with redis_client(cluster.url(), timeout=1, decode_responses=True) as client:
            assert client.set("key", "old")
            lost = cluster.kill_leader()
            eventually(lambda: answered(lambda: client.set("key", "new")), within=20)
            assert client.get("key") == "new"
            assert cluster.leader() != lost
    finally:
        cluster.sentinels[stopped].send_signal(signal.SIGCONT)


def answered(ask: Callable[[], object]) -> object:
    with contextlib.suppress(redis_errors()):
        return ask()
    return False


def runs_of(home: Path, kind: str, origin: str) -> list[str]:
    """The states of such runs."""
    with contextlib.closing(sqlite3.connect(home / "homerack.db")) as connection:
        rows = connection.execute("SELECT status FROM ops_run WHERE kind = ? AND origin = ?", (kind, origin))
        return [str(status) for (status,) in rows]


QUEUE = """
from ops import tasks
from ops.runs import executor
from django.contrib.auth import get_user_model
get_user_model().objects.create_superuser("ada@example.com", "a-long-password")
run, _ = executor.queue(Run(kind=Run.Kind.BACKUP, requested_by="ada@example.com", origin=Run.Origin.ADMIN))
tasks.enqueue(run.pk)
answer = Run.objects.get(pk=run.pk).status
"""
OVERDUE = """
import datetime as dt
from django.utils import timezone
now = timezone.now()
due = PeriodicTask.objects.filter(name__in=["Prune backups", "Reconcile"])
answer = due.update(last_run_at=now - dt.timedelta(days=2))
PeriodicTasks.update_changed()
# As if it had waited for a minute, after which it is sent again.
Run.objects.filter(status="queued").update(requested_at=now - dt.timedelta(minutes=2))
"""


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["kill_leader", "freeze_leader"])
def test_scheduled_task_and_queued_run_are_executed_once_after_the_leader_is_lost(
    home: Path, cluster: RedisCluster, fault: str
) -> None:
    """Schedules become due while there is no leader. The leader has sent the message of the run to a worker that did
    not receive it, so that it is lost.
    """
    settings = {"REDIS_URL": cluster.url(), "BACKUP_DIR": str(home / "backups")}
    with (
        running(home, "worker", *WORKER, **settings) as worker,
        running(home, "first", *BEAT, **settings) as first,
        running(home, "second", *BEAT, **settings) as second,
    ):
        wait_for(lambda: READY["worker"] in worker.output, worker)
        wait_for(lambda: LOCKED in first.output or LOCKED in second.output, first)
        worker.process.send_signal(signal.SIGSTOP)
        assert shell(home, QUEUE, **settings) == "queued"
        lost = getattr(cluster, fault)()
        assert shell(home, OVERDUE, **settings) == 2
        worker.process.send_signal(signal.SIGCONT)
        cluster.wait_for_other_leader(lost)
        wait_for(lambda: runs_of(home, "prune", "schedule") == ["succeeded"], worker)
        wait_for(lambda: runs_of(home, "backup", "admin") == ["succeeded"], worker)
        cluster.thaw(lost)
        time.sleep(2 * POLL_INTERVAL)
        assert runs_of(home, "backup", "admin") == runs_of(home, "prune", "schedule") == ["succeeded"]
        for each in (worker, first, second):
            assert cluster.password not in each.output
            assert cluster.sentinel_password not in each.output


def is_queued() -> bool:
    """Whether the admin would queue a run now, and its message is sent."""
    try:
        tasks.require_redis()
    except PreconditionFailed:
        return False
    run, _ = executor.queue(Run(kind=Run.Kind.PRUNE, requested_by="ada@example.com", origin=Run.Origin.ADMIN))
    tasks.enqueue(run.pk)
    run.refresh_from_db()
    run.delete()
    return run.status == Run.Status.QUEUED


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("fault", ["kill_leader", "freeze_leader"])
def test_site_answers_in_time_without_a_leader_and_recovers(
    home: Path, cluster: RedisCluster, settings: Any, fault: str
) -> None:
    """Health, and the queue of the admin: it queues, or refuses within its time."""
    address = {"REDIS_URL": cluster.url()}
    with (
        running(home, "worker", *WORKER, **address) as worker,
        running(home, "beat", *BEAT, **address),
        forgetting_broker(),
        served(home, **address) as web,
    ):
        wait_for(lambda: READY["worker"] in worker.output, worker)
        use_broker(settings, cluster.url())
        assert is_queued()
        eventually(lambda: set(states_of_services(web).values()) == {"healthy"}, within=20)
        lost, start, new = getattr(cluster, fault)(), time.monotonic(), 0.0
        recovered: dict[str, float] = {}
        slowest = {"health": 0.0, "queue": 0.0}
        while len(recovered) < 1 + len(SERVICES):
            began = time.monotonic()
            assert began - start < 60
            queued = is_queued()
            slowest["queue"] = max(slowest["queue"], time.monotonic() - began)
            health = web.get("/health/")
            assert health.status == 200
            slowest["health"] = max(slowest["health"], health.seconds)
            new = new or (0.0 if cluster.leader() == lost else time.monotonic())
            states = states_of_services(web)
            for name, is_back in {"queue": queued, **{name: states[name] == "healthy" for name in states}}.items():
                if is_back and new:
                    recovered.setdefault(name, time.monotonic() - new)
            time.sleep(0.1)
        assert slowest["queue"] < tasks.PING_TIMEOUT + tasks.PUBLISH_TIMEOUT + 0.5
        assert slowest["health"] < PROMISED
        assert max(recovered.values()) < 30
        cluster.thaw(lost)


def states_of_services(web: WebServer) -> dict[str, str]:
    checks = web.get("/health/").json["checks"]
    return {name: checks[name]["status"] for name in SERVICES}


@contextlib.contextmanager
def served(home: Path, **address: str) -> Iterator[WebServer]:
    web = WebServer.start("--threads", "4", DATABASE_URL=f"sqlite:///{home}/homerack.db", **address)
    try:
        yield web
    finally:
        web.stop()
