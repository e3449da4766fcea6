"""Several hosts in one address: the pool follows the server that is writable."""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import psycopg2
import pytest
from django.db import InternalError, OperationalError

from homerack.postgresql import retry, retry_budget, session
from homerack.postgresql.base import DatabaseWrapper
from homerack.postgresql.retry_budget import REQUEST, with_budget
from tests.support.backend import eventually, make_wrapper, query
from tests.support.postgres import PostgresServer


@dataclass
class Pair:
    """A primary server and its standby."""

    primary: PostgresServer
    standby: PostgresServer

    def wrapper(self, *servers: PostgresServer, **overrides: Any) -> DatabaseWrapper:
        """Of an address with these servers, by default first the standby."""
        hosts = servers or (self.standby, self.primary)
        options = {"target_session_attrs": "read-write"} | overrides.pop("OPTIONS", {})
        return make_wrapper(
            self.primary.url("postgres"),
            HOST=",".join("127.0.0.1" for _ in hosts),
            PORT=",".join(str(server.port) for server in hosts),
            OPTIONS=options,
            **overrides,
        )


@contextlib.contextmanager
def new_pair() -> Iterator[Pair]:
    primary = PostgresServer.start("wal_level = replica", "max_wal_senders = 2", auth="trust")
    standby = primary.copy("-R")
    standby.launch()
    try:
        yield Pair(primary, standby)
    finally:
        for server in (standby, primary):
            server.stop()


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    """Two servers that the tests leave as they are."""
    with new_pair() as pair:
        yield pair


def port(wrapper: DatabaseWrapper) -> int:
    return int(query(wrapper, "SELECT inet_server_port()"))


def promote(server: PostgresServer) -> None:
    with contextlib.closing(psycopg2.connect(server.url("postgres"))) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT pg_promote()")


def answer_of_request(wrapper: DatabaseWrapper, meanwhile: Callable[[], object]) -> int:
    """What a request gets that begins before `meanwhile`."""
    answers: list[object] = []

    def request() -> None:
        mine = DatabaseWrapper(wrapper.settings_dict, wrapper.alias)
        try:
            with with_budget(REQUEST):
                answers.append(port(mine))
        except Exception as error:  # noqa: BLE001  # shown by the test
            answers.append(error)
        mine.close()

    asker = threading.Thread(target=request)
    asker.start()
    time.sleep(0.3)
    meanwhile()
    asker.join()
    (answer,) = answers
    assert isinstance(answer, int), answer
    return answer


def test_request_waits_for_the_promotion_of_the_standby() -> None:
    with new_pair() as pair:
        wrapper = pair.wrapper()
        assert port(wrapper) == pair.primary.port
        wrapper.close()
        pair.primary.halt()
        assert answer_of_request(wrapper, lambda: promote(pair.standby)) == pair.standby.port
        wrapper.close_pool()


def test_no_writable_server_is_a_reason_to_wait_and_says_so(pair: Pair, caplog: pytest.LogCaptureFixture) -> None:
    for attribute in ("read-write", "primary"):
        params = {"dsn": pair.standby.url("postgres"), "target_session_attrs": attribute}
        with pytest.raises(psycopg2.OperationalError) as refused:
            psycopg2.connect(**params)
        assert retry.transient_reason(refused.value, params) == "no server is writable yet"
    wrapper = pair.wrapper(pair.standby)
    with pytest.raises(OperationalError, match="session is read-only"), with_budget(REQUEST):
        query(wrapper, "SELECT 1")
    assert "PostgreSQL cannot be reached (no server is writable yet): attempt 1 failed" in caplog.text


def test_host_that_refuses_the_password_is_permanent_among_standbys(pair: Pair, url: str) -> None:
    """The shared server has another password for this role."""
    stranger = int(url.rpartition(":")[2].partition("/")[0])
    wrapper = make_wrapper(
        pair.primary.url("postgres", password="wrong"),
        HOST="127.0.0.1,127.0.0.1",
        PORT=f"{pair.standby.port},{stranger}",
        OPTIONS={"target_session_attrs": "read-write"},
        CONNECT_RETRY={"ATTEMPTS": 50, "DELAY": 5},
    )
    began = time.monotonic()
    with pytest.raises(OperationalError, match="password authentication failed"):
        query(wrapper, "SELECT 1")
    assert time.monotonic() - began < 3


def test_session_of_a_server_that_only_reads_is_not_handed_out(pair: Pair) -> None:
    wrapper = pair.wrapper()
    query(wrapper, "SELECT 1")
    before = wrapper.connection
    assert not session.reports_read_only(before)
    with contextlib.closing(psycopg2.connect(pair.primary.url("postgres"))) as connection:
        connection.autocommit = True
        connection.cursor().execute("ALTER SYSTEM SET default_transaction_read_only = on")
        connection.cursor().execute("SELECT pg_reload_conf()")
        try:
            eventually(lambda: query(wrapper, "SHOW default_transaction_read_only") == "on")
            wrapper.close()  # within the second in which no ping would be due
            with pytest.raises(OperationalError, match="session is read-only"):
                wrapper.ensure_connection()
        finally:
            connection.cursor().execute("ALTER SYSTEM RESET default_transaction_read_only")
            connection.cursor().execute("SELECT pg_reload_conf()")
    assert before.closed


def test_standby_reports_that_it_only_reads_until_it_is_promoted() -> None:
    """With the answer to each statement, and so to the reset of a session."""
    with new_pair() as pair:
        wrapper = make_wrapper(pair.standby.url("postgres"))
        query(wrapper, "SELECT 1")
        assert session.reports_read_only(wrapper.connection)
        promote(pair.standby)
        query(wrapper, "SELECT 1")
        assert not session.reports_read_only(wrapper.connection)
        wrapper.close()
        wrapper.close_pool()


def test_refused_write_has_the_sessions_of_that_server_replaced(pair: Pair) -> None:
    """The others do not know yet: a server reports a change with its next answer."""
    wrappers = [pair.wrapper(POOL={"SIZE": 3})]
    wrappers += [DatabaseWrapper(wrappers[0].settings_dict, wrappers[0].alias) for _ in range(2)]
    for wrapper in wrappers:
        query(wrapper, "SELECT 1")
    connections = [wrapper.connection for wrapper in wrappers]
    for wrapper in wrappers[1:]:
        wrapper.close()
    query(wrappers[0], "SET default_transaction_read_only = on")
    with pytest.raises(InternalError, match="read-only transaction"):
        query(wrappers[0], "CREATE TABLE refused (id int)")
    wrappers[0].close()
    for wrapper in wrappers:
        wrapper.ensure_connection()
        assert wrapper.connection not in connections
    for wrapper in wrappers:
        wrapper.close()


def test_read_only_session_is_kept_where_the_settings_ask_for_no_writable_server(pair: Pair) -> None:
    wrapper = make_wrapper(pair.standby.url("postgres"))
    query(wrapper, "SELECT 1")
    before = wrapper.connection
    with pytest.raises(InternalError, match="read-only transaction"):
        query(wrapper, "CREATE TABLE refused (id int)")
    wrapper.close()
    wrapper.ensure_connection()
    assert wrapper.connection is before
    wrapper.close()


def test_frozen_host_before_the_writable_one_costs_its_time_once(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry_budget, "_statements_are_limited", True)
    monkeypatch.setattr(session, "_accepted_last", {})
    wrapper = pair.wrapper(pair.standby, pair.primary, STATEMENT_TIMEOUT=10)
    assert pair.standby.process
    os.kill(pair.standby.process.pid, signal.SIGSTOP)
    try:
        took = []
        for _ in range(2):
            began = time.monotonic()
            assert port(wrapper) == pair.primary.port
            took.append(time.monotonic() - began)
            wrapper.close()
            wrapper.close_pool()
    finally:
        os.kill(pair.standby.process.pid, signal.SIGCONT)
    assert 1.5 < took[0] < 6
    assert took[1] < 1
    wrapper.close()


def test_address_with_several_hosts_keeps_its_order_and_form() -> None:
    params = {"host": "a,b,c", "port": "1,2,3", "hostaddr": ""}
    seen: list[dict[str, Any]] = []

    class Reached:
        def __init__(self, host: str, number: int) -> None:
            self.info = type("Info", (), {"host": host, "port": number})

    def connect(params: dict[str, Any], host: str, number: int) -> dict[str, Any]:
        def by(**given: Any) -> Reached:
            seen.append(given)
            return Reached(host, number)

        session.connect(params, by=by)
        return seen[-1]

    assert connect(params, "b", 2)["host"] == "a,b,c"
    assert (connect(params, "b", 2)["host"], seen[-1]["port"]) == ("b,a,c", "2,1,3")
    assert params["host"] == "a,b,c"
    assert (connect({"host": "a,b", "port": "5"}, "b", 5)["port"], seen[-1]["host"]) == ("5,5", "a,b")
    assert connect({"host": "a,b", "port": "5"}, "b", 5)["host"] == "b,a"
    with_addresses = {"host": "a,b", "hostaddr": "::1,127.0.0.1"}
    for _ in range(2):
        assert connect(with_addresses, "b", 5) == with_addresses
    assert connect({"host": "a", "port": "5"}, "a", 5) == {"host": "a", "port": "5"}
    assert connect({"dbname": "lab"}, "/run", 5432) == {"dbname": "lab"}
