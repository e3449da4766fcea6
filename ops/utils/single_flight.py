"""Call a function that may hang, with a deadline and at most one thread for each name.

A frozen server ignores every timeout of its client (statement_timeout, TCP keepalives). So the function is called in a
thread that may hang, and callers wait for its result up to a deadline. All callers of the same name share one thread.
"""

import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar, cast

from django.db import connections

Answer = TypeVar("Answer")


class Call(Generic[Answer]):
    """A function call in its own thread."""

    def __init__(self) -> None:
        self.future: Future[Answer] = Future()
        self.started = time.monotonic()
        self.finished: float | None = None

    @property
    def seconds(self) -> float:
        """How long it took, or has taken until now."""
        return (self.finished or time.monotonic()) - self.started

    def result(self, *, within: float) -> Answer | BaseException:
        """The result, or the error that was raised: a TimeoutError if there is neither `within` seconds of the start.

        A caller that joins a call which has been running for longer does not wait.
        """
        remaining = self.started + within - time.monotonic()
        try:
            error = self.future.exception(timeout=max(0.0, remaining))
        except TimeoutError:
            return TimeoutError(f"no answer for {time.monotonic() - self.started:.1f} s")
        return error or self.future.result()


class SingleFlight:
    """The calls that are running in this process, by name."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls: dict[str, Call[object]] = {}

    def run(self, name: str, function: Callable[[], Answer]) -> Call[Answer]:
        """The running call of that name, or a new one of `function`."""
        with self._lock:
            if name in self._calls:
                return cast("Call[Answer]", self._calls[name])
            return self._start(name, function)

    def run_exclusive(self, name: str, function: Callable[[], Answer]) -> Call[Answer] | None:
        """A new call, or None if one of that name is running: for results that must not be shared."""
        with self._lock:
            return None if name in self._calls else self._start(name, function)

    def _start(self, name: str, function: Callable[[], Answer]) -> Call[Answer]:
        call: Call[Answer] = Call()
        self._calls[name] = cast("Call[object]", call)
        threading.Thread(target=self._run, args=(name, call, function), name=f"call-{name}", daemon=True).start()
        return call

    def _run(self, name: str, call: Call[Answer], function: Callable[[], Answer]) -> None:
        answer: Answer | None = None
        error: BaseException | None = None
        try:
            try:
                answer = function()
            finally:
                connections.close_all()
        except BaseException as raised:  # noqa: BLE001  # passed on to the callers
            error = raised
        with self._lock:
            del self._calls[name]
        call.finished = time.monotonic()
        if error:
            call.future.set_exception(error)
        else:
            call.future.set_result(cast("Answer", answer))

    def reset_after_fork(self) -> None:
        """In a forked child the parent's threads do not exist, so their calls never finish."""
        self._lock = threading.Lock()
        self._calls = {}


shared_calls = SingleFlight()
os.register_at_fork(after_in_child=shared_calls.reset_after_fork)
