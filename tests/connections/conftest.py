"""Servers to break, and leave to use the database without pytest-django's transaction around it."""

import contextlib
import os
from collections.abc import Iterator

import psycopg2
import pytest
from pytest_django.plugin import DjangoDbBlocker

from tests.support.postgres import PostgresServer

END_SESSIONS = """
SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()
"""


@pytest.fixture(autouse=True)
def _database_access(django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    with django_db_blocker.unblock():
        yield


@pytest.fixture
def url() -> str:
    """A database on the server that all tests share: not to be stopped or changed."""
    return os.environ["DATABASE_URL"].rpartition("/")[0] + "/postgres"


@pytest.fixture(scope="session")
def breakable_server() -> Iterator[PostgresServer]:
    server = PostgresServer.start()
    yield server
    server.stop()


@pytest.fixture
def server(breakable_server: PostgresServer) -> Iterator[PostgresServer]:
    """A server without sessions when the test begins. It may be stopped, frozen and restarted."""
    yield breakable_server
    if breakable_server.process and breakable_server.process.poll() is None:
        breakable_server.thaw()
    else:
        breakable_server.launch()
    with contextlib.closing(psycopg2.connect(breakable_server.url("postgres"))) as connection:
        connection.cursor().execute(END_SESSIONS)
