"""A real Celery worker that forks, on a real Redis."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from celery import Celery

from tests.celery.support import running, wait_for
from tests.support.postgres import PostgresServer
from tests.support.redis import RedisServer


@pytest.fixture(scope="module")
def redis_server() -> Iterator[RedisServer]:
    server = RedisServer.start()
    yield server
    server.stop()


@pytest.fixture
def client(redis_server: RedisServer) -> Iterator[Celery]:
    app = Celery("client", broker=redis_server.url(), backend=redis_server.url(), set_as_current=False)
    yield app
    app.close()


@pytest.fixture
def worker(server: PostgresServer, redis_server: RedisServer, client: Celery, tmp_path: Path) -> Iterator[None]:
    command = ("-m", "celery", "-A", "tests.support.worker", "worker", "--concurrency", "2")
    urls = {"DATABASE_URL": server.url("postgres"), "REDIS_URL": redis_server.url()}
    with running(tmp_path, "worker", *command, **urls, DEBUG="false", DB_POOL_SIZE="2") as process:
        wait_for(lambda: client.control.ping(timeout=0.5, limit=1), process)
        yield


def test_forked_workers_have_connections_of_their_own_and_survive_a_restart(
    worker: None, client: Celery, server: PostgresServer
) -> None:
    def query(number: int, sql: str) -> list[tuple[int, int, str]]:
        sent = [client.send_task("tests.support.worker.query", [sql]) for _ in range(number)]
        return [tuple(task.get(timeout=30)) for task in sent]

    answers = query(20, "SELECT pg_sleep(0.02)")
    assert len({process for process, _, _ in answers}) == 2
    assert len({(process, backend) for process, backend, _ in answers}) == len({backend for _, backend, _ in answers})
    # The next task finds nothing of the last one's session.
    query(4, "SELECT set_config('app.user', 'alice', false)")
    assert {text for _, _, text in query(4, "SELECT coalesce(current_setting('app.user', true), '')")} == {""}
    status = client.send_task("tests.support.worker.look_at_pool").get(timeout=30)
    assert status["checked_out"] == 0
    server.restart()
    assert len(query(10, "SELECT 1")) == 10
