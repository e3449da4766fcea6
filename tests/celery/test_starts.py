"""A due task is started once, although several beats send it, and Redis delivers its message again or loses it."""

import contextlib
import datetime as dt
import itertools
import json
import os
import shutil
import signal
import threading
import time
from base64 import b64decode
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import redis
from celery.apps.beat import Beat
from celery.beat import Service
from django.db import OperationalError, connections
from django.utils import timezone
from django_celery_beat.models import IntervalSchedule, PeriodicTask, PeriodicTasks

from homerack.celery import app
from homerack.config.databases import sqlite_options
from ops import tasks
from ops.databases.override import new_wrapper, override_database
from ops.runs.schedule_rows import apply_schedules
from ops.schedules import beat, starts
from ops.schedules.builtin import BUILT_IN
from tests.support.broker import forgetting_broker, use_broker
from tests.support.redis import RedisServer

pytestmark = pytest.mark.django_db(transaction=True)
ROUNDS = 5
OTHER = "celery.ping"
"""A task that is not of ops."""
Database = Callable[[], contextlib.AbstractContextManager[Any]]


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Database:
    """A connection of the calling thread to a database with all schedules, and one of the project's own."""
    if request.param == "sqlite":
        shutil.copytree(request.getfixturevalue("migrated"), tmp_path / "home")
        name = str(tmp_path / "home" / "homerack.db")

        def connected() -> contextlib.AbstractContextManager[Any]:
            return override_database(new_wrapper("django.db.backends.sqlite3", NAME=name, OPTIONS=sqlite_options()))
    else:

        def connected() -> contextlib.AbstractContextManager[Any]:
            return contextlib.closing(connections["default"])

    with connected():
        apply_schedules()
        PeriodicTask.objects.exclude(name__in=[schedule.name for schedule in BUILT_IN]).delete()
        each_minute = IntervalSchedule.objects.create(every=1, period="minutes")
        PeriodicTask.objects.create(name="Own", task=OTHER, interval=each_minute)
    return connected


@pytest.fixture
def queue(redis_server: RedisServer, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator["Queue"]:
    """The queue of a broker whose lock every beat believes to have."""

    def believe(lock: beat.LeaderLock) -> bool:
        lock.is_answered = True
        return True

    monkeypatch.setattr(beat.LeaderLock, "acquire", believe)
    with forgetting_broker(), redis.Redis.from_url(redis_server.url()) as client:
        client.flushall()
        use_broker(settings, redis_server.url())
        yield Queue(client)


class Queue:
    def __init__(self, client: "redis.Redis") -> None:
        self.client = client

    def take(self) -> list[tuple[str, dict[str, Any]]]:
        """The task and the keyword arguments of each message, the oldest first."""
        found = [json.loads(text) for text in reversed(self.client.lrange("celery", 0, -1))]
        self.client.delete("celery")
        return [(message["headers"]["task"], json.loads(b64decode(message["body"]))[1]) for message in found]


class Begun:
    """Counts the starts that workers begin, in place of what the tasks do."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.names: Counter[str] = Counter()
        is_first = tasks.is_first

        def count(schedule: str, number: int) -> bool:
            if is_first(schedule, number):
                self.names[schedule] += 1
            return False

        monkeypatch.setattr(tasks, "is_first", count)


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> Begun:
    return Begun(monkeypatch)


def make_overdue(database: Database) -> None:
    with database():
        PeriodicTask.objects.update(last_run_at=timezone.now() - dt.timedelta(days=8))
        PeriodicTasks.update_changed()


ONCE = {schedule.name: 1 for schedule in BUILT_IN}


def tick_until_idle(scheduler: beat.Scheduler) -> None:
    deadline, idle = time.monotonic() + 60, 0
    while idle < 3:
        assert time.monotonic() < deadline
        idle = idle + 1 if scheduler.tick() else 0


def work(database: Database, messages: list[tuple[str, dict[str, Any]]]) -> None:
    with database():
        for name, arguments in messages:
            if name != OTHER:
                app.tasks[name](**arguments)


@contextlib.contextmanager
def led(database: Database, number: int) -> Iterator[Callable[[], None]]:
    """So many beats in threads; each call lets them tick at the same time until none has anything to do."""
    barrier = threading.Barrier(number + 1)

    def lead() -> None:
        with database(), contextlib.suppress(threading.BrokenBarrierError):
            scheduler = beat.Scheduler(app=app)
            while True:
                barrier.wait(60)
                tick_until_idle(scheduler)
                barrier.wait(60)

    def tick() -> None:
        barrier.wait(60)
        barrier.wait(60)

    with ThreadPoolExecutor(number) as pool:
        beats = [pool.submit(lead) for _ in range(number)]
        try:
            yield tick
        finally:
            barrier.abort()
        for each in beats:
            each.result()


def begun_starts(database: Database) -> dict[str, int]:
    with database():
        return dict(PeriodicTask.objects.values_list("name", "total_run_count"))


def test_two_beats_with_the_lock_start_each_due_task_once(database: Database, queue: Queue, begun: Begun) -> None:
    """Also overdue ones, and although each message is delivered to two workers."""
    before = begun_starts(database)
    with led(database, 2) as tick:
        for _ in range(ROUNDS):
            make_overdue(database)
            begun.names.clear()
            tick()
            messages = queue.take()
            assert Counter(name for name, _ in messages) == {**{each.task: 1 for each in BUILT_IN}, OTHER: 1}
            with ThreadPoolExecutor(2) as workers:
                list(workers.map(lambda _: work(database, messages), range(2)))  # noqa: B023  # ends within the round
            assert begun.names == ONCE
    assert begun_starts(database) == {name: number + ROUNDS for name, number in before.items()}


def test_beat_that_starts_later_starts_nothing_again(database: Database, queue: Queue, begun: Begun) -> None:
    """It has read the rows after the start, and does not know what the first one has sent."""
    make_overdue(database)
    for number in (1, 0):
        with led(database, 1) as tick:
            tick()
        messages = queue.take()
        assert len(messages) == number * (len(BUILT_IN) + 1)
        work(database, messages)
    assert begun.names == ONCE


def test_start_whose_message_was_lost_is_sent_again(database: Database, queue: Queue, begun: Begun) -> None:
    """Until a worker has begun it; that of the project's own task is not, which would be executed twice."""

    def wait_in_vain() -> None:
        for sent in scheduler.sent.values():
            assert beat.SEND_AGAIN_AFTER - 30 < sent.again - time.monotonic() <= beat.SEND_AGAIN_AFTER
            sent.again = 0
        tick_until_idle(scheduler)

    make_overdue(database)
    with database():
        scheduler = beat.Scheduler(app=app)
        tick_until_idle(scheduler)
        lost = queue.take()
        assert len(lost) == len(BUILT_IN) + 1
        wait_in_vain()
        again = queue.take()
        assert again == [message for message in lost if message[0] != OTHER]
        assert {sent.wait for sent in scheduler.sent.values()} == {4 * beat.SEND_AGAIN_AFTER}
        work(database, again + lost)
        for sent in scheduler.sent.values():
            sent.again = 0
        tick_until_idle(scheduler)
        assert (queue.take(), scheduler.sent) == ([], {})
    assert begun.names == ONCE


def test_start_that_has_expired_is_not_sent_again(database: Database, queue: Queue, begun: Begun) -> None:
    make_overdue(database)
    with database():
        scheduler = beat.Scheduler(app=app)
        tick_until_idle(scheduler)
        queue.take()
        for sent in scheduler.sent.values():
            assert 0 < sent.expires - time.monotonic() <= 48 * 3600
            sent.again = sent.expires = 0
        tick_until_idle(scheduler)
        assert (queue.take(), scheduler.sent) == ([], {})


def test_start_that_redis_does_not_take_is_sent_once_it_does(
    database: Database, queue: Queue, begun: Begun, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_args: object, **_options: object) -> None:
        raise redis.ConnectionError

    make_overdue(database)
    with database():
        scheduler = beat.Scheduler(app=app)
        with monkeypatch.context() as broken:
            broken.setattr(scheduler, "apply_async", refuse)
            tick_until_idle(scheduler)
        assert queue.take() == []
        tick_until_idle(scheduler)
        work(database, queue.take())
    assert begun.names == ONCE


def test_start_of_a_schedule_that_was_switched_off_does_not_begin(
    database: Database, queue: Queue, begun: Begun
) -> None:
    make_overdue(database)
    with led(database, 1) as tick:
        tick()
    with database():
        PeriodicTask.objects.filter(name="Prune backups").update(enabled=False)
        assert starts.wanted("Prune backups") is None
    work(database, queue.take())
    assert begun.names == {name: 1 for name in ONCE if name != "Prune backups"}


def test_beat_survives_a_database_that_does_not_answer(
    database: Database, queue: Queue, begun: Begun, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_args: object, **_options: object) -> None:
        raise OperationalError

    make_overdue(database)
    with database():
        scheduler = beat.Scheduler(app=app)
        with monkeypatch.context() as broken:
            broken.setattr(starts, "reserve", refuse)
            assert scheduler.tick() == beat.POLL_INTERVAL
        tick_until_idle(scheduler)
        work(database, queue.take())
    assert begun.names == ONCE


def test_beat_that_is_stopped_at_any_statement_ends_well(
    database: Database, queue: Queue, begun: Begun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By SIGTERM, whose handler closes the scheduler, and also where Django notes its queries, as with DEBUG."""
    released: list[int] = []
    monkeypatch.setattr(beat.LeaderLock, "release", lambda _lock: released.append(1))
    for number in itertools.count(1):
        make_overdue(database)
        with database(), stopping_at(number) as reached:
            connections["default"].force_debug_cursor = True
            service = Service(app, scheduler_cls=beat.Scheduler)
            released.clear()
            Beat(app=app, quiet=True).install_sync_handler(service)
            # Beat would wait for the next due task.
            monkeypatch.setattr(time, "sleep", lambda _seconds: os.kill(os.getpid(), signal.SIGTERM))
            service.start()
            assert released
        work(database, queue.take())
        if not reached():
            break
    assert number > 20


@contextlib.contextmanager
def stopping_at(number: int) -> Iterator[Callable[[], bool]]:
    """SIGTERM after so many statements; whether there were so many."""
    executed = 0

    def count(execute: Callable[..., Any], *arguments: Any) -> Any:
        nonlocal executed
        result = execute(*arguments)
        executed += 1
        if executed == number:
            os.kill(os.getpid(), signal.SIGTERM)
        return result

    before = {each: signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)}
    try:
        with connections["default"].execute_wrapper(count):
            yield lambda: executed >= number
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
