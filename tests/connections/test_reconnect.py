"""Servers that restart, backends that are killed, databases that are renamed: on real ones."""

import threading
from collections.abc import Iterator

import pytest
from django.db import InterfaceError, OperationalError, transaction
from django.db.transaction import TransactionManagementError

from homerack.postgresql.base import DatabaseWrapper
from homerack.postgresql.retry_budget import AS_CONFIGURED, RetryBudget, with_budget
from tests.support.backend import backend_id, eventually, make_wrapper, query
from tests.support.postgres import PostgresServer


@pytest.fixture
def observer(server: PostgresServer) -> Iterator[DatabaseWrapper]:
    wrapper = make_wrapper(server.url("postgres"))
    yield wrapper
    wrapper.close()


def kill(observer: DatabaseWrapper, backend: int) -> None:
    assert query(observer, "SELECT pg_terminate_backend(%s)", backend)
    eventually(lambda: not query(observer, "SELECT count(*) FROM pg_stat_activity WHERE pid = %s", backend))


def use_as_default(wrapper: DatabaseWrapper, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `transaction.atomic` find the wrapper by its alias."""
    monkeypatch.setitem(transaction.connections._connections.__dict__, wrapper.alias, wrapper)


@pytest.mark.parametrize("pool", [{"SIZE": 2}, {"SIZE": 0}], ids=["pool", "no pool"])
def test_backend_killed_between_requests_is_replaced(
    server: PostgresServer, observer: DatabaseWrapper, pool: dict[str, int]
) -> None:
    wrapper = make_wrapper(server.url("postgres"), POOL=pool)
    backend = backend_id(wrapper)
    wrapper.close_if_unusable_or_obsolete()
    kill(observer, backend)  # within the second in which no ping would be due
    assert backend_id(wrapper) != backend
    wrapper.close()


def test_killed_backend_leaves_other_connections_open(server: PostgresServer, observer: DatabaseWrapper) -> None:
    first = make_wrapper(server.url("postgres"))
    second = DatabaseWrapper(first.settings_dict, first.alias)
    killed, spared = backend_id(first), backend_id(second)
    second.close()
    first.close()
    kill(observer, killed)
    backends = {backend_id(first), backend_id(second)}
    assert spared in backends
    assert killed not in backends
    first.close()
    second.close()


def test_without_pre_ping_the_first_statement_fails_and_the_next_works(
    server: PostgresServer, observer: DatabaseWrapper
) -> None:
    wrapper = make_wrapper(server.url("postgres"), CONN_HEALTH_CHECKS=False)
    backend = backend_id(wrapper)
    wrapper.close()
    kill(observer, backend)
    with pytest.raises((OperationalError, InterfaceError)):
        query(wrapper, "SELECT 1")
    assert query(wrapper, "SELECT 1") == 1
    wrapper.close()


@pytest.mark.parametrize("pool", [{"SIZE": 2}, {"SIZE": 0}], ids=["pool", "no pool"])
def test_a_statement_killed_in_the_middle_fails_once(
    server: PostgresServer, observer: DatabaseWrapper, pool: dict[str, int]
) -> None:
    wrapper = make_wrapper(server.url("postgres"), POOL=pool)
    wrapper.inc_thread_sharing()
    backend = backend_id(wrapper)
    killer = threading.Timer(0.3, lambda: kill_by(server, backend))
    killer.start()
    with pytest.raises(OperationalError, match=r"server closed the connection|terminating connection"):
        query(wrapper, "SELECT pg_sleep(20)")
    killer.join()
    assert backend_id(wrapper) != backend
    wrapper.close()


def kill_by(server: PostgresServer, backend: int) -> None:
    other = make_wrapper(server.url("postgres"))
    kill(other, backend)
    other.close()


def test_interrupted_transaction_is_not_repeated(
    server: PostgresServer, observer: DatabaseWrapper, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrapper = make_wrapper(server.url("postgres"))
    use_as_default(wrapper, monkeypatch)
    query(wrapper, "CREATE TABLE cut_off (id int)")
    with pytest.raises(OperationalError), transaction.atomic(using=wrapper.alias):
        query(wrapper, "INSERT INTO cut_off VALUES (1)")
        kill(observer, backend_id(wrapper))
        query(wrapper, "INSERT INTO cut_off VALUES (2)")
    assert query(wrapper, "SELECT count(*) FROM cut_off") == 0
    with transaction.atomic(using=wrapper.alias):
        query(wrapper, "INSERT INTO cut_off VALUES (3)")
    assert query(wrapper, "SELECT count(*) FROM cut_off") == 1
    query(wrapper, "DROP TABLE cut_off")
    wrapper.close()


def test_the_rest_of_a_cut_off_block_does_not_run_on_a_new_connection(
    server: PostgresServer, observer: DatabaseWrapper, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the second half of a transaction would be committed without the first."""
    wrapper = make_wrapper(server.url("postgres"))
    use_as_default(wrapper, monkeypatch)
    with (
        pytest.raises((OperationalError, InterfaceError, TransactionManagementError)),
        transaction.atomic(using=wrapper.alias),
    ):
        kill(observer, backend_id(wrapper))
        with pytest.raises((OperationalError, InterfaceError)):
            query(wrapper, "SELECT 1")
        query(wrapper, "CREATE TABLE second_half (id int)")
    assert query(wrapper, "SELECT to_regclass('second_half')") is None
    wrapper.close()


def test_interrupted_manual_transaction_is_not_continued(server: PostgresServer, observer: DatabaseWrapper) -> None:
    wrapper = make_wrapper(server.url("postgres"))
    wrapper.set_autocommit(False)
    kill(observer, backend_id(wrapper))
    for _ in range(2):
        with pytest.raises((OperationalError, InterfaceError)):
            query(wrapper, "CREATE TABLE half (id int)")
    wrapper.close_if_unusable_or_obsolete()
    assert wrapper.get_autocommit()
    assert query(wrapper, "SELECT to_regclass('half')") is None
    wrapper.close()


def test_server_restart_between_requests_fails_no_request(server: PostgresServer) -> None:
    wrappers = [make_wrapper(server.url("postgres"), POOL={"SIZE": 5, "MAX_OVERFLOW": 0})]
    wrappers += [DatabaseWrapper(wrappers[0].settings_dict, wrappers[0].alias) for _ in range(4)]
    for _ in range(2):
        before = {backend_id(wrapper) for wrapper in wrappers}
        for wrapper in wrappers:
            wrapper.close()
        server.restart()
        assert not before & {backend_id(wrapper) for wrapper in wrappers}
    for wrapper in wrappers:
        wrapper.close()


def test_a_restart_during_a_request_fails_that_request_only(server: PostgresServer) -> None:
    wrapper = make_wrapper(server.url("postgres"))
    wrapper.ensure_connection()
    server.restart()
    with pytest.raises((OperationalError, InterfaceError)):
        query(wrapper, "SELECT 1")
    wrapper.close_if_unusable_or_obsolete()
    assert query(wrapper, "SELECT 1") == 1
    wrapper.close()


def test_command_reconnects_after_a_server_restart(server: PostgresServer) -> None:
    """Without the end of a request, where Django would look: only the statement that meets the loss fails."""
    wrapper = make_wrapper(server.url("postgres"))
    wrapper.ensure_connection()
    server.restart()
    with pytest.raises((OperationalError, InterfaceError)):
        query(wrapper, "SELECT 1")
    assert [query(wrapper, "SELECT 1") for _ in range(3)] == [1, 1, 1]
    wrapper.close()


def test_a_request_waits_for_a_server_that_is_starting(server: PostgresServer) -> None:
    wrapper = make_wrapper(server.url("postgres"), CONNECT_RETRY={"ATTEMPTS": 100, "DELAY": 0.1})
    query(wrapper, "SELECT 1")
    wrapper.close()
    server.halt()
    answers: list[int] = []

    def request() -> None:
        mine = DatabaseWrapper(wrapper.settings_dict, wrapper.alias)
        answers.append(query(mine, "SELECT 1"))
        mine.close()

    asker = threading.Thread(target=request)
    asker.start()
    threading.Event().wait(0.4)
    server.launch()  # not from the other thread: a server ends with the thread that started it
    asker.join()
    assert answers == [1]


def test_reconnect_after_database_rename_succeeds(server: PostgresServer, observer: DatabaseWrapper) -> None:
    """The cut-over of a restore: connections ended, both renames in one transaction."""
    for name in ("live", "fresh"):
        query(observer, f"CREATE DATABASE {name}")
        marker = make_wrapper(server.url(name))
        query(marker, f"CREATE TABLE is_{name} (id int)")
        marker.close()
        marker.close_pool()
    wrapper = make_wrapper(server.url("live"), CONNECT_RETRY={"ATTEMPTS": 100, "DELAY": 0.2})
    assert query(wrapper, "SELECT to_regclass('is_live') IS NOT NULL")
    wrapper.close()
    query(observer, "ALTER DATABASE live ALLOW_CONNECTIONS false")
    query(observer, "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = 'live'")

    def swap() -> None:
        other = make_wrapper(server.url("postgres"))
        other.set_autocommit(False)
        query(other, "ALTER DATABASE live RENAME TO old")
        query(other, "ALTER DATABASE fresh RENAME TO live")
        other.commit()
        other.close()

    swapper = threading.Timer(0.5, swap)
    swapper.start()
    assert query(wrapper, "SELECT to_regclass('is_fresh') IS NOT NULL")
    swapper.join()
    wrapper.close()


@pytest.mark.parametrize("pool", [{"SIZE": 2}, {"SIZE": 0}], ids=["pool", "no pool"])
@pytest.mark.parametrize(
    ("attempts", "budget"),
    [(1, AS_CONFIGURED), (50, RetryBudget(connect_timeout=0)), (50, RetryBudget(connect_timeout=0.2))],
    ids=["one attempt", "no time", "too little time"],
)
def test_connect_that_waits_for_a_rename_succeeds_within_any_budget(
    server: PostgresServer, observer: DatabaseWrapper, attempts: int, budget: RetryBudget, pool: dict[str, int]
) -> None:
    """The server lets it wait until the rename is committed, which may be longer than the budget, and then refuses."""
    for name in ("replaced", "replacement"):
        query(observer, f"CREATE DATABASE {name}")
    wrapper = make_wrapper(server.url("replaced"), CONNECT_RETRY={"ATTEMPTS": attempts}, POOL=pool)
    swap = make_wrapper(server.url("postgres"))
    swap.set_autocommit(False)
    query(swap, "ALTER DATABASE replaced RENAME TO earlier")
    query(swap, "ALTER DATABASE replacement RENAME TO replaced")
    answers: list[str] = []

    def request() -> None:
        with with_budget(budget):
            answers.append(query(wrapper, "SELECT current_database()"))
        wrapper.close()

    wrapper.inc_thread_sharing()
    asker = threading.Thread(target=request)
    asker.start()
    waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'object' AND NOT granted"
    eventually(lambda: query(observer, waiting))
    threading.Event().wait(0.5)
    swap.commit()
    swap.close()
    asker.join()
    wrapper.close_pool()
    for name in ("replaced", "earlier"):
        query(observer, f"DROP DATABASE {name} WITH (FORCE)")
    assert answers == ["replaced"]


def test_session_idle_in_transaction_is_ended_and_replaced(server: PostgresServer) -> None:
    options = {"options": "-c idle_in_transaction_session_timeout=200"}
    wrapper = make_wrapper(server.url("postgres"), OPTIONS=options)
    wrapper.set_autocommit(False)
    backend = backend_id(wrapper)
    threading.Event().wait(0.6)
    with pytest.raises((OperationalError, InterfaceError)):
        query(wrapper, "SELECT 1")
    wrapper.close_if_unusable_or_obsolete()
    assert backend_id(wrapper) != backend
    wrapper.close()
