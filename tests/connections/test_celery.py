"""A real Celery worker that forks, on a real Redis."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from celery import Celery

from tests.support.backend import eventually
from tests.support.postgres import PostgresServer, die_with_parent
from tests.support.redis import RedisServer
from tests.support.web import ROOT


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
def worker(server: PostgresServer, redis_server: RedisServer, client: Celery) -> Iterator[None]:
    environment = {"DATABASE_URL": server.url("postgres"), "REDIS_URL": redis_server.url(), "DB_POOL_SIZE": "2"}
    log = Path(tempfile.mkstemp(prefix="homerack-celery-")[1])
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "celery", "-A", "tests.support.worker", "worker", "--concurrency", "2"],
            cwd=ROOT,
            env=os.environ | environment,
            stdout=output,
            stderr=output,
            preexec_fn=die_with_parent,  # noqa: PLW1509  # one system call; nothing else can tell a child to follow
        )
    try:
        eventually(lambda: client.control.ping(timeout=0.5, limit=1), within=40)
        yield
    except AssertionError:
        print(log.read_text())  # noqa: T201
        raise
    finally:
        process.terminate()
        process.wait(timeout=20)
        log.unlink()


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
