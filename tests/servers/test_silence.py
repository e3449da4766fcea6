"""A server stops answering while an operation holds its lock: what waits for it ends, with the reason."""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import psycopg2
import pytest

from ops.backups.engines.postgresql.engine import PostgresEngine
from ops.databases.postgres import lock, silence
from ops.databases.postgres.connection import ConnectionInfo
from ops.databases.postgres.databases import maintenance_connection
from ops.databases.postgres.lock import LockLost, OutcomeUnknown
from ops.databases.postgres.refusal import Refused
from ops.engine_migration.workers import for_each, suitable_processes
from ops.errors import PreconditionFailed
from tests.engine_migration.support import Database, new_name
from tests.servers.support import at
from tests.support.postgres import PostgresServer
from tests.support.proxy import Proxy

LIMIT = 1.0
SLACK = 3.0
"""Seconds that a busy machine may take in addition."""


@pytest.fixture(scope="module")
def own_server() -> Iterator[PostgresServer]:
    server = PostgresServer.start(auth="trust")
    yield server
    server.stop()


@pytest.fixture(autouse=True)
def short_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(silence, "INTERVAL", 0.2)
    monkeypatch.setattr(silence, "SILENCE", LIMIT)


@pytest.fixture
def database(own_server: PostgresServer) -> Database:
    name = new_name()
    at(own_server, "postgres").rows(f"CREATE DATABASE {name}")
    return at(own_server, name)


@pytest.fixture
def engine(database: Database) -> PostgresEngine:
    return PostgresEngine(database.address)


@contextlib.contextmanager
def frozen(server: PostgresServer) -> Iterator[None]:
    server.freeze()
    try:
        yield
    finally:
        server.thaw()


@contextlib.contextmanager
def ends_within(seconds: float) -> Iterator[None]:
    began = time.monotonic()
    yield
    assert time.monotonic() - began < seconds + SLACK


def execute(session: Any, statement: str) -> None:
    with contextlib.closing(session), session.cursor() as cursor:
        cursor.execute(statement)


def copy_in(session: Any, _statement: str) -> None:
    """Send rows until the server takes no more."""
    with contextlib.closing(session), session.cursor() as cursor:
        cursor.execute("CREATE TEMPORARY TABLE filled (line text)")
        cursor.copy_expert("COPY filled FROM STDIN", Endless())


class Endless:
    def read(self, size: int = 8192) -> str:
        return "x" * (size - 1) + "\n"


def through_django(address: ConnectionInfo, statement: str) -> None:
    wrapper = address.wrapper()
    with contextlib.closing(wrapper), wrapper.cursor() as cursor:
        cursor.execute(statement)


WAITS: dict[str, Callable[[ConnectionInfo], None]] = {
    "statement": lambda address: execute(address.connect(), "SELECT pg_sleep(60)"),
    "COPY": lambda address: copy_in(address.connect(), ""),
    "Django": lambda address: through_django(address, "SELECT pg_sleep(60)"),
}


@pytest.mark.parametrize("kind", WAITS)
def test_everything_that_waits_for_a_frozen_server_ends(
    own_server: PostgresServer, engine: PostgresEngine, kind: str
) -> None:
    errors: list[BaseException] = []

    def wait() -> None:
        try:
            WAITS[kind](engine.address)
        except Exception as error:  # noqa: BLE001
            errors.append(error)

    with engine.locked("test"):
        thread = threading.Thread(target=wait)
        thread.start()
        time.sleep(0.5)
        with frozen(own_server), ends_within(2 * LIMIT):
            thread.join(30)
            assert not thread.is_alive()
            with pytest.raises(LockLost, match=rf"has ended \(the server did not answer for {LIMIT:g} s\)\. Nothing"):
                engine.leftovers()
            # Nothing more is waited for.
            with pytest.raises(Refused, match=rf": the server did not answer for {LIMIT:g} s\.") as refused:
                engine.address.connect()
            assert refused.value.had_answered
    (error,) = errors
    cause = error.__cause__ if kind == "Django" else error
    assert isinstance(cause, psycopg2.Error), error
    if kind != "COPY":
        assert lock.explain(cause) == f"the server did not answer for {LIMIT:g} s"


def test_slow_statements_end_neither_the_session_of_the_lock_nor_another(engine: PostgresEngine) -> None:
    with engine.locked("test"):
        execute(engine.address.connect(), f"SELECT pg_sleep({3 * LIMIT})")
        with engine._server() as session, session.cursor() as cursor:
            cursor.execute(f"SELECT pg_sleep({3 * LIMIT})")
        assert engine.leftovers() == []


def test_frozen_server_is_found_while_the_session_of_the_lock_is_busy(
    own_server: PostgresServer, database: Database
) -> None:
    address = ConnectionInfo(**{**vars(database.address), "options": {"connect_timeout": 2}})
    engine = PostgresEngine(address)
    freeze = threading.Timer(0.5, own_server.freeze)
    freeze.start()
    try:
        # libpq knows no `connect_timeout` below 2 seconds.
        with (
            engine.locked("test"),
            ends_within(LIMIT + 4),
            pytest.raises(LockLost, match="the server did not answer"),
            engine._server() as session,
            session.cursor() as cursor,
        ):
            cursor.execute("SELECT pg_sleep(60)")
    finally:
        freeze.join()
        own_server.thaw()


def test_lost_lock_ends_the_other_sessions(engine: PostgresEngine, database: Database) -> None:
    terminate = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND pid <> pg_backend_pid()"
    other = threading.Timer(0.5, lambda: database.rows(terminate))
    other.start()
    with (
        engine.locked("test"),
        contextlib.closing(engine.address.connect()) as session,
        session.cursor() as cursor,
        ends_within(LIMIT),
    ):
        with pytest.raises(psycopg2.OperationalError) as lost:
            cursor.execute("SELECT pg_sleep(60)")
        with pytest.raises(LockLost) as named:
            engine.leftovers()
        assert f"has ended ({lock.explain(lost.value)}). Nothing" in named.value.message
    other.join()


def test_lock_is_refused_by_a_server_that_does_not_answer(own_server: PostgresServer, database: Database) -> None:
    with maintenance_connection(database.address) as session, frozen(own_server), ends_within(LIMIT):
        refusal = rf"was lost: the server did not answer for {LIMIT:g} s\. Nothing was changed\."
        with pytest.raises(PreconditionFailed, match=refusal), lock.locked(session, database.name):
            pass


def test_time_in_which_this_process_is_stopped_is_not_counted(database: Database) -> None:
    """The server answers meanwhile."""
    child = os.fork()
    if not child:
        code = 1
        try:
            engine = PostgresEngine(database.address)
            with engine.locked("stopped"):
                os.kill(os.getpid(), signal.SIGSTOP)
                time.sleep(3 * LIMIT)
                code = len(engine.leftovers())
        finally:
            os._exit(code)
    assert os.WIFSTOPPED(os.waitpid(child, os.WUNTRACED)[1])
    time.sleep(2 * LIMIT)
    os.kill(child, signal.SIGCONT)
    assert os.waitpid(child, 0)[1] == 0


def test_commit_without_an_answer_has_an_unknown_outcome(own_server: PostgresServer, database: Database) -> None:
    proxy = Proxy(own_server.port)
    proxy.at_commit = "hold"
    address = ConnectionInfo(**{**vars(database.address), "port": str(proxy.port)})
    try:
        with contextlib.closing(address.connect()) as session, session.cursor() as cursor:
            cursor.execute("CREATE TABLE committed ()")
            with ends_within(LIMIT), pytest.raises(OutcomeUnknown) as unknown:
                lock.commit(session, database.name)
        assert f"(the server did not answer for {LIMIT:g} s)" in unknown.value.message
        assert database.tables() == ["committed"]
    finally:
        proxy.stop()


@pytest.mark.slow
def test_relocking_ends_without_a_server(own_server: PostgresServer, engine: PostgresEngine) -> None:
    with (
        engine.locked("test"),
        frozen(own_server),
        ends_within(11),
        pytest.raises(OutcomeUnknown, match="no server has taken writes for 1 s"),
        engine.relocked(within=1),
    ):
        pass


def test_forked_processes_end_with_the_server(own_server: PostgresServer, engine: PostgresEngine) -> None:
    def work(_item: int, _report: Any) -> None:
        execute(engine.address.connect(), "SELECT pg_sleep(60)")

    freeze = threading.Timer(0.8, own_server.freeze)
    without_lock = suitable_processes(1_000_000)
    with engine.locked("test"):
        # The thread that watches the lock does not keep a migration from using all processors.
        assert suitable_processes(1_000_000) == without_lock
        freeze.start()
        try:
            with ends_within(2 * LIMIT + 1), pytest.raises(silence.NoAnswer, match="the server did not answer for"):
                for_each(range(4), work, processes=2, on_progress=lambda _: None, waiting=engine.address.waiting)
        finally:
            freeze.join()
            own_server.thaw()


def test_a_machine_that_is_gone_is_found_by_both_sides(engine: PostgresEngine) -> None:
    with contextlib.closing(engine.address.connect()) as session, session.cursor() as cursor:
        parameters = session.info.dsn_parameters
        names = ("keepalives_idle", "keepalives_interval", "keepalives_count", "tcp_user_timeout")
        assert [parameters[name] for name in names] == ["30", "10", "3", "30000"]
        for name, seconds in (("idle", 30), ("interval", 10), ("count", 3)):
            cursor.execute(f"SELECT setting::int FROM pg_settings WHERE name = 'tcp_keepalives_{name}'")
            assert cursor.fetchone() == (seconds,)


def test_the_url_decides_about_keepalives(database: Database) -> None:
    options = {"keepalives_idle": 7, "tcp_user_timeout": 0, "connect_timeout": 3}
    address = ConnectionInfo(**{**vars(database.address), "options": options})
    with contextlib.closing(address.connect()) as session:
        found = session.info.dsn_parameters
    assert {name: found[name] for name in options} == {name: str(value) for name, value in options.items()}
    assert found["keepalives_interval"] == "10"
