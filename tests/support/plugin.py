"""Starts the PostgreSQL server of a test run before Django reads its settings, and stops it at the end."""

import os

import pytest

from tests.support.postgres import PostgresServer

servers: list[PostgresServer] = []


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests() -> None:
    """Point Django at a fresh server. Workers of pytest-xdist inherit the address of the one that started them."""
    os.environ["SECRET_KEY"] = "only-for-tests-" + "0123456789" * 5
    os.environ["DEBUG"] = "false"
    os.environ["HTTPS"] = "false"
    if "PYTEST_XDIST_WORKER" in os.environ:
        return
    server = PostgresServer.start()
    servers.append(server)
    os.environ["DATABASE_URL"] = server.url("homerack")
    os.environ["PG_BIN"] = str(server.binaries)


def pytest_unconfigure() -> None:
    while servers:
        servers.pop().stop()
