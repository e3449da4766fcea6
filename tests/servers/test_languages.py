"""Servers that speak German, French, Japanese, Russian: the same retries, hints and messages as with an English one."""

import contextlib
import re
import threading
from collections.abc import Iterator

import psycopg2
import pytest
from django.db import OperationalError

from homerack.postgresql import retry, retry_budget
from ops.databases.postgres import databases
from ops.databases.postgres.connection import server_detail, server_message
from ops.errors import PreconditionFailed
from tests.engine_migration.support import Database
from tests.servers.conftest import Make
from tests.servers.support import at
from tests.support.backend import make_wrapper
from tests.support.postgres import PostgresServer

ASCII_SEVERITY = re.compile(r"\b(FATAL|FEHLER|ERREUR|ERROR)\b|エラー|致命的")


@pytest.fixture(
    scope="module", params=["de", *(pytest.param(other, marks=pytest.mark.slow) for other in ("fr", "ja", "ru"))]
)
def foreign(request: pytest.FixtureRequest, server: PostgresServer) -> Iterator[PostgresServer]:
    """The server, speaking another language."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LANGUAGE", request.param)
        server.restart()
    try:
        if "password authentication failed" in str(refusal(at(server, "postgres", password="wrong"))):
            pytest.skip(f"this PostgreSQL does not speak {request.param}")
        yield server
    finally:
        server.restart()


def refusal(database: Database) -> psycopg2.OperationalError:
    with pytest.raises(psycopg2.OperationalError) as refused:
        database.connect()
    return refused.value


def reason(database: Database) -> str:
    return retry.transient_reason(refusal(database), {"dsn": database.url})


WAITING = "SELECT count(*) FROM pg_locks WHERE NOT granted AND classid = 'pg_database'::regclass"
"""Sessions that are being opened, and wait for the database."""


@contextlib.contextmanager
def closed(admin: Database, name: str) -> Iterator[None]:
    """No session can be opened to the database."""
    admin.rows(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
    try:
        yield
    finally:
        admin.rows(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')


def test_closed_database_and_lack_of_connections_are_transient(
    foreign: PostgresServer, admin: Database, make_database: Make
) -> None:
    database = make_database()
    with closed(admin, database.name):
        assert reason(database) == "database closed for a moment"
    admin.rows(f"ALTER ROLE {database.name} CONNECTION LIMIT 0")
    assert reason(database) == "no free connection"
    admin.rows(f"ALTER ROLE {database.name} CONNECTION LIMIT -1")
    admin.rows(f"ALTER DATABASE {database.name} CONNECTION LIMIT 0")
    assert reason(database) == "no free connection"


def test_server_that_restarts_is_transient(foreign: PostgresServer) -> None:
    seen: dict[str, str] = {}
    stop = threading.Event()
    params = {"dsn": foreign.url("postgres"), "connect_timeout": 5}

    def knock() -> None:
        while not stop.is_set():
            try:
                psycopg2.connect(**params).close()
            except psycopg2.OperationalError as error:
                seen.setdefault(retry.transient_reason(error, params), str(error))

    thread = threading.Thread(target=knock)
    thread.start()
    foreign.restart()
    stop.set()
    thread.join()
    assert "connection refused" in seen
    assert "" not in seen, seen[""]


@pytest.mark.parametrize("change", [{"password": "wrong"}, {"user": "nobody"}, {"name": "nowhere"}])
def test_wrong_address_is_permanent(foreign: PostgresServer, change: dict[str, str]) -> None:
    assert reason(at(foreign, **{"name": "postgres", **change})) == ""


def test_replaced_database_is_reached_at_once(foreign: PostgresServer, admin: Database, make_database: Make) -> None:
    """Whoever connects during the transaction of a swap waits for its end, and is refused then."""
    live, other = make_database().name, make_database().name
    opened: list[str] = []

    def connect() -> None:
        connection = retry.connect_with_retry(
            lambda params: psycopg2.connect(**params),
            {"dsn": foreign.url(live)},
            policy=retry.RetryPolicy(attempts=1),
            budget=retry_budget.AS_CONFIGURED,
        )
        opened.append(connection.info.dbname)
        connection.close()

    swap = admin.connect()
    swap.autocommit = False
    with contextlib.closing(swap), swap.cursor() as cursor:
        cursor.execute(f"ALTER DATABASE {live} RENAME TO {live}_aside; ALTER DATABASE {other} RENAME TO {live}")
        thread = threading.Thread(target=connect)
        thread.start()
        while not admin.value(WAITING):
            assert thread.is_alive()
        swap.commit()
        thread.join()
    assert opened == [live]
    admin.rows(f"ALTER DATABASE {live} RENAME TO {other}; ALTER DATABASE {live}_aside RENAME TO {live}")


@pytest.mark.parametrize(
    ("change", "hint"),
    [
        ({"password": "wrong"}, "The server answers; the user or the password is wrong."),
        ({"user": "nobody"}, "The server answers; the user or the password is wrong."),
        ({"name": "nowhere"}, "The server answers. Create the database, or correct its name."),
        ({"name": "template0"}, "The server answers. As an administrator: ALTER DATABASE … ALLOW_CONNECTIONS true;"),
    ],
)
def test_refused_connection_has_a_hint(foreign: PostgresServer, change: dict[str, str], hint: str) -> None:
    database = at(foreign, **{"name": "postgres", **change})
    with pytest.raises(PreconditionFailed) as refused:
        database.address.connect()
    assert refused.value.hint.startswith(hint)
    assert not ASCII_SEVERITY.search(refused.value.message)


def test_closed_maintenance_database_is_passed_over(foreign: PostgresServer, make_database: Make) -> None:
    database = make_database()
    with (
        closed(at(foreign, "template1"), "postgres"),
        databases.maintenance_connection(database.address) as connection,
    ):
        assert connection.info.dbname == "template1"


def test_error_of_a_statement_is_reported_without_its_severity(foreign: PostgresServer, make_database: Make) -> None:
    with contextlib.closing(make_database().address.connect()) as connection, connection.cursor() as cursor:
        with pytest.raises(psycopg2.Error) as failed:
            cursor.execute("CREATE TEMP TABLE t (x int UNIQUE); INSERT INTO t VALUES (1), (1)")
        message, detail = server_message(failed.value), server_detail(failed.value)
    assert "t_x_key" in message
    assert "(x)=(1)" in detail
    assert not ASCII_SEVERITY.search(message + detail)


def test_retry_ends_with_the_error_of_the_server(foreign: PostgresServer, admin: Database, make_database: Make) -> None:
    database = make_database()
    wrapper = make_wrapper(database.url, CONNECT_RETRY={"ATTEMPTS": 2, "DELAY": 0.01})
    with closed(admin, database.name), pytest.raises(OperationalError, match=database.name):
        wrapper.ensure_connection()
