"""Ends what waits for a server that does not answer any more.

The kernel of a frozen server still answers TCP, and the server itself enforces its timeouts, so libpq would wait
without limit. Statements may take hours, and no limit tells a slow one from a server that is gone. So whoever holds a
lock asks the server every `INTERVAL` seconds for an answer, and gives it up after `SILENCE` seconds without one: the
sockets of all sessions of the run are shut down, and its programs are killed. libpq then reports a lost connection to
each that waits.

Seconds in which this process itself does not run are not counted.
"""

import contextlib
import os
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Protocol

import psycopg2

INTERVAL = 10.0
"""Seconds between two questions to the server that holds a lock. Proxies end sessions that are silent for too long."""
SILENCE = 30.0
"""Seconds without an answer after which a server is given up."""
TICK = 0.2
"""Seconds."""


class NoAnswer(psycopg2.OperationalError):
    """The server did not answer in time; the session has ended. What was sent last may have been executed."""


class Socket(Protocol):
    """A session whose socket another thread may shut down."""

    def shut_down(self) -> None:
        """End each wait for the server."""


class Program(Protocol):
    """A process of this run."""

    def kill(self) -> None:
        """End it."""


class Waiting:
    """What waits for one server: the sessions and programs of a run in this process.

    `reason`: why the server was given up, as the end of a sentence; '' while it was not.
    """

    def __init__(self) -> None:
        self.reason = ""
        self._lock = threading.RLock()  # the garbage collector may end a session in any thread
        self._sessions: weakref.WeakSet[Socket] = weakref.WeakSet()
        self._programs: list[Program] = []

    def add(self, session: Socket) -> None:
        with self._lock:
            self._sessions.add(session)

    @contextlib.contextmanager
    def program(self, process: Program) -> Iterator[None]:
        """A process that may wait for the server during the block."""
        with self._lock:
            self._programs.append(process)
        try:
            yield
        finally:
            with self._lock:
                self._programs.remove(process)

    def give_up(self, reason: str) -> None:
        """End all of them, once."""
        with self._lock:
            if self.reason:
                return
            self.reason = reason
            for session in self._sessions:
                session.shut_down()
            for process in self._programs:
                process.kill()


@contextlib.contextmanager
def answered_within(seconds: float, session: Socket) -> Iterator[None]:
    """Shut `session` down unless the block, which waits for short statements, ends in time. Raises NoAnswer then."""
    ended, expired = threading.Event(), threading.Event()

    def watch() -> None:
        left = seconds
        while left > 0:
            if ended.wait(TICK):
                return
            left -= TICK
        expired.set()
        session.shut_down()

    thread = threading.Thread(target=watch, name="silence", daemon=True)
    thread.start()
    try:
        yield
    except psycopg2.Error as error:
        if expired.is_set():
            raise NoAnswer(f"the server did not answer for {seconds:g} s") from error
        raise
    finally:
        ended.set()
        thread.join()


_asking = threading.Lock()
"""Held while a `Watch` asks. A fork waits for it, so that the child gets no half-changed state of a library."""
os.register_at_fork(before=_asking.acquire, after_in_parent=_asking.release, after_in_child=_asking.release)


class Watch(threading.Thread):
    """Asks a server for an answer every `INTERVAL` seconds, from `start` to `stop`, and gives it up without one.

    `ask` returns why the server is given up, as the end of a sentence, or ''.
    """

    def __init__(self, ask: Callable[[], str], waiting: Waiting) -> None:
        super().__init__(name="lock-watch", daemon=True)
        self._ask, self._waiting = ask, waiting
        self._stopped = threading.Event()

    def run(self) -> None:
        while not self._stopped.wait(INTERVAL):
            with _asking:
                reason = self._ask()
            if reason and not self._stopped.is_set():
                self._waiting.give_up(reason)
                return

    def stop(self) -> None:
        self._stopped.set()


def others_are_running() -> bool:
    """Whether this process has other threads than this one and those of this module, with which forking is safe."""
    this = threading.current_thread()
    return any(thread is not this and not isinstance(thread, Watch) for thread in threading.enumerate())
