"""A click, whatever Redis does: the page answers in time with the error, and no run stays queued without a worker."""

import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
import redis
from django.db import connection, transaction
from django.http import HttpResponse
from django.test import Client

from ops import operations, tasks
from ops.models import Run
from ops.runs import executor
from ops.utils.single_flight import shared_calls
from tests.admin.support import add_backup, add_run, messages_of
from tests.support.backend import eventually
from tests.support.broker import forgetting_broker, use_broker
from tests.support.postgres import free_port
from tests.support.redis import RedisServer

pytestmark = pytest.mark.django_db

LIST = "/admin/ops/backup/"
MAX_SECONDS = 3.0
"""Seconds until the page answers a click, at most, on a machine that is busy with other tests."""
NO_REDIS = "Cannot start: Redis does not answer. Nothing was queued. Start Redis (REDIS_URL) and try again."
NOT_TAKEN = "The queue is unreachable: Redis does not answer. Nothing was changed."


@pytest.fixture
def server() -> Iterator[RedisServer]:
    server = RedisServer.start()
    yield server
    server.stop()


@pytest.fixture
def broker(settings: Any) -> Iterator[Callable[[str], None]]:
    """Makes this process send its tasks to the Redis at a URL, with the timeouts of the settings."""
    with forgetting_broker():
        yield partial(use_broker, settings)


@pytest.fixture
def click(admin_client: Client, django_capture_on_commit_callbacks: Any) -> Callable[..., HttpResponse]:
    """POST, with the callbacks that run on commit. Fails when the response takes too long."""

    def post(path: str = "make/") -> HttpResponse:
        start = time.monotonic()
        with django_capture_on_commit_callbacks(execute=True):
            answer = admin_client.post(f"{LIST}{path}")
        assert time.monotonic() - start < MAX_SECONDS
        assert answer.status_code == 302
        return answer

    return post


def queued_messages(server: RedisServer) -> int:
    with redis.Redis.from_url(server.url()) as client:
        return client.llen("celery")  # type: ignore[return-value]


class TestRedisIsDown:
    """Before the click."""

    @pytest.mark.parametrize("path", ["make/", "{backup}/verify/", "{backup}/restore-test/"])
    def test_click_shows_error_when_redis_port_is_closed(self, broker: Any, click: Any, path: str) -> None:
        broker(f"redis://127.0.0.1:{free_port()}/0")
        key = add_backup().pk
        answer = click(path.format(backup=key))
        assert messages_of(answer) == [NO_REDIS]
        assert answer.headers["Location"] == (LIST if path == "make/" else f"{LIST}{key}/change/")
        assert not Run.objects.exists()

    def test_click_shows_error_when_redis_never_answers(self, broker: Any, click: Any) -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            broker(f"redis://127.0.0.1:{silent.getsockname()[1]}/0")
            assert messages_of(click()) == [NO_REDIS]
        assert not Run.objects.exists()

    @pytest.mark.parametrize("fault", ["frozen", "wrong password"])
    def test_click_shows_error_when_redis_is_frozen_or_refuses_the_password(
        self, broker: Any, click: Any, server: RedisServer, fault: str
    ) -> None:
        if fault == "frozen":
            broker(server.url())
            server.freeze()
        else:
            broker(server.url().replace(server.password, "wrong"))
        assert messages_of(click()) == [NO_REDIS]
        assert not Run.objects.exists()
        server.thaw()


def refuse_writes(server: RedisServer) -> None:
    with redis.Redis.from_url(server.url()) as client:
        client.config_set("maxmemory", 1)


FAULTS: dict[str, Callable[[RedisServer], None]] = {
    "halted": RedisServer.halt,
    "frozen": RedisServer.freeze,
    "full": refuse_writes,
}


class TestRedisStops:
    """Between the check and the message."""

    @pytest.fixture(params=FAULTS, autouse=True)
    def fault(self, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, server: RedisServer) -> None:
        require_redis = tasks.require_redis

        def check_and_break() -> None:
            require_redis()
            FAULTS[request.param](server)

        monkeypatch.setattr(tasks, "require_redis", check_and_break)

    @pytest.fixture
    def notified(self, monkeypatch: pytest.MonkeyPatch) -> list[Run]:
        runs: list[Run] = []
        monkeypatch.setattr("ops.notifications.alerts.notify_runs", runs.extend)
        return runs

    @pytest.mark.parametrize("is_connected", [False, True])
    def test_run_fails_when_redis_stops_after_the_check(
        self, broker: Any, click: Any, server: RedisServer, notified: list[Run], is_connected: bool
    ) -> None:
        broker(server.url())
        if is_connected:
            tasks.execute_run.apply_async(("none",))
        answer = click()
        run = Run.objects.get()
        assert answer.headers["Location"] == f"/admin/ops/run/{run.pk}/change/"
        assert (run.status, run.error, run.hint) == ("failed", NOT_TAKEN, "Start Redis (REDIS_URL) and try again.")
        assert run.finished_at
        eventually(lambda: notified == [run])


class TestRedisRestarts:
    def test_click_queues_a_run_after_redis_was_restarted(self, broker: Any, click: Any, server: RedisServer) -> None:
        broker(server.url())
        click()
        executor.cancel(Run.objects.get(), by="ada@example.com")
        server.halt()
        assert messages_of(click()) == [NO_REDIS]
        server.launch()
        eventually(lambda: not shared_calls._calls)
        click()
        assert sorted(Run.objects.values_list("status", flat=True)) == ["cancelled", "queued"]
        assert queued_messages(server) == 1


class TestOneQueuedRun:
    """Of each kind."""

    def test_second_click_redirects_to_the_queued_run(self, queue: list[str], click: Any) -> None:
        first, second = click(), click()
        run = Run.objects.get()
        assert first.headers["Location"] == second.headers["Location"] == f"/admin/ops/run/{run.pk}/change/"
        (message,) = messages_of(second)
        assert message == f"Already queued by {run.requested_by}: backup. Nothing else was queued."
        assert set(queue) == {str(run.pk)}

    @pytest.mark.usefixtures("queue")
    def test_message_names_the_backup_of_the_queued_run(self, click: Any) -> None:
        one, other = add_backup(), add_backup()
        click(f"{one.pk}/verify/")
        (message,) = messages_of(click(f"{other.pk}/verify/"))
        assert f": verification of {one.name}. " in message
        assert Run.objects.get().backup == one.name

    def test_runs_of_other_kinds_are_queued_too(self, queue: list[str], click: Any) -> None:
        backup = add_backup()
        for path in ("make/", f"{backup.pk}/verify/", f"{backup.pk}/restore-test/"):
            assert messages_of(click(path)) == []
        assert len(queue) == Run.objects.filter(status="queued").count() == 3

    @pytest.mark.parametrize("status", [status for status in Run.Status if status != "queued"])
    def test_run_is_queued_when_another_of_its_kind_has_started(
        self, queue: list[str], click: Any, status: str
    ) -> None:
        add_run(status=status)
        assert messages_of(click()) == []
        assert len(queue) == 1

    def test_run_is_queued_when_the_other_starts_at_the_same_moment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The database refuses a second queued run, but the first one has started by then."""
        waiting = add_run(status="queued")
        find = type(Run.objects.all()).get
        looked: list[int] = []

        def get_after_it_was_taken(rows: Any, *args: Any, **names: Any) -> Any:
            looked.append(1)
            if len(looked) == 1:
                raise Run.DoesNotExist  # it has not been committed yet
            Run.objects.filter(pk=waiting.pk).update(status="running")
            return find(rows, *args, **names)

        monkeypatch.setattr("django.db.models.query.QuerySet.get", get_after_it_was_taken)
        run, is_new = executor.queue(Run(kind=Run.Kind.BACKUP, requested_by="ada@example.com", origin=Run.Origin.ADMIN))
        assert (is_new, run.pk == waiting.pk) == (True, False)


@pytest.mark.django_db(transaction=True)
def test_one_of_many_simultaneous_requests_is_queued(queue: list[str]) -> None:
    request = Run(kind=Run.Kind.BACKUP, requested_by="ada@example.com", origin=Run.Origin.ADMIN)

    def request_backup(_number: int) -> bool:
        try:
            with transaction.atomic():
                time.sleep(0.05)
                return executor.queue(Run(kind=request.kind, requested_by=request.requested_by, origin=request.origin))[
                    1
                ]
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(request_backup, range(8)))
    assert sorted(made) == [False] * 7 + [True]
    assert Run.objects.count() == 1


class TestRunNow:
    """*Run now* of the schedule whose task is sent itself."""

    @pytest.fixture
    def run_now(self, admin_client: Client, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
        monkeypatch.setattr(operations, "files_expired", lambda: True)

        def post() -> list[str]:
            start = time.monotonic()
            answer = admin_client.post("/admin/ops/run/schedules/run-now/", {"task": "ops.tasks.drop_expired_previous"})
            assert time.monotonic() - start < MAX_SECONDS
            assert answer.status_code == 302
            return messages_of(answer)

        return post

    def test_task_is_sent(self, broker: Any, run_now: Any, server: RedisServer) -> None:
        broker(server.url())
        assert run_now() == ["A worker drops what has expired. The list of runs shows it in a few seconds."]
        assert queued_messages(server) == 1

    def test_error_is_shown_without_redis(self, broker: Any, run_now: Any) -> None:
        broker(f"redis://127.0.0.1:{free_port()}/0")
        assert run_now() == [NO_REDIS]

    def test_error_is_shown_when_redis_stops(
        self, broker: Any, run_now: Any, server: RedisServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        broker(server.url())
        monkeypatch.setattr(tasks, "require_redis", server.halt)
        assert run_now() == ["Redis no longer answers. Nothing was started. Start Redis (REDIS_URL) and try again."]
