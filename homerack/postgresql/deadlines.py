"""Deadlines for everything that a web process waits for: statements, COMMIT, pings, resets, connection attempts.

A frozen server answers nothing, and libpq would wait for it without limit: the server itself enforces
``statement_timeout``, and the kernel of a frozen machine still answers keepalives. So one thread of the process shuts
down the socket of each connection that has waited for too long, and libpq reports a lost connection to the thread that
waits. This works with TLS and COPY, and costs a statement two assignments.
"""

import functools
import math
import os
import socket
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import psycopg2
from psycopg2.extensions import connection, cursor

TICK = 0.2
"""Seconds between two looks at the connections."""
Result = TypeVar("Result")


class NoAnswer(psycopg2.OperationalError):
    """The server did not answer in time; the connection is closed. What was sent last may have been executed."""


def _in_time(method: Callable[..., Any]) -> Callable[..., Any]:
    """`method` of a cursor or a connection, with the deadline of its connection."""

    @functools.wraps(method)
    def call(self: "WatchedCursor | WatchedConnection", *args: Any, **options: Any) -> Any:
        raw = self if isinstance(self, WatchedConnection) else self.connection
        raw.deadline = time.monotonic() + raw.limit
        try:
            return method(self, *args, **options)
        except psycopg2.Error as error:
            if raw.expired:
                raise NoAnswer(f"The server did not answer within {raw.limit:g} s.") from error
            raise
        finally:
            raw.deadline = None

    return call


class WatchedCursor(cursor):
    connection: "WatchedConnection"

    execute = _in_time(cursor.execute)
    callproc = _in_time(cursor.callproc)
    copy_expert = _in_time(cursor.copy_expert)
    copy_from = _in_time(cursor.copy_from)
    copy_to = _in_time(cursor.copy_to)
    _executemany = _in_time(cursor.executemany)

    def executemany(self, query: Any, vars_list: Iterable[Any]) -> None:
        """Each of the statements has the time of one."""
        self._executemany(query, self._renewing(vars_list))

    def _renewing(self, vars_list: Iterable[Any]) -> Iterator[Any]:
        for values in vars_list:
            self.connection.deadline = time.monotonic() + self.connection.limit
            yield values


class WatchedServerSideCursor(WatchedCursor):
    """A cursor with a name: each fetch is a statement."""

    fetchone = _in_time(cursor.fetchone)
    fetchmany = _in_time(cursor.fetchmany)
    fetchall = _in_time(cursor.fetchall)
    scroll = _in_time(cursor.scroll)
    close = _in_time(cursor.close)
    __next__ = _in_time(cursor.__next__)


class WatchedConnection(connection):
    """psycopg2's connection, which waits for the server for `limit` seconds at most; it is closed then."""

    limit = math.inf
    deadline: float | None = None
    """Until when the thread that uses the connection waits (`time.monotonic`); None while it does not wait."""
    expired = False

    commit = _in_time(connection.commit)
    rollback = _in_time(connection.rollback)
    set_session = _in_time(connection.set_session)
    set_client_encoding = _in_time(connection.set_client_encoding)

    def watch(self, limit: float) -> None:
        self.limit = limit
        # Of its own, because libpq closes its socket as soon as it finds the connection broken. By then another file
        # may have that number.
        self._socket = socket.socket(fileno=os.dup(self.fileno()))
        self._closing = weakref.finalize(self, self._socket.close)
        _watchdog.add(self)

    def cursor(self, name: Any = None, *args: Any, **options: Any) -> Any:
        options["cursor_factory"] = WatchedServerSideCursor if name else WatchedCursor
        return super().cursor(name, *args, **options)

    def close(self) -> None:
        super().close()
        with _watchdog.lock:
            self._closing()

    def expire(self) -> None:
        """Called by the watchdog, which holds its lock."""
        self.expired = True
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)


class Watchdog:
    """The thread that looks at the deadlines, and its connections. It runs once there is a connection."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Also in a forked child, which must not shut down the sockets that it shares with its parent."""
        self.lock = threading.RLock()  # the garbage collector may close a connection here
        self._connections: weakref.WeakSet[WatchedConnection] = weakref.WeakSet()
        self._thread: threading.Thread | None = None

    def add(self, raw: WatchedConnection) -> None:
        with self.lock:
            self._connections.add(raw)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="database-deadlines", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while True:
            time.sleep(TICK)
            now = time.monotonic()
            with self.lock:
                for raw in self._connections:
                    if raw.deadline is not None and now > raw.deadline and not raw.expired:
                        raw.expire()


_watchdog = Watchdog()
os.register_at_fork(after_in_child=_watchdog.reset)


@contextmanager
def within(seconds: float, raw: connection) -> Iterator[None]:
    """A shorter limit for what is done with `raw` inside; also for a connection whose statements have none."""
    if not isinstance(raw, WatchedConnection):
        with _shut_down_after(seconds, raw):
            yield
        return
    limit, raw.limit = raw.limit, min(seconds, raw.limit)
    try:
        yield
    finally:
        raw.limit = limit


@contextmanager
def _shut_down_after(seconds: float, raw: connection) -> Iterator[None]:
    """As the watchdog does, which does not run in processes that have no limits: they may fork."""
    with socket.socket(fileno=os.dup(raw.fileno())) as own:

        def expire() -> None:
            with suppress(OSError):
                own.shutdown(socket.SHUT_RDWR)

        timer = threading.Timer(seconds, expire)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            timer.join()


def limit_to(seconds: float, raw: connection) -> None:
    """Another limit for a watched connection."""
    if isinstance(raw, WatchedConnection):
        raw.limit = seconds


def has_expired(raw: connection) -> bool:
    return isinstance(raw, WatchedConnection) and raw.expired


def call_until(deadline: float, function: Callable[[], Result], *, discard: Callable[[Result], None]) -> Result:
    """The result of `function`, which runs in a thread of its own. `discard` gets a result that comes too late.

    libpq gives each address of each host the time of `connect_timeout`, and the search for a name is not limited.
    Raises NoAnswer at the `deadline`.
    """
    future: Future[Result] = Future()

    def run() -> None:
        try:
            result = function()
        except BaseException as error:  # noqa: BLE001  # raised in the thread that waits
            if future.set_running_or_notify_cancel():
                future.set_exception(error)
            return
        if future.set_running_or_notify_cancel():
            future.set_result(result)
        else:
            discard(result)

    threading.Thread(target=run, name="database-connect", daemon=True).start()
    with suppress(TimeoutError):
        return future.result(timeout=max(0.0, deadline - time.monotonic()))
    if future.cancel():
        raise NoAnswer("timeout expired: no server accepted a connection in time.")
    return future.result()
