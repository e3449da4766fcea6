"""Asking something that may never answer, without piling up askers.

A frozen server ignores every timeout of its client (statement_timeout, TCP keepalives), so the question is put by a
thread that may hang, while whoever wants the answer waits no longer than agreed. At most one thread is under way for a
question: all who ask meanwhile share its answer, or its silence.
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
    """One question under way."""

    def __init__(self) -> None:
        self.future: Future[Answer] = Future()
        self.started = time.monotonic()
        self.finished: float | None = None

    @property
    def seconds(self) -> float:
        """How long it took, or has taken until now."""
        return (self.finished or time.monotonic()) - self.started

    def result(self, *, within: float) -> Answer | BaseException:
        """The answer, or the error it ended with: TimeoutError when there is neither `within` seconds of the start.

        Who joins a question that has been open for longer is not kept waiting.
        """
        remaining = self.started + within - time.monotonic()
        try:
            error = self.future.exception(timeout=max(0.0, remaining))
        except TimeoutError:
            return TimeoutError(f"no answer for {time.monotonic() - self.started:.1f} s")
        return error or self.future.result()


class SingleFlight:
    """Knows what is under way in this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls: dict[str, Call[object]] = {}

    def run(self, name: str, question: Callable[[], Answer]) -> Call[Answer]:
        """The flight called `name` that is under way, or a new one that puts `question`."""
        with self._lock:
            if name in self._calls:
                return cast("Call[Answer]", self._calls[name])
            return self._start(name, question)

    def run_exclusive(self, name: str, question: Callable[[], Answer]) -> Call[Answer] | None:
        """A new flight, or None when one called `name` is under way: for answers that are not for sharing."""
        with self._lock:
            return None if name in self._calls else self._start(name, question)

    def _start(self, name: str, question: Callable[[], Answer]) -> Call[Answer]:
        flight: Call[Answer] = Call()
        self._calls[name] = cast("Call[object]", flight)
        threading.Thread(target=self._run, args=(name, flight, question), name=f"ask-{name}", daemon=True).start()
        return flight

    def _run(self, name: str, flight: Call[Answer], question: Callable[[], Answer]) -> None:
        answer: Answer | None = None
        error: BaseException | None = None
        try:
            try:
                answer = question()
            finally:
                connections.close_all()
        except BaseException as raised:  # noqa: BLE001  # carried over to whoever asked
            error = raised
        with self._lock:
            del self._calls[name]
        flight.finished = time.monotonic()
        if error:
            flight.future.set_exception(error)
        else:
            flight.future.set_result(cast("Answer", answer))

    def reset_after_fork(self) -> None:
        """In a forked child: the parent's threads do not exist here, and their answers will not come."""
        self._lock = threading.Lock()
        self._calls = {}


shared_calls = SingleFlight()
os.register_at_fork(after_in_child=shared_calls.reset_after_fork)
