"""A real beat, Redis and worker."""

import contextlib
import datetime as dt
import json
import signal
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.celery.support import Running, manage, running, wait_for

BEAT = ("-m", "celery", "--app", "tests.celery.app", "beat", "--pidfile=")
READY = {"beat": "beat: Starting...", "worker": " ready."}
WORKER = ("-m", "celery", "--app", "tests.celery.app", "worker", "--concurrency=1")


@pytest.fixture
def trace(home: Path) -> Path:
    return home / "trace"


@pytest.fixture
def schedule(home: Path, trace: Path) -> Callable[..., None]:
    """Adds one that leaves a trace, in place of those that HomeRack begins with."""

    def add(**fields: Any) -> None:
        code = (
            "from django_celery_beat.models import *; PeriodicTask.objects.all().delete();"
            f"PeriodicTask(name='Trace', task='tests.celery.app.leave_trace', args={json.dumps([str(trace)])!r}, "
            + ", ".join(f"{name}={value}" for name, value in fields.items())
            + ").save()"
        )
        done = manage(home, "shell", "--no-imports", "--command", code)
        assert done.returncode == 0, done.stderr

    return add


def last_run(home: Path) -> Any:
    with contextlib.closing(sqlite3.connect(home / "homerack.db")) as connection:
        return connection.execute("SELECT last_run_at FROM django_celery_beat_periodictask").fetchone()[0]


def test_schedule_of_one_second_starts_its_task(
    home: Path, trace: Path, schedule: Callable[..., None], redis_url: str
) -> None:
    schedule(interval="IntervalSchedule.objects.create(every=1, period='seconds')")
    with (
        running(home, "worker", *WORKER, REDIS_URL=redis_url) as worker,
        running(home, "beat", *BEAT, REDIS_URL=redis_url),
    ):
        wait_for(lambda: trace.exists() and len(trace.read_text().splitlines()) >= 2, worker)
        # The start is recorded at once, so that a killed beat does not repeat it.
        assert last_run(home)


def test_overdue_schedule_starts_when_beat_starts(home: Path, schedule: Callable[..., None], redis_url: str) -> None:
    """Also when the hour of the schedule is far from now on the clock."""
    hour = (dt.datetime.now(dt.UTC) - dt.timedelta(hours=6)).hour
    schedule(
        crontab=f"CrontabSchedule.objects.create(minute='0', hour='{hour}', timezone='UTC')",
        last_run_at="__import__('django.utils.timezone').utils.timezone.now() - __import__('datetime').timedelta(2)",
    )
    assert checks(home, redis_url)["schedules"]["error"] == "MissedSchedules"
    before = last_run(home)
    with running(home, "beat", *BEAT, REDIS_URL=redis_url) as beat:
        wait_for(lambda: last_run(home) != before, beat)
    assert checks(home, redis_url)["schedules"] == {"status": "healthy"}


def checks(home: Path, redis_url: str) -> dict[str, dict[str, str]]:
    outcome = manage(home, "check_database", "--json", REDIS_URL=redis_url)
    found: dict[str, dict[str, str]] = json.loads(outcome.stdout)["checks"]
    return found


def is_seen(home: Path, redis_url: str, name: str) -> Callable[[], bool]:
    return lambda: checks(home, redis_url)[name] == {"status": "healthy"}


def test_health_distinguishes_worker_and_beat(home: Path, redis_url: str) -> None:
    def is_only(name: str, process: Running) -> None:
        wait_for(lambda: READY[name] in process.output, process)
        wait_for(is_seen(home, redis_url, name), process)
        missing = {"worker": "beat", "beat": "worker"}[name]
        assert checks(home, redis_url)[missing]["status"] == "degraded"

    with running(home, "worker", *WORKER, REDIS_URL=redis_url) as worker:
        is_only("worker", worker)
    with running(home, "beat", *BEAT, REDIS_URL=redis_url) as beat:
        is_only("beat", beat)


def test_standby_beat_takes_over_when_the_leader_ends(
    home: Path, schedule: Callable[..., None], redis_url: str
) -> None:
    """Also when the leader is killed and cannot release the lock."""
    schedule(interval="IntervalSchedule.objects.create(every=1, period='seconds')")
    settings = {"REDIS_URL": redis_url, "LOCK_SECONDS": "3"}
    with running(home, "first", *BEAT, **settings) as first:
        wait_for(lambda: "Acquired the scheduler lock." in first.output, first)
        with running(home, "second", *BEAT, **settings) as second:
            wait_for(lambda: "beat: Starting..." in second.output, second)
            before = last_run(home)
            wait_for(lambda: last_run(home) != before, first)
            assert "Acquired the scheduler lock." not in second.output
            first.end_with(signal.SIGKILL)
            second.process.send_signal(signal.SIGSTOP)
            wait_for(lambda: checks(home, redis_url)["beat"].get("error") == "NoBeat", second)
            second.process.send_signal(signal.SIGCONT)
            wait_for(lambda: "Acquired the scheduler lock." in second.output, second)
            before = last_run(home)
            wait_for(lambda: last_run(home) != before, second)
            assert second.end_with(signal.SIGTERM) == 0
    with redis.Redis.from_url(redis_url) as client:
        assert not client.exists("ops:beat")
