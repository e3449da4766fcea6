"""A database with a subscription: the worker that fills it has a session of its role."""

import time
from collections.abc import Iterator

import pytest

from ops.databases.postgres import rename
from ops.errors import PreconditionFailed
from tests.backups.postgresql import support
from tests.servers.support import at
from tests.support.postgres import PASSWORD, PostgresServer

pytestmark = pytest.mark.slow

WORKERS = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'logical replication worker' AND datname = 'lab'"


@pytest.fixture
def publisher() -> Iterator[PostgresServer]:
    """A server on which the subscription of the database ``lab`` reads from the database ``source``."""
    server = PostgresServer.start("wal_level = logical", "max_wal_senders = 4", auth="md5")
    try:
        admin = at(server, "postgres")
        admin.rows("CREATE ROLE maker LOGIN CREATEDB PASSWORD 'pw'")
        for name in ("source", "lab"):
            admin.rows(f"CREATE DATABASE {name} OWNER maker TEMPLATE template0")
            at(server, name).rows("CREATE TABLE item (id int PRIMARY KEY); ALTER TABLE item OWNER TO maker")
        at(server, "source").rows("CREATE PUBLICATION items FOR TABLE item")
        at(server, "source").rows("SELECT pg_create_logical_replication_slot('items', 'pgoutput')")
        where = f"host=127.0.0.1 port={server.port} user=homerack password={PASSWORD} dbname=source"
        at(server, "lab").rows(
            f"CREATE SUBSCRIPTION items CONNECTION '{where}' PUBLICATION items WITH (create_slot = false)"
        )
        wait_for_worker(server)
        yield server
    finally:
        server.stop()


def wait_for_worker(server: PostgresServer) -> None:
    deadline = time.monotonic() + 30
    while not at(server, "postgres").value(WORKERS):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_superuser_ends_the_worker(publisher: PostgresServer) -> None:
    """PostgreSQL renames no database with a session of a worker."""
    admin = at(publisher, "lab")
    with rename.maintenance_connection(admin.address) as connection:
        rename.rename_databases(
            connection, admin.address, renames=[("lab", "moved")], comments={}, live="lab", description=None
        )
    assert at(publisher, "moved").tables() == ["item"]


def test_ordinary_role_gets_the_statement_that_stops_the_worker(publisher: PostgresServer) -> None:
    engine = support.engine_of(at(publisher, "lab", user="maker", password="pw"))
    dump, before = support.dump_of(engine)
    with pytest.raises(PreconditionFailed) as refused:
        support.restore(engine, dump)
    assert str(refused.value) == (
        "Sessions of other roles are connected to lab (homerack), and this role may not end them.\n"
        "Stop the programs that use the database, or run the command as their role. As an administrator, in the"
        " database: ALTER SUBSCRIPTION items DISABLE;"
    )
    at(publisher, "lab").rows(refused.value.hint.partition("database: ")[2])
    assert support.restore(engine, dump) == before
