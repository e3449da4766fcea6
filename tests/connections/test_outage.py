"""In a long outage one request waits, and the others fail at once; in a short one all wait."""

import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import OperationalError

from homerack.postgresql import outage, retry_budget
from homerack.postgresql.base import DatabaseWrapper
from homerack.postgresql.retry_budget import RetryBudget, with_budget
from tests.support.backend import eventually, make_wrapper
from tests.support.postgres import PostgresServer

PATIENCE = 0.8
"""Seconds that a request waits in these tests."""
REQUEST = RetryBudget(connect_timeout=PATIENCE, ignore_attempt_limit=True)
AT_ONCE = 0.3
POOLS = pytest.mark.parametrize("pool", [{"SIZE": 20}, {"SIZE": 0}], ids=["pool", "no pool"])
Took = tuple[bool, float]
"""Whether the request got a connection, and after how many seconds."""


def request(wrapper: DatabaseWrapper, budget: RetryBudget = REQUEST) -> Took:
    mine = DatabaseWrapper(wrapper.settings_dict, wrapper.alias)
    began = time.monotonic()
    try:
        with with_budget(budget):
            mine.ensure_connection()
    except OperationalError:
        return False, time.monotonic() - began
    finally:
        mine.close()
    return True, time.monotonic() - began


def crowd(wrapper: DatabaseWrapper, number: int = 8) -> list[Took]:
    """So many requests at once, by how long they took."""
    with ThreadPoolExecutor(number) as executor:
        return sorted(executor.map(lambda _: request(wrapper), range(number)), key=lambda took: took[1])


@pytest.fixture
def wrapper(server: PostgresServer, pool: dict[str, int], monkeypatch: pytest.MonkeyPatch) -> DatabaseWrapper:
    """Of a process that knows of no outage."""
    monkeypatch.setattr(outage, "_outages", defaultdict(outage.Outage))
    return make_wrapper(server.url("postgres"), POOL=pool, STATEMENT_TIMEOUT=PATIENCE)


@POOLS
def test_one_request_waits_in_a_long_outage(server: PostgresServer, wrapper: DatabaseWrapper) -> None:
    server.halt()
    first = crowd(wrapper)
    assert {is_connected for is_connected, _ in first} == {False}
    assert first[0][1] > PATIENCE / 2
    for _ in range(3):
        *others, waited = crowd(wrapper)
        assert waited[1] > PATIENCE / 2
        assert max(seconds for _, seconds in others) < AT_ONCE


@POOLS
def test_request_that_waits_gets_the_server_that_is_back(server: PostgresServer, wrapper: DatabaseWrapper) -> None:
    server.halt()
    crowd(wrapper)
    with ThreadPoolExecutor(1) as executor:
        waiting = executor.submit(request, wrapper, RetryBudget(connect_timeout=30, ignore_attempt_limit=True))
        server.launch()
        assert waiting.result()[0]
    assert all(is_connected for is_connected, _ in crowd(wrapper))
    wrapper.close_pool()


@POOLS
def test_requests_at_a_frozen_server_do_not_all_wait(
    server: PostgresServer, wrapper: DatabaseWrapper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retry_budget, "_statements_are_limited", True)
    server.freeze()
    try:
        crowd(wrapper)
        *others, waited = crowd(wrapper)
        assert waited[1] > PATIENCE / 2
        assert max(seconds for _, seconds in others) < AT_ONCE
    finally:
        server.thaw()
    eventually(lambda: all(is_connected for is_connected, _ in crowd(wrapper)))
    wrapper.close_pool()


@pytest.mark.parametrize("pool", [{"SIZE": 20}], ids=["pool"])
def test_all_requests_wait_in_a_short_outage(server: PostgresServer, wrapper: DatabaseWrapper) -> None:
    server.halt()
    long = RetryBudget(connect_timeout=30, ignore_attempt_limit=True)
    with ThreadPoolExecutor(8) as executor:
        waiting = [executor.submit(request, wrapper, long) for _ in range(8)]
        time.sleep(PATIENCE)
        server.launch()
        assert all(each.result()[0] for each in waiting)
    wrapper.close_pool()


@pytest.mark.parametrize("pool", [{"SIZE": 20}], ids=["pool"])
def test_old_failures_say_nothing(
    server: PostgresServer, wrapper: DatabaseWrapper, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.halt()
    crowd(wrapper)
    monkeypatch.setattr(outage, "FORGOTTEN", 0.2)
    time.sleep(0.3)
    assert crowd(wrapper)[0][1] > PATIENCE / 2


@pytest.mark.parametrize("pool", [{"SIZE": 20}], ids=["pool"])
def test_health_check_is_not_refused_while_a_request_waits(server: PostgresServer, wrapper: DatabaseWrapper) -> None:
    server.halt()
    crowd(wrapper)
    with ThreadPoolExecutor(1) as executor:
        waiting = executor.submit(request, wrapper, RetryBudget(connect_timeout=30, ignore_attempt_limit=True))
        time.sleep(PATIENCE)
        server.launch()
        assert request(wrapper, RetryBudget(connect_timeout=0)) == (True, pytest.approx(0, abs=AT_ONCE))
        assert waiting.result()[0]
    wrapper.close_pool()
