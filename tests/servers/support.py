"""Databases of other servers than that of the tests."""

from ops.databases.postgres.connection import parse_url
from tests.engine_migration.support import Database
from tests.support.postgres import PASSWORD, PostgresServer


def at(server: PostgresServer, name: str, *, user: str = "homerack", password: str = PASSWORD) -> Database:
    """The database `name` of `server`, which need not exist."""
    url = server.url(name, user=user, password=password)
    return Database(address=parse_url(url), url=url)
