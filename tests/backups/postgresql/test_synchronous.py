"""On a server with synchronous replication, a restore is reported as done when a standby has received it."""

import io
import threading
import time
from collections.abc import Iterator

import pytest

from ops.backups.manifest import Kind
from ops.databases.postgres.connection import parse_url
from ops.utils.progress import no_progress
from tests.backups.postgresql import support
from tests.backups.postgresql.support import Database
from tests.support.postgres import PostgresServer

WAITING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
LIVE = "SELECT count(*) FROM device"


@pytest.fixture(scope="module")
def synchronous() -> Iterator[PostgresServer]:
    """A server whose commits wait for standbys, as soon as it has the name of one."""
    server = PostgresServer.start("wal_level = replica", "max_wal_senders = 2", "synchronous_commit = on")
    yield server
    server.stop()


def database(url: str) -> Database:
    return Database(address=parse_url(url), url=url)


@pytest.mark.parametrize("option", ["CREATEDB", "NOCREATEDB"])
def test_restore_waits_for_a_standby(synchronous: PostgresServer, option: str) -> None:
    """By a role that may create databases, and by one that replaces the schema."""
    administrator = database(synchronous.url("postgres"))
    name = f"lab_{option.lower()}"
    administrator.rows(f"CREATE ROLE {name} LOGIN {option} PASSWORD 'x'")
    administrator.rows(f"CREATE DATABASE {name} OWNER {name}")
    owner = database(synchronous.url(name, user=name, password="x"))
    owner.rows(support.LAB)
    engine = support.engine_of(owner)
    dump, _ = support.dump_of(engine)
    owner.rows("DELETE FROM device")

    with engine.locked("test"), engine.swap_strategy().scratch(for_swap=True) as scratch:
        scratch.load(io.BytesIO(dump), kind=Kind.SQL, on_progress=no_progress)
        scratch.keep_properties()
        stop = threading.Event()

        def commit() -> None:
            """Until a commit waits: the server takes a moment to read its settings again."""
            while not stop.is_set():
                administrator.rows("SELECT pg_logical_emit_message(true, '', '')")

        threads = [
            threading.Thread(target=commit),
            threading.Thread(target=scratch.swap, kwargs={"run": "run-1", "backup": "backup-1"}),
        ]
        administrator.rows("ALTER SYSTEM SET synchronous_standby_names = 'missing'")
        administrator.rows("SELECT pg_reload_conf()")
        try:
            for number, thread in enumerate(threads, 1):
                thread.start()
                deadline = time.monotonic() + 10
                while (waiting := administrator.value(WAITING)) < number and time.monotonic() < deadline:
                    time.sleep(0.05)
                assert waiting == number
        finally:
            stop.set()
            administrator.rows("ALTER SYSTEM RESET synchronous_standby_names")
            administrator.rows("SELECT pg_reload_conf()")
            for thread in threads:
                if thread.ident:
                    thread.join()
    assert owner.rows(LIVE) == [(500,)]
