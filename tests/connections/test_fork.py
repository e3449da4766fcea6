"""A forked child neither uses nor disturbs the connections of its parent."""

import gc
import os
import threading
import traceback
from collections.abc import Callable, Iterator

import pytest
from django.db import ProgrammingError, transaction

from homerack.postgresql.base import DatabaseWrapper
from homerack.postgresql.registry import pools
from tests.support.backend import backend_id, make_wrapper, query

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


@pytest.fixture(params=[{"SIZE": 2, "MAX_OVERFLOW": 1}, {"SIZE": 0}], ids=["pool", "no pool"])
def wrapper(url: str, request: pytest.FixtureRequest) -> Iterator[DatabaseWrapper]:
    wrapper = make_wrapper(url, POOL=request.param)
    yield wrapper
    wrapper.close()


def in_child(function: Callable[[], object]) -> None:
    """Run `function` in a forked child, which then ends as processes do: collecting garbage, running exit handlers."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            function()
            gc.collect()
            status = 0
        except BaseException:  # noqa: BLE001  # a child must not fall through into the test runner
            traceback.print_exc()
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_child_opens_its_own_connection_and_parent_keeps_its(wrapper: DatabaseWrapper) -> None:
    backend = backend_id(wrapper)

    def child() -> None:
        assert wrapper.connection is None
        assert backend_id(wrapper) != backend
        wrapper.close()

    for _ in range(3):
        in_child(child)
    assert backend_id(wrapper) == backend


def test_child_closing_inherited_connection_keeps_the_parents_session(wrapper: DatabaseWrapper) -> None:
    backend = backend_id(wrapper)

    def child() -> None:
        wrapper.close()
        wrapper.close_if_unusable_or_obsolete()
        wrapper.close_pool()

    in_child(child)
    assert backend_id(wrapper) == backend


def test_idle_connections_of_the_parent_are_not_used_by_the_child(url: str) -> None:
    wrapper = make_wrapper(url)
    backend = backend_id(wrapper)
    wrapper.close()

    def child() -> None:
        assert wrapper.pool_status() == {
            "pool_size": 2,
            "checked_in": 0,
            "checked_out": 0,
            "overflow": 0,
            "total_connections": 0,
        }
        assert backend_id(wrapper) != backend

    in_child(child)
    assert backend_id(wrapper) == backend
    wrapper.close()


def test_connections_of_other_threads_of_the_parent_survive_the_fork(wrapper: DatabaseWrapper) -> None:
    """Their thread locals are cleared in the child before any hook of ours runs."""
    ready, over = threading.Event(), threading.Event()
    backends: list[int] = []

    def other() -> None:
        mine = DatabaseWrapper(wrapper.settings_dict, wrapper.alias)
        backends.append(backend_id(mine))
        ready.set()
        over.wait(20)
        backends.append(backend_id(mine))
        mine.close()

    thread = threading.Thread(target=other)
    thread.start()
    assert ready.wait(10)
    in_child(lambda: query(wrapper, "SELECT 1"))
    over.set()
    thread.join()
    assert backends[0] == backends[1]


def test_child_cannot_continue_the_parents_transaction(
    wrapper: DatabaseWrapper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(transaction.connections._connections.__dict__, wrapper.alias, wrapper)

    def child() -> None:
        with pytest.raises(ProgrammingError, match="Cannot open a new connection in an atomic block"):
            query(wrapper, "SELECT 1")

    with transaction.atomic(using=wrapper.alias):
        query(wrapper, "CREATE TEMP TABLE mine (id int) ON COMMIT DROP")
        in_child(child)
        assert query(wrapper, "SELECT count(*) FROM mine") == 0


def test_a_fork_while_another_thread_holds_the_registry_does_not_block_the_child(url: str) -> None:
    holds, release = threading.Event(), threading.Event()

    def hold() -> None:
        with pools._lock:
            holds.set()
            release.wait(20)

    thread = threading.Thread(target=hold)
    thread.start()
    assert holds.wait(10)
    wrapper = make_wrapper(url)
    try:
        in_child(lambda: query(wrapper, "SELECT 1"))
    finally:
        release.set()
        thread.join()


def test_connection_of_a_disposed_pool_survives_the_fork(url: str) -> None:
    wrapper = make_wrapper(url)
    backend = backend_id(wrapper)
    wrapper.close_pool()
    in_child(wrapper.close)
    assert backend_id(wrapper) == backend
    wrapper.close()


def test_grandchild_leaves_the_parents_connection_alone(wrapper: DatabaseWrapper) -> None:
    backend = backend_id(wrapper)

    def child() -> None:
        own = backend_id(wrapper)
        in_child(lambda: query(wrapper, "SELECT 1"))
        assert backend_id(wrapper) == own

    in_child(child)
    assert backend_id(wrapper) == backend
