"""Under gunicorn with threads, and with a master that has used the database before it forked."""

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.backend import eventually, make_wrapper, query
from tests.support.postgres import PostgresServer
from tests.support.web import WebServer


@pytest.fixture
def web(server: PostgresServer) -> Iterator[WebServer]:
    web = WebServer.start(
        *("--preload", "--workers", "2", "--threads", "8"),
        application="tests.support.preloaded",
        DATABASE_URL=server.url("postgres"),
        DB_POOL_SIZE="2",
        DB_MAX_OVERFLOW="1",
        DB_POOL_TIMEOUT="10",
    )
    yield web
    web.stop()


def backends(web: WebServer, number: int) -> set[tuple[int, int]]:
    """(process, backend) of many requests at once."""
    with ThreadPoolExecutor(16) as executor:
        answers = list(executor.map(lambda _: web.get("/backend/"), range(number)))
    assert {answer.status for answer in answers} == {200}, web.log.read_text()
    return {(answer.json["process"], answer.json["backend"]) for answer in answers}


def test_no_two_processes_share_a_connection_and_each_keeps_to_its_pool(web: WebServer) -> None:
    seen = backends(web, 200)
    processes = {process for process, _ in seen}
    assert len(processes) == 2
    assert len({backend for _, backend in seen}) == len(seen)  # a backend belongs to one process
    preloaded = int(re.search(r"preloaded with backend (\d+)", web.log.read_text())[1])  # type: ignore[index]
    assert preloaded not in {backend for _, backend in seen}


def test_a_restart_of_the_server_fails_no_later_request(web: WebServer, server: PostgresServer) -> None:
    backends(web, 20)
    server.restart()
    backends(web, 50)


def test_request_checks_in_its_connection(web: WebServer, server: PostgresServer) -> None:
    backends(web, 60)
    observer = make_wrapper(server.url("postgres"), OPTIONS={"application_name": "observer"})
    # Two kept in each of two processes, and the one of the master, which never hands it back.
    sql = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'homerack'"
    eventually(lambda: query(observer, sql) <= 5)
    answers = [web.get("/health/").json["pool_info"] for _ in range(10)]
    assert all(numbers["total_connections"] <= 3 for numbers in answers)
    observer.close()
