"""The pool is bounded, waits, and never loses a place."""

import gc
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg2
import pytest
from django.db import OperationalError
from django.db.backends.base.base import NO_DB_ALIAS

from homerack.postgresql import pool as pool_module
from homerack.postgresql.base import DatabaseWrapper
from tests.support.backend import backend_id, eventually, make_wrapper, query


def another_wrapper(wrapper: DatabaseWrapper, **overrides: Any) -> DatabaseWrapper:
    """Another wrapper on the same pool, as another thread would have."""
    return DatabaseWrapper(wrapper.settings_dict | overrides, wrapper.alias)


def numbers(wrapper: DatabaseWrapper) -> tuple[int, int, int, int]:
    """Checked in, checked out, overflow, total."""
    status = wrapper.pool_status()
    assert status is not None
    return status["checked_in"], status["checked_out"], status["overflow"], status["total_connections"]


def test_closed_wrapper_checks_in_its_connection(url: str) -> None:
    first = make_wrapper(url)
    second = another_wrapper(first)
    backend = backend_id(first)
    assert numbers(first) == (0, 1, 0, 1)
    first.close()
    assert numbers(first) == (1, 0, 0, 1)
    assert backend_id(second) == backend
    second.close()


def test_end_of_request_checks_in_the_connection(url: str) -> None:
    wrapper = make_wrapper(url)
    wrapper.ensure_connection()
    wrapper.close_if_unusable_or_obsolete()
    assert wrapper.connection is None
    assert numbers(wrapper) == (1, 0, 0, 1)


def test_overflow_is_opened_under_load_and_closed_after_use(url: str) -> None:
    wrappers = [make_wrapper(url)]
    wrappers += [another_wrapper(wrappers[0]) for _ in range(2)]
    for wrapper in wrappers:
        wrapper.ensure_connection()
    assert numbers(wrappers[0]) == (0, 3, 1, 3)
    for wrapper in wrappers:
        wrapper.close()
    assert numbers(wrappers[0]) == (2, 0, 0, 2)


def test_exhausted_pool_raises_operational_error_with_its_size(url: str) -> None:
    wrappers = [make_wrapper(url)]
    wrappers += [another_wrapper(wrappers[0]) for _ in range(3)]
    for wrapper in wrappers[:3]:
        wrapper.ensure_connection()
    start = time.monotonic()
    with pytest.raises(OperationalError) as caught:
        wrappers[3].ensure_connection()
    assert 0.5 <= time.monotonic() - start < 2
    assert str(caught.value) == (
        f"No database connection became free within 0.5 s: all 3 of the pool {wrappers[0].alias!r} are in use "
        "(size 2, overflow 1). Raise DB_POOL_SIZE or DB_MAX_OVERFLOW, or find what holds the connections."
    )
    wrappers[0].close()
    assert query(wrappers[3], "SELECT 1") == 1
    for wrapper in wrappers[1:]:
        wrapper.close()


def test_waiting_thread_gets_the_next_free_connection(url: str) -> None:
    holder = make_wrapper(url, POOL={"SIZE": 1, "MAX_OVERFLOW": 0, "TIMEOUT": 20})
    holder.ensure_connection()
    waited: list[float] = []

    def wait() -> None:
        start = time.monotonic()
        waiter = another_wrapper(holder)
        query(waiter, "SELECT 1")
        waited.append(time.monotonic() - start)
        waiter.close()

    thread = threading.Thread(target=wait)
    thread.start()
    time.sleep(0.3)
    holder.close()
    thread.join()
    assert 0.25 < waited[0] < 3


def test_forty_threads_share_a_pool_of_five_and_five(url: str) -> None:
    model = make_wrapper(url, POOL={"SIZE": 5, "MAX_OVERFLOW": 5, "TIMEOUT": 30})
    seen: set[int] = set()

    def work(_: int) -> int:
        wrapper = another_wrapper(model)
        for _ in range(5):
            seen.add(backend_id(wrapper))
            query(wrapper, "SELECT pg_sleep(0.005)")
            wrapper.close()
        return 5

    with ThreadPoolExecutor(40) as executor:
        assert sum(executor.map(work, range(40))) == 200
    checked_in, checked_out, overflow, total = numbers(model)
    assert (checked_out, overflow) == (0, 0)
    assert checked_in == total <= 5
    assert len(seen) >= 5


def test_waiting_threads_wake_when_connecting_fails(url: str) -> None:
    """With the server away each waits its turn to find out, not for the whole timeout of the pool."""
    refused = url.rpartition(":")[0] + ":1/postgres"
    model = make_wrapper(refused, POOL={"SIZE": 1, "MAX_OVERFLOW": 0, "TIMEOUT": 20}, CONNECT_RETRY={"ATTEMPTS": 1})

    def fail(_: int) -> str:
        with pytest.raises(OperationalError) as caught:
            another_wrapper(model).ensure_connection()
        return str(caught.value)

    start = time.monotonic()
    with ThreadPoolExecutor(8) as executor:
        assert all("Connection refused" in text for text in executor.map(fail, range(8)))
    assert time.monotonic() - start < 5


def test_failed_connect_frees_its_slot(url: str) -> None:
    refused = make_wrapper(url.rpartition(":")[0] + ":1/postgres", CONNECT_RETRY={"ATTEMPTS": 1})
    for _ in range(10):
        with pytest.raises(OperationalError, match="Connection refused"):
            refused.ensure_connection()
    assert numbers(refused) == (0, 0, 0, 0)


def test_failed_statements_free_their_slot(url: str) -> None:
    wrapper = make_wrapper(url)
    for _ in range(10):
        with pytest.raises(Exception, match="division by zero"):
            query(wrapper, "SELECT 1 / 0")
        wrapper.close_if_unusable_or_obsolete()
    assert numbers(wrapper) == (1, 0, 0, 1)


@pytest.fixture
def little_to_collect() -> None:
    """Garbage collection looks at what the test makes, and not at all that the tests before it have left."""
    gc.collect()
    gc.freeze()


@pytest.mark.usefixtures("little_to_collect")
def test_wrapper_collected_without_closing_frees_its_slot(url: str) -> None:
    model = make_wrapper(url)
    for _ in range(10):
        another_wrapper(model).ensure_connection()
        gc.collect()
    assert query(model, "SELECT 1") == 1
    model.close()


@pytest.mark.usefixtures("little_to_collect")
def test_wrapper_collected_in_an_ending_thread_frees_one_slot(url: str) -> None:
    model = make_wrapper(url)

    def drop() -> None:
        another_wrapper(model).ensure_connection()
        gc.collect()

    for _ in range(3):
        thread = threading.Thread(target=drop)
        thread.start()
        thread.join()
    wrappers = [another_wrapper(model) for _ in range(3)]
    for wrapper in wrappers:
        wrapper.ensure_connection()
    with pytest.raises(OperationalError, match="all 3 of the pool"):
        model.ensure_connection()
    for wrapper in wrappers:
        wrapper.close()


def test_connections_ended_by_the_server_free_their_slots(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def open_and_hang_up(params: dict[str, Any]) -> Any:
        raw = psycopg2.connect(**params)
        raw.close()
        return raw

    wrapper = make_wrapper(url)
    wrapper.ensure_connection()
    wrapper.close()
    monkeypatch.setattr("homerack.postgresql.session.is_silent", lambda _: False)
    monkeypatch.setattr("homerack.postgresql.session.is_alive", lambda _: False)
    for _ in range(5):
        with pytest.raises(OperationalError, match="got no working connection: the server closes new ones immediately"):
            wrapper.ensure_connection()
    monkeypatch.undo()
    assert query(wrapper, "SELECT 1") == 1
    wrapper.close()


def test_connection_older_than_recycle_is_replaced_at_check_out(url: str) -> None:
    wrapper = make_wrapper(url, CONN_MAX_AGE=1)
    young = backend_id(wrapper)
    wrapper.close()
    assert backend_id(wrapper) == young
    wrapper.close()
    time.sleep(1.1)
    assert backend_id(wrapper) != young
    wrapper.close()
    assert numbers(wrapper) == (1, 0, 0, 1)


def test_recently_used_connection_is_not_pinged(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pings: list[object] = []
    monkeypatch.setattr("homerack.postgresql.session.is_alive", lambda raw: pings.append(raw) or True)
    wrapper = make_wrapper(url)
    for _ in range(5):
        wrapper.ensure_connection()
        wrapper.close()
    assert pings == []
    monkeypatch.setattr(pool_module, "PING_TTL", 0.0)
    wrapper.ensure_connection()
    wrapper.close()
    assert len(pings) == 1


def test_each_alias_and_each_target_has_its_own_pool(url: str) -> None:
    one = make_wrapper(url)
    same = another_wrapper(one)
    elsewhere = another_wrapper(one, NAME="template1")
    other = make_wrapper(url)
    pools = {id(wrapper.connection_pool) for wrapper in (one, same, elsewhere, other)}
    assert one.connection_pool is same.connection_pool
    assert len(pools) == 3


def test_the_no_database_alias_has_no_pool(url: str) -> None:
    wrapper = make_wrapper(url)
    aside = wrapper.copy(alias=NO_DB_ALIAS)
    assert aside.pool_status() is None
    backend = backend_id(aside)
    aside.close()
    eventually(lambda: not query(wrapper, "SELECT count(*) FROM pg_stat_activity WHERE pid = %s", backend))
    wrapper.close()


def test_pool_size_zero_uses_persistent_connections(url: str) -> None:
    wrapper = make_wrapper(url, POOL={"SIZE": 0}, CONN_MAX_AGE=60)
    backend = backend_id(wrapper)
    wrapper.close_if_unusable_or_obsolete()
    assert wrapper.pool_status() is None
    assert wrapper.connection is not None
    assert backend_id(wrapper) == backend
    wrapper.close()
    assert backend_id(wrapper) != backend
    wrapper.close()


def test_dispose_closes_idle_connections_and_used_ones_at_check_in(url: str) -> None:
    observer = make_wrapper(url)
    used = make_wrapper(url, OPTIONS={"application_name": "closing-the-pool"})
    idle = another_wrapper(used)
    idle.ensure_connection()
    used.ensure_connection()
    idle.close()

    def count() -> int:
        return int(query(observer, "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'closing-the-pool'"))

    assert count() == 2
    used.close_pool()
    eventually(lambda: count() == 1)
    assert query(used, "SELECT 1") == 1
    used.close()
    eventually(lambda: count() == 0)
    observer.close()
