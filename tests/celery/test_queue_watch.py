"""What keeps queued runs from being taken, with a real Redis, worker and beat; and how often that is asked."""

import datetime as dt
import os
import shutil
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import redis
from django.utils import timezone

from ops.health import queue_watch
from ops.health.queue_watch import Fault, QueueState, QueueWatch
from tests.celery.support import Running, running, wait_for
from tests.celery.test_beat import BEAT, READY, WORKER
from tests.support.backend import eventually
from tests.support.broker import forgetting_broker, use_broker
from tests.support.postgres import free_port
from tests.support.redis import RedisServer


@pytest.fixture(scope="module")
def home(migrated: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(shutil.copytree(migrated, tmp_path_factory.mktemp("queue") / "home"))


@pytest.fixture
def watch(settings: Any, redis_server: RedisServer) -> Iterator[QueueWatch]:
    with forgetting_broker():
        use_broker(settings, redis_server.url())
        yield QueueWatch()


@pytest.fixture
def worker(home: Path, redis_server: RedisServer) -> Iterator[Running]:
    with running(home, "worker", *WORKER, REDIS_URL=redis_server.url()) as worker:
        wait_for(lambda: READY["worker"] in worker.output, worker)
        yield worker


@pytest.fixture(scope="module", params=[False, True], ids=["without beat", "with beat"])
def beat(request: pytest.FixtureRequest, home: Path, redis_server: RedisServer) -> Iterator[None]:
    """Beat is connected to Redis as well, and is no worker."""
    if not request.param:
        yield
        return
    with running(home, "beat", *BEAT, REDIS_URL=redis_server.url()) as beat:
        wait_for(lambda: READY["beat"] in beat.output, beat)
        yield


def fault_of(watch: QueueWatch) -> Fault | None:
    state = watch.read()
    return state and state.fault


@pytest.mark.slow
@pytest.mark.usefixtures("beat")
def test_frozen_and_dead_worker_are_told_apart(watch: QueueWatch, worker: Running) -> None:
    eventually(lambda: fault_of(watch) is Fault.NONE, within=20)
    worker.process.send_signal(signal.SIGSTOP)
    try:
        eventually(lambda: fault_of(watch) is Fault.SILENT_WORKER, within=10)
        assert not watch.last.is_certain  # type: ignore[union-attr]
        eventually(lambda: watch.read().is_certain, within=10)  # type: ignore[union-attr]
    finally:
        worker.process.send_signal(signal.SIGCONT)
    eventually(lambda: fault_of(watch) is Fault.NONE, within=20)
    os.kill(worker.process.pid, signal.SIGKILL)
    eventually(lambda: fault_of(watch) is Fault.NO_WORKER, within=10)


def test_no_worker_is_connected(watch: QueueWatch) -> None:
    eventually(lambda: fault_of(watch) is Fault.NO_WORKER)


def test_redis_that_hides_its_clients_does_not_say_that_no_worker_runs(
    watch: QueueWatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_client: object) -> None:
        raise redis.ResponseError("NOPERM")

    monkeypatch.setattr(redis.Redis, "client_list", refuse)
    eventually(lambda: fault_of(watch) is Fault.SILENT_WORKER)


def test_frozen_redis_does_not_hold_up_the_page(watch: QueueWatch, redis_server: RedisServer) -> None:
    redis_server.freeze()
    try:
        start = time.monotonic()
        assert watch.read() is None
        assert time.monotonic() - start < queue_watch.WITHIN + 0.3
        eventually(lambda: fault_of(watch) is Fault.REDIS, within=5)
    finally:
        redis_server.thaw()


def test_closed_port_is_a_fault_of_redis(watch: QueueWatch, settings: Any) -> None:
    use_broker(settings, f"redis://127.0.0.1:{free_port()}/0")
    assert fault_of(watch) is Fault.REDIS
    assert watch.last.is_certain  # type: ignore[union-attr]


def test_many_pages_ask_one_question(watch: QueueWatch, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def find_fault(app: str, _url: str) -> Fault:
        asked.append(app)
        time.sleep(0.2)
        return Fault.NO_WORKER

    monkeypatch.setattr(queue_watch, "find_fault", find_fault)
    with ThreadPoolExecutor(20) as pool:
        states = list(pool.map(lambda _: watch.read(), range(200)))
    assert {state.fault for state in states if state} == {Fault.NO_WORKER}
    assert None not in states
    assert len(asked) == 1


def test_fault_lasts_since_it_was_first_seen(watch: QueueWatch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue_watch, "find_fault", lambda *_: Fault.NO_WORKER)
    monkeypatch.setattr(queue_watch, "INTERVAL", 0)
    first, second = watch.read(), watch.read()
    assert first
    assert second
    assert (second.since, second.asked > first.asked) == (first.since, True)
    long_ago = timezone.now() - dt.timedelta(minutes=5)
    watch.last = QueueState(fault=Fault.NO_WORKER, since=long_ago, asked=long_ago, answered=0)
    third = watch.read()
    assert third
    assert third.since >= second.asked  # nothing is known of the minutes between
