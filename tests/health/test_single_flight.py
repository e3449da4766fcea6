"""One question at a time, shared by all who ask, and nobody waits longer than agreed."""

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from ops.utils.single_flight import SingleFlight, shared_calls


def test_all_who_ask_meanwhile_share_one_answer() -> None:
    tower, asked, answer_now = SingleFlight(), [], threading.Event()

    def question() -> str:
        asked.append(threading.get_ident())
        answer_now.wait(10)
        return "answer"

    flights = [tower.run("name", question) for _ in range(100)]
    answer_now.set()
    with ThreadPoolExecutor(20) as executor:
        assert set(executor.map(lambda flight: flight.result(within=10), flights)) == {"answer"}
    assert len(asked) == 1


def test_the_next_question_is_put_anew() -> None:
    tower, answers = SingleFlight(), iter([1, 2])
    assert [tower.run("name", lambda: next(answers)).result(within=10) for _ in range(2)] == [1, 2]


def test_an_error_is_an_outcome() -> None:
    def question() -> None:
        raise LookupError("nothing there")

    outcome = SingleFlight().run("name", question).result(within=10)
    assert isinstance(outcome, LookupError)


def test_who_joins_a_question_that_hangs_is_answered_at_once() -> None:
    tower, stop = SingleFlight(), threading.Event()
    flight = tower.run("name", stop.wait)
    assert isinstance(flight.result(within=0.2), TimeoutError)
    start = time.monotonic()
    outcome = tower.run("name", stop.wait).result(within=0.2)
    assert time.monotonic() - start < 0.1
    assert str(outcome).startswith("no answer for 0.")
    stop.set()
    assert flight.result(within=10) is True


def test_an_answer_not_for_sharing_is_not_shared() -> None:
    tower, stop = SingleFlight(), threading.Event()
    assert tower.run_exclusive("name", stop.wait) is not None
    assert tower.run_exclusive("name", stop.wait) is None
    stop.set()


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_does_not_wait_for_a_thread_of_its_parent() -> None:
    stop = threading.Event()
    shared_calls.run("of the parent", stop.wait)
    child = os.fork()
    if child == 0:
        os._exit(0 if shared_calls.run("of the parent", lambda: "own").result(within=5) == "own" else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    stop.set()
