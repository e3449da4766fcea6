"""No wait of a web process is longer than its limit, whatever the server does; nothing else is cut."""

import contextlib
import io
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from django.db import OperationalError

from homerack.postgresql import deadlines, retry_budget, session
from homerack.postgresql.base import CommitUnknown, DatabaseWrapper
from homerack.postgresql.deadlines import NoAnswer, WatchedConnection, call_until
from tests.integration.tls_servers import tls_server
from tests.support.backend import backend_id, eventually, make_wrapper, query
from tests.support.postgres import PASSWORD, PostgresServer
from tests.support.proxy import Proxy

LIMIT = 1.0
SLACK = 2.0
"""Seconds that a busy machine may take in addition."""


@pytest.fixture(autouse=True)
def web_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """This process serves requests."""
    monkeypatch.setattr(retry_budget, "_statements_are_limited", True)


def limited(url: str, **overrides: Any) -> DatabaseWrapper:
    return make_wrapper(url, STATEMENT_TIMEOUT=LIMIT, **overrides)


def sibling(wrapper: DatabaseWrapper) -> DatabaseWrapper:
    return DatabaseWrapper(wrapper.settings_dict, wrapper.alias)


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@contextlib.contextmanager
def takes(least: float, most: float) -> Iterator[None]:
    began = time.monotonic()
    yield
    assert least <= time.monotonic() - began < most + SLACK


@contextlib.contextmanager
def frozen(*pids: int) -> Iterator[None]:
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


POOLS = pytest.mark.parametrize("pool", [{"SIZE": 2}, {"SIZE": 0}], ids=["pool", "no pool"])


@POOLS
def test_statement_of_a_frozen_backend_ends_at_the_limit(server: PostgresServer, pool: dict[str, int]) -> None:
    wrapper = limited(server.url("postgres"), POOL=pool)
    backend = backend_id(wrapper)
    silence = r"The server did not answer within 1 s\."
    with frozen(backend), takes(LIMIT, LIMIT), pytest.raises(OperationalError, match=silence) as caught:
        query(wrapper, "SELECT 1")
    assert isinstance(caught.value.__cause__, NoAnswer)
    assert backend_id(wrapper) != backend
    wrapper.close()


def test_slow_statement_is_cancelled_by_the_server_and_keeps_its_session(url: str) -> None:
    wrapper = limited(url)
    backend = backend_id(wrapper)
    with pytest.raises(OperationalError, match="canceling statement due to statement timeout"), takes(0.8, LIMIT):
        query(wrapper, "SELECT pg_sleep(20)")
    assert backend_id(wrapper) == backend
    wrapper.close()


def test_limit_is_for_each_statement(url: str) -> None:
    wrapper = limited(url)
    for _ in range(4):
        query(wrapper, "SELECT pg_sleep(0.4)")
    with wrapper.cursor() as cursor:
        cursor.executemany("SELECT pg_sleep(%s)", [[0.4]] * 4)
    wrapper.set_autocommit(False)
    with wrapper.chunked_cursor() as cursor:
        cursor.execute("SELECT pg_sleep(0.1) FROM generate_series(1, 20)")
        assert sum(len(cursor.fetchmany(5)) for _ in range(4)) == 20
    wrapper.close()


def test_session_idle_for_longer_than_the_limit_stays(url: str) -> None:
    wrapper = limited(url)
    wrapper.set_autocommit(False)
    backend = backend_id(wrapper)
    time.sleep(LIMIT + 3 * deadlines.TICK)
    assert backend_id(wrapper) == backend
    wrapper.close()


def test_fetch_from_a_server_side_cursor_ends_at_the_limit(server: PostgresServer) -> None:
    wrapper = limited(server.url("postgres"))
    backend = backend_id(wrapper)
    cursor = wrapper.chunked_cursor()
    cursor.execute("SELECT generate_series(1, 1000)")
    with frozen(backend), takes(LIMIT, LIMIT), pytest.raises(OperationalError, match="did not answer"):
        cursor.fetchmany(100)
    wrapper.close()


def test_copy_ends_at_the_limit(server: PostgresServer) -> None:
    """Without the limit of the server, which would be first. Also with a client that has much to send."""
    wrapper = limited(server.url("postgres"))
    query(wrapper, "SET statement_timeout = 0")
    with takes(LIMIT, LIMIT), pytest.raises(psycopg2.OperationalError, match="did not answer"), wrapper.cursor() as out:
        out.cursor.copy_expert("COPY (SELECT pg_sleep(20)) TO STDOUT", io.StringIO())
    wrapper.close()
    backend = backend_id(wrapper)
    query(wrapper, "CREATE TEMP TABLE copied (line text)")
    rows = io.StringIO("x" * 99 + "\n" + ("y" * 999 + "\n") * 50_000)
    with frozen(backend), takes(LIMIT, LIMIT), pytest.raises(psycopg2.Error), wrapper.cursor() as into:
        into.cursor.copy_expert("COPY copied FROM STDIN", rows)
    wrapper.close()


def test_statement_over_tls_ends_at_the_limit() -> None:
    with tls_server() as server:
        proxy = Proxy(server.postgres.port)
        wrapper = limited(
            f"postgres://homerack:{PASSWORD}@127.0.0.1:{proxy.port}/postgres", OPTIONS={"sslmode": "require"}
        )
        try:
            assert query(wrapper, "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
            proxy.freeze()
            with takes(LIMIT, LIMIT), pytest.raises(OperationalError, match="did not answer"):
                query(wrapper, "SELECT 1")
        finally:
            wrapper.close()
            proxy.stop()


@POOLS
def test_connecting_to_a_frozen_server_ends_at_the_limit(server: PostgresServer, pool: dict[str, int]) -> None:
    wrapper = limited(server.url("postgres"), POOL=pool)
    server.freeze()
    with takes(LIMIT, LIMIT), pytest.raises(OperationalError, match="timeout expired"):
        query(wrapper, "SELECT 1")
    server.thaw()
    assert query(wrapper, "SELECT 1") == 1
    wrapper.close()


def test_connection_that_comes_too_late_is_closed(server: PostgresServer) -> None:
    observer = make_wrapper(server.url("postgres"))
    query(observer, "SELECT 1")
    wrapper = limited(server.url("postgres"), OPTIONS={"application_name": "late"})
    server.freeze()
    with pytest.raises(OperationalError, match="timeout expired"):
        query(wrapper, "SELECT 1")
    server.thaw()
    eventually(lambda: not query(observer, "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'late'"))
    observer.close()


def test_result_after_the_deadline_is_discarded() -> None:
    discarded: list[str] = []
    go = threading.Event()

    def slow() -> str:
        go.wait()
        return "late"

    with pytest.raises(NoAnswer):
        call_until(time.monotonic() + 0.05, slow, discard=discarded.append)
    go.set()
    eventually(lambda: discarded == ["late"])
    assert call_until(time.monotonic() + 5, lambda: "in time", discard=discarded.append) == "in time"
    with pytest.raises(ZeroDivisionError):
        call_until(time.monotonic() + 5, lambda: 1 / 0, discard=discarded.append)


def test_reset_of_a_frozen_session_does_not_hold_its_thread(
    server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "UPKEEP_SECONDS", 0.3)
    wrapper = limited(server.url("postgres"))
    backend = backend_id(wrapper)
    with frozen(backend), takes(0.3, 0.3):
        wrapper.close()
    assert backend_id(wrapper) != backend
    wrapper.close()


def test_ping_without_a_pool_is_short(server: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "UPKEEP_SECONDS", 0.3)
    wrapper = make_wrapper(server.url("postgres"), STATEMENT_TIMEOUT=20, POOL={"SIZE": 0}, CONN_MAX_AGE=60)
    backend = backend_id(wrapper)
    wrapper.close_if_unusable_or_obsolete()
    with frozen(backend), takes(0.3, 0.3):
        assert backend_id(wrapper) != backend
    wrapper.close()


def test_wait_for_a_slot_ends_at_the_limit(url: str) -> None:
    """As `DB_POOL_TIMEOUT` is longer."""
    holder = limited(url, POOL={"SIZE": 1, "MAX_OVERFLOW": 0, "TIMEOUT": 30})
    holder.ensure_connection()
    with takes(LIMIT, LIMIT), pytest.raises(OperationalError, match=r"No database connection became free within 1 s"):
        sibling(holder).ensure_connection()
    holder.close()


def test_one_frozen_session_has_the_others_replaced(server: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server accepts new sessions. Without that, each idle session would cost a request its time."""
    monkeypatch.setattr("homerack.postgresql.pool.PING_TTL", 60.0)  # no ping
    wrappers = [limited(server.url("postgres"), POOL={"SIZE": 5})]
    wrappers += [sibling(wrappers[0]) for _ in range(4)]
    backends = [backend_id(wrapper) for wrapper in wrappers]
    for wrapper in wrappers:
        wrapper.close()
    with frozen(*backends):
        with takes(LIMIT, LIMIT), pytest.raises(OperationalError, match="did not answer"):
            query(wrappers[0], "SELECT 1")
        with takes(0, 0):
            assert not {backend_id(wrapper) for wrapper in wrappers} & set(backends)
        for wrapper in wrappers:
            wrapper.close()


def test_ping_of_a_frozen_session_has_the_others_replaced(
    server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("homerack.postgresql.pool.PING_TTL", 0.0)
    monkeypatch.setattr(session, "UPKEEP_SECONDS", 0.5)
    wrappers = [limited(server.url("postgres"), POOL={"SIZE": 5})]
    wrappers += [sibling(wrappers[0]) for _ in range(4)]
    backends = [backend_id(wrapper) for wrapper in wrappers]
    for wrapper in wrappers:
        wrapper.close()
    with frozen(*backends), takes(0.5, 0.5):
        assert not {backend_id(wrapper) for wrapper in wrappers} & set(backends)
        for wrapper in wrappers:
            wrapper.close()


def test_request_waits_for_a_server_that_does_not_answer_only_once(server: PostgresServer) -> None:
    proxy = Proxy(server.port)
    wrapper = limited(f"postgres://homerack:{PASSWORD}@127.0.0.1:{proxy.port}/postgres")
    with retry_budget.with_budget(retry_budget.REQUEST):
        proxy.freeze()
        threading.Timer(0.6 * LIMIT, proxy.thaw).start()
        wrapper.ensure_connection()
        assert wrapper.connection.limit <= 0.4 * LIMIT
        proxy.freeze()
        with pytest.raises(OperationalError, match="did not answer"):
            query(wrapper, "SELECT 1")
        assert retry_budget.left_of(LIMIT) == 0
        proxy.thaw()
        wrapper.close()
        with pytest.raises(OperationalError, match="no server accepted a connection in time"):
            query(wrapper, "SELECT 1")
    with retry_budget.with_budget(retry_budget.REQUEST):
        assert query(wrapper, "SELECT 1") == 1
        assert wrapper.connection.limit > 0.9 * LIMIT
    wrapper.close()
    proxy.stop()


@pytest.mark.parametrize("fault", ["cut", "hold"])
def test_commit_whose_answer_is_lost_is_not_reported_as_failed(server: PostgresServer, fault: str) -> None:
    observer = make_wrapper(server.url("postgres"))
    query(observer, "DROP TABLE IF EXISTS lost")
    query(observer, "CREATE TABLE lost (id int)")
    proxy = Proxy(server.port)
    wrapper = limited(f"postgres://homerack:{PASSWORD}@127.0.0.1:{proxy.port}/postgres")
    wrapper.set_autocommit(False)
    query(wrapper, "INSERT INTO lost VALUES (1)")
    proxy.at_commit = fault
    with takes(0, LIMIT), pytest.raises(CommitUnknown, match="it is not known whether the transaction was committed"):
        wrapper.commit()
    eventually(lambda: query(observer, "SELECT count(*) FROM lost") == 1)
    wrapper.close()
    observer.close()
    proxy.stop()


def test_commit_that_the_server_refuses_has_failed(url: str) -> None:
    """The session lives, so nothing is unknown."""
    wrapper = limited(url)
    query(wrapper, "CREATE TEMP TABLE parent (id int PRIMARY KEY)")
    query(wrapper, "CREATE TEMP TABLE child (id int REFERENCES parent DEFERRABLE INITIALLY DEFERRED)")
    wrapper.set_autocommit(False)
    query(wrapper, "INSERT INTO child VALUES (1)")
    with pytest.raises(Exception, match="violates foreign key constraint") as caught:
        wrapper.commit()
    assert not isinstance(caught.value, CommitUnknown)
    wrapper.close()


def test_commands_have_no_limit(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry_budget, "_statements_are_limited", False)
    wrapper = limited(url)
    assert query(wrapper, "SHOW statement_timeout") == "0"
    query(wrapper, f"SELECT pg_sleep({LIMIT + 0.5})")
    assert not isinstance(wrapper.connection, WatchedConnection)
    wrapper.close()


def test_limit_of_zero_is_none(url: str) -> None:
    wrapper = make_wrapper(url, STATEMENT_TIMEOUT=0)
    assert query(wrapper, "SHOW statement_timeout") == "0"
    assert not isinstance(wrapper.connection, WatchedConnection)
    wrapper.close()


def test_closed_connections_leave_no_file_open(url: str) -> None:
    wrapper = limited(url, POOL={"SIZE": 0}, CONN_MAX_AGE=0)
    query(wrapper, "SELECT 1")
    wrapper.close()
    before = open_files()
    for _ in range(10):
        query(wrapper, "SELECT 1")
        wrapper.close()
    assert open_files() <= before  # fewer, where files of earlier tests are closed meanwhile


def test_forked_child_does_not_end_a_statement_of_its_parent(url: str) -> None:
    wrapper = limited(url)
    query(wrapper, "SET statement_timeout = 0")
    raw = wrapper.connection
    raw.limit = 60.0
    raw.deadline = 0.0  # has passed long ago
    child = os.fork() if not raw.expired else 0
    if child == 0:
        # Only the watchdog of this process could look at the connection.
        other = limited(url)
        query(other, "SELECT 1")
        time.sleep(3 * deadlines.TICK)
        os._exit(0)
    raw.deadline = None
    assert os.waitpid(child, 0)[1] == 0
    assert query(wrapper, "SELECT 1") == 1
    wrapper.close()


def test_fetch_does_not_change_in_a_plain_cursor() -> None:
    """Fetching reads what has arrived, so it costs nothing more."""
    assert deadlines.WatchedCursor.fetchone is psycopg2.extensions.cursor.fetchone
