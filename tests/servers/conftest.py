"""A server that tests of this directory set up as others have theirs; each leaves it as it was."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.backups.postgresql.support import LAB
from tests.engine_migration.support import Database, new_name
from tests.servers.support import at
from tests.support.postgres import PostgresServer

Make = Callable[..., Database]
"""The fixture `make_database`: takes the role that owns the database and its tables."""


@pytest.fixture(autouse=True)
def databases_are_open(django_db_blocker: Any) -> Iterator[None]:
    """These tests create their own databases, so pytest-django need not block the default one."""
    with django_db_blocker.unblock():
        yield


@pytest.fixture(scope="session")
def server() -> Iterator[PostgresServer]:
    # gettext reads the variable LANGUAGE for every locale but C.
    server = PostgresServer.start("lc_messages = 'C.UTF-8'", "wal_level = replica", "max_wal_senders = 2", auth="md5")
    yield server
    server.stop()


@pytest.fixture
def admin(server: PostgresServer) -> Database:
    """The database through which others are made, as a superuser."""
    return at(server, "postgres")


@pytest.fixture
def make_database(server: PostgresServer, admin: Database) -> Iterator[Make]:
    """Creates a role with these options and a database of its own with a few tables. Returns the database."""
    roles: list[str] = []

    def make(*options: str) -> Database:
        role = new_name()
        admin.rows(f"CREATE ROLE {role} LOGIN PASSWORD '{role}' {' '.join(options)}")
        roles.append(role)
        admin.rows(f"CREATE DATABASE {role} OWNER {role} TEMPLATE template0")
        database = at(server, role, user=role, password=role)
        database.rows(LAB)
        return database

    yield make
    for role in roles:
        for (name,) in admin.rows("SELECT datname FROM pg_database WHERE datname ~ %s", [f"^{role}(_|$)"]):
            admin.rows(f'DROP DATABASE "{name}" WITH (FORCE)')
        admin.rows(f"DROP OWNED BY {role}")
        admin.rows(f"DROP ROLE {role}")
