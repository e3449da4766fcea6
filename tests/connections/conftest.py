"""Servers to break, and leave to use the database without pytest-django's transaction around it."""

import os
from collections.abc import Iterator

import pytest
from pytest_django.plugin import DjangoDbBlocker

from tests.support.postgres import PostgresServer


@pytest.fixture(autouse=True)
def _database_access(django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    with django_db_blocker.unblock():
        yield


@pytest.fixture
def url() -> str:
    """A database on the server that all tests share: not to be stopped or changed."""
    return os.environ["DATABASE_URL"].rpartition("/")[0] + "/postgres"


@pytest.fixture(scope="module")
def module_server() -> Iterator[PostgresServer]:
    server = PostgresServer.start()
    yield server
    server.stop()


@pytest.fixture
def server(module_server: PostgresServer) -> Iterator[PostgresServer]:
    """A server of the test module's own, running when the test begins. It may be stopped, frozen and restarted."""
    yield module_server
    if module_server.process and module_server.process.poll() is None:
        module_server.thaw()
    else:
        module_server.launch()
