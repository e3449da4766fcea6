"""On a server with synchronous replication, a restore is reported as done when a standby has received it."""

import contextlib
import io
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from psycopg2.errors import QueryCanceled

from ops.backups.manifest import Kind
from ops.databases.postgres.connection import parse_url
from ops.utils.progress import no_progress
from tests.backups.postgresql import support
from tests.backups.postgresql.support import Database
from tests.support.postgres import PostgresServer

WAITING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
COMMIT = "SELECT pg_logical_emit_message(true, '', '')"
LIMIT = 0.5
"""Seconds."""


def database(url: str) -> Database:
    return Database(address=parse_url(url), url=url)


@pytest.fixture(scope="module")
def administrator() -> Iterator[Database]:
    """On a server whose commits wait for standbys, as soon as it has the name of one."""
    server = PostgresServer.start("wal_level = replica", "max_wal_senders = 2", "synchronous_commit = on")
    yield database(server.url("postgres"))
    server.stop()


@contextlib.contextmanager
def missing_standby(administrator: Database) -> Iterator[Callable[[Callable[[], object]], None]]:
    """Start a function in a thread with what is returned, which fails unless the function waits for a standby."""
    threads: list[threading.Thread] = []
    stop = threading.Event()

    def require_wait(function: Callable[[], object]) -> None:
        threads.append(threading.Thread(target=function))
        threads[-1].start()
        deadline = time.monotonic() + 10
        while (waiting := administrator.value(WAITING)) < len(threads) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert waiting == len(threads)

    def commit() -> None:
        """Until a commit waits: the server takes a moment to read its settings again."""
        while not stop.is_set():
            administrator.rows(COMMIT)

    administrator.rows("ALTER SYSTEM SET synchronous_standby_names = 'missing'")
    administrator.rows("SELECT pg_reload_conf()")
    try:
        require_wait(commit)
        yield require_wait
    finally:
        stop.set()
        administrator.rows("ALTER SYSTEM RESET synchronous_standby_names")
        administrator.rows("SELECT pg_reload_conf()")
        for thread in threads:
            thread.join()


@pytest.mark.parametrize("option", ["CREATEDB", "NOCREATEDB"])
def test_restore_waits_for_a_standby(administrator: Database, option: str) -> None:
    """By a role that may create databases, and by one that replaces the schema."""
    name = f"lab_{option.lower()}"
    administrator.rows(f"CREATE ROLE {name} LOGIN {option} PASSWORD 'x'")
    administrator.rows(f"CREATE DATABASE {name} OWNER {name}")
    address = administrator.address
    owner = database(f"postgresql://{name}:x@{address.host}:{address.port}/{name}")
    owner.rows(support.LAB)
    engine = support.engine_of(owner)
    dump, _ = support.dump_of(engine)
    owner.rows("DELETE FROM device")

    with engine.locked("test"), engine.swap_strategy().scratch(for_swap=True) as scratch:
        scratch.load(io.BytesIO(dump), kind=Kind.SQL, on_progress=no_progress)
        scratch.keep_properties()
        with missing_standby(administrator) as require_wait:
            require_wait(lambda: scratch.swap(run="run-1", backup="backup-1"))

    assert owner.value("SELECT count(*) FROM device") == 500


def test_statement_timeout_does_not_end_a_commit_that_waits(administrator: Database) -> None:
    """The COMMIT would be acknowledged, with a warning, though no standby has it."""
    limited = database(f"{administrator.url}?options=-c%20statement_timeout%3D{LIMIT}s")
    with pytest.raises(QueryCanceled):
        limited.rows("SELECT pg_sleep(10)")
    with missing_standby(administrator) as require_wait:
        require_wait(lambda: limited.rows(COMMIT))
        time.sleep(3 * LIMIT)
        assert administrator.value(WAITING) == 2
