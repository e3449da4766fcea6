"""The health endpoints under gunicorn answer within 2 seconds during outages, and give no addresses away."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pytest_django.plugin import DjangoDbBlocker

from ops.databases.migration_state import run_migrations
from ops.databases.override import override_database
from ops.databases.postgres.connection import parse_url
from tests.support.backend import eventually
from tests.support.postgres import PASSWORD, PostgresServer
from tests.support.redis import RedisServer
from tests.support.replayed_migrations import replaying
from tests.support.web import Response, WebServer

PROMISED = 2.0
GUNICORN_THREADS = 48
FULL = "/health/full/?format=json"
PATHS = ("/health/", "/health/ready/", FULL, "/health/")


@pytest.fixture(scope="module")
def database_url(server: PostgresServer, statements_of_migrate: Path, django_db_blocker: DjangoDbBlocker) -> str:
    """That of a database which is migrated."""
    url = server.url("postgres")
    with django_db_blocker.unblock(), override_database(parse_url(url).wrapper()):
        replaying(run_migrations, statements_of_migrate)()
    return url


@pytest.fixture(scope="module")
def web(database_url: str, redis_server: RedisServer) -> Iterator[WebServer]:
    web = WebServer.start(
        *("--threads", str(GUNICORN_THREADS)),
        application="tests.support.blocking_server",
        DATABASE_URL=database_url,
        REDIS_URL=redis_server.url(),
        DB_POOL_SIZE="2",
        DB_MAX_OVERFLOW="1",
    )
    yield web
    web.stop()


def secrets(server: PostgresServer, redis_server: RedisServer) -> tuple[str, ...]:
    ports = str(server.port), str(redis_server.port)
    return ("127.0.0.1", *ports, PASSWORD, redis_server.password, "user", str(Path.cwd()))


@pytest.fixture
def probe(web: WebServer, server: PostgresServer, redis_server: RedisServer) -> Callable[[str], Response]:
    """GET a path: the answer is in time, and has no secrets."""

    def get(path: str) -> Response:
        answer = web.get(path)
        assert answer.seconds < PROMISED
        assert not [secret for secret in secrets(server, redis_server) if secret in answer.text]
        return answer

    return get


def recovers(web: WebServer) -> None:
    eventually(lambda: web.get("/health/").json["checks"]["database"] == {"status": "healthy"}, within=15)


def test_stopped_server_is_unhealthy(web: WebServer, server: PostgresServer, probe: Callable[[str], Response]) -> None:
    server.halt()
    try:
        answers = {path: probe(path) for path in PATHS}
        assert {answer.status for answer in answers.values()} == {503}
        health = answers["/health/"].json
        assert (health["status"], health["query_time_ms"]) == ("unhealthy", None)
        assert health["checks"]["database"] == {"status": "unhealthy", "error": "OperationalError"}
        assert answers[FULL].json["database"] == "Unavailable: OperationalError"
        assert probe("/health/live/").status == 200
    finally:
        server.launch()
    recovers(web)


def test_frozen_server_is_unhealthy(web: WebServer, server: PostgresServer, probe: Callable[[str], Response]) -> None:
    server.freeze()
    try:
        answers = [probe(path) for path in PATHS]
        assert {answer.status for answer in answers} == {503}
        assert answers[0].json["checks"]["database"] == {"status": "unhealthy", "error": "TimeoutError"}
        assert answers[2].json["database"] == "Unavailable: TimeoutError"
        assert answers[1].seconds < 0.5  # the query still runs: no one waits for it a second time
        assert probe("/health/live/").seconds < 0.5
    finally:
        server.thaw()
    recovers(web)


def test_frozen_server_with_a_session_cookie_is_answered_in_time(web: WebServer, server: PostgresServer) -> None:
    """Whether the user is staff is in the database, too."""
    server.freeze()
    try:
        answer = web.get("/health/", Cookie="sessionid=abcdefghijklmnopqrstuvwxyz012345")
    finally:
        server.thaw()
    assert (answer.status, answer.seconds < PROMISED) == (503, True)
    recovers(web)


def test_silent_port_is_unhealthy(redis_server: RedisServer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        address = f"postgres://hidden-user:hidden-password@127.0.0.1:{port}/hidden-name"
        web = WebServer.start("--threads", "4", DATABASE_URL=address, REDIS_URL="")
        try:
            for path in PATHS:
                answer = web.get(path)
                assert answer.status == 503
                assert answer.seconds < PROMISED
                assert "hidden" not in answer.text
                assert "127.0.0.1" not in answer.text
        finally:
            web.stop()


def test_exhausted_pool_is_degraded(web: WebServer, probe: Callable[[str], Response]) -> None:
    """A connection outside of the pool shows that the database works."""
    with ThreadPoolExecutor(10) as executor:
        held = [executor.submit(web.get, "/hold/5/") for _ in range(10)]
        eventually(lambda: web.get("/health/").json["pool_info"]["checked_out"] == 3)
        health, ready = probe("/health/"), probe("/health/ready/")
        assert (health.status, health.json["status"], ready.status) == (200, "degraded", 200)
        assert health.json["checks"]["database"] == {"status": "degraded", "error": "PoolExhausted"}
        assert health.json["query_time_ms"] > 0
        assert health.json["pool_info"] == {
            "pool_size": 2,
            "checked_in": 0,
            "checked_out": 3,
            "overflow": 1,
            "total_connections": 3,
        }
        assert probe(FULL).json["database"] == "Warning: PoolExhausted"
        web.get("/release/")
        assert {answer.result().status for answer in held} == {200}
    recovers(web)


def test_probes_are_answered_while_every_web_thread_hangs(
    server: PostgresServer, database_url: str, redis_server: RedisServer
) -> None:
    """Requests that wait for a frozen server use all threads; probes have threads of their own."""
    environment = {"DATABASE_URL": database_url, "REDIS_URL": redis_server.url()}
    web = WebServer.start("--threads", "2", application="tests.support.blocking_server", **environment)
    server.freeze()
    try:
        with ThreadPoolExecutor(6) as executor:
            stuck = [executor.submit(web.get, "/hold/1/") for _ in range(6)]
            time.sleep(0.5)
            assert not any(request.done() for request in stuck)
            for path in ("/health/live/", "/health/", "/health/ready", FULL):
                assert web.get(path).seconds < PROMISED
            server.thaw()
            assert {request.result().status for request in stuck} == {200}
    finally:
        server.thaw()
        web.stop()
    assert web.process.returncode == 0


@pytest.mark.parametrize("fault", ["stopped", "frozen"])
def test_unreachable_redis_is_degraded(
    web: WebServer, server: PostgresServer, redis_server: RedisServer, probe: Callable[[str], Response], fault: str
) -> None:
    if fault == "stopped":
        redis_server.halt()
    else:
        redis_server.freeze()
    try:
        health = probe("/health/")
        assert (health.status, health.json["status"]) == (200, "degraded")
        checks = health.json["checks"]
        assert checks["database"] == {"status": "healthy"}
        assert {checks[name]["status"] for name in ("redis", "worker")} == {"degraded"}
        assert checks["redis"]["error"] == ("ConnectionError" if fault == "stopped" else "TimeoutError")
        assert probe(FULL).json["redis"].startswith("Warning: ")
        assert probe("/health/ready/").status == 200
    finally:
        if fault == "stopped":
            redis_server.launch()
        else:
            redis_server.thaw()
    eventually(lambda: web.get("/health/").json["checks"]["redis"] == {"status": "healthy"}, within=15)


def test_missing_worker_is_degraded(probe: Callable[[str], Response]) -> None:
    assert probe("/health/").json["checks"]["worker"] == {"status": "degraded", "error": "NoWorker"}


def threads_of(web: WebServer) -> int:
    """Threads of gunicorn's one worker process."""
    (child,) = Path(f"/proc/{web.process.pid}/task/{web.process.pid}/children").read_text().split()
    return len(list(Path(f"/proc/{child}/task").iterdir()))


@pytest.mark.slow
@pytest.mark.parametrize("number", [100, pytest.param(1000, marks=pytest.mark.slow)])
def test_many_probes_of_a_frozen_server_share_one_query(web: WebServer, server: PostgresServer, number: int) -> None:
    with ThreadPoolExecutor(40) as executor:
        list(executor.map(lambda _: web.get("/health/"), range(100)))  # every thread of gunicorn exists by now
        recovers(web)
        highest = 0
        server.freeze()
        try:
            start = time.monotonic()
            probes = [executor.submit(web.get, "/health/") for _ in range(number)]
            while not all(probe.done() for probe in probes):
                highest = max(highest, threads_of(web))
                time.sleep(0.05)
            seconds = time.monotonic() - start
        finally:
            server.thaw()
    assert {probe.result().status for probe in probes} == {503}
    # gunicorn's own, and one for each running check: database, redis, worker (with a thread of Celery's) and disk.
    assert highest <= 1 + GUNICORN_THREADS + 5
    assert seconds < 60
    assert web.get("/health/").json["pool_info"]["total_connections"] <= 3
    recovers(web)


def test_concurrent_probes_all_succeed(web: WebServer) -> None:
    barrier = threading.Barrier(20)

    def probe(_: int) -> int:
        with contextlib.suppress(threading.BrokenBarrierError):
            barrier.wait(5)
        return web.get("/health/").status

    with ThreadPoolExecutor(20) as executor:
        assert set(executor.map(probe, range(20))) == {200}
