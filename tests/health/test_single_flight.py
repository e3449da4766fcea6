"""Calls are shared by name, and no caller waits longer than its deadline."""

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from ops.utils.single_flight import SingleFlight, shared_calls


def test_concurrent_callers_of_a_name_share_one_thread_and_result() -> None:
    calls, threads, finish = SingleFlight(), [], threading.Event()

    def function() -> str:
        threads.append(threading.get_ident())
        finish.wait(10)
        return "answer"

    running = [calls.run("name", function) for _ in range(100)]
    finish.set()
    with ThreadPoolExecutor(20) as executor:
        assert set(executor.map(lambda call: call.result(within=10), running)) == {"answer"}
    assert len(threads) == 1


def test_next_caller_after_the_result_starts_a_new_call() -> None:
    calls, answers = SingleFlight(), iter([1, 2])
    assert [calls.run("name", lambda: next(answers)).result(within=10) for _ in range(2)] == [1, 2]


def test_raised_error_is_returned_as_the_result() -> None:
    def function() -> None:
        raise LookupError("nothing there")

    outcome = SingleFlight().run("name", function).result(within=10)
    assert isinstance(outcome, LookupError)


def test_caller_that_joins_an_overdue_call_does_not_wait() -> None:
    calls, stop = SingleFlight(), threading.Event()
    call = calls.run("name", stop.wait)
    assert isinstance(call.result(within=0.2), TimeoutError)
    start = time.monotonic()
    outcome = calls.run("name", stop.wait).result(within=0.2)
    assert time.monotonic() - start < 0.1
    assert str(outcome).startswith("no answer for 0.")
    stop.set()
    assert call.result(within=10) is True


def test_exclusive_call_is_refused_while_one_of_its_name_runs() -> None:
    calls, stop = SingleFlight(), threading.Event()
    assert calls.run_exclusive("name", stop.wait) is not None
    assert calls.run_exclusive("name", stop.wait) is None
    stop.set()


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_forked_child_does_not_wait_for_a_thread_of_its_parent() -> None:
    stop = threading.Event()
    shared_calls.run("of the parent", stop.wait)
    child = os.fork()
    if child == 0:
        os._exit(0 if shared_calls.run("of the parent", lambda: "own").result(within=5) == "own" else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    stop.set()
