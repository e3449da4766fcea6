"""A bounded pool of connections to one database; each process has its own."""

import queue
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import psycopg2
from django.db.utils import OperationalError
from psycopg2.extensions import connection
from sqlalchemy import event
from sqlalchemy.exc import DisconnectionError, SQLAlchemyError
from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection, QueuePool

from homerack.postgresql import pool_logging, session
from homerack.postgresql.deadlines import has_expired
from homerack.postgresql.threads import discarded_at_thread_end

PING_TTL = 1.0
"""Seconds. A connection that answered this recently, and has received nothing since, is not pinged again."""


class PoolExhausted(OperationalError):
    """No connection of the pool became free within the caller's timeout."""

    pool_exhausted = True


@dataclass(frozen=True, kw_only=True)
class PoolSettings:
    """`size` connections are kept, `max_overflow` more are opened under load and closed after use.

    `timeout`: seconds to wait for a connection when all are in use. `recycle`: seconds after which a connection is
    replaced at its next check-out (None: never). `pre_ping`: test each connection at its check-out. `writable`: the
    server must be writable, so sessions of one that no longer is are replaced.
    """

    size: int
    max_overflow: int
    timeout: float
    recycle: float | None
    pre_ping: bool
    writable: bool = False


class CheckedOut:
    """A checked-out connection. It ends once: it is checked in, or discarded.

    In a forked child these methods do nothing to connections of the parent: anything sent or closed there would reach
    the parent's session.
    """

    def __init__(self, pool: "ConnectionPool", proxy: PoolProxiedConnection) -> None:
        self.connection = cast("connection", proxy.driver_connection)
        self.pool = pool
        self._proxy = proxy
        self._slot = [True]
        self._owner: weakref.ref[object] | None = None
        self._held_by_thread = discarded_at_thread_end()
        self._held_by_thread.add(self)

    def bind_owner(self, owner: object) -> None:
        """Free the slot when `owner` is garbage collected without closing its connection.

        The collector can run anywhere, even while this thread holds a lock of the pool. So the callback only puts this
        object into the queue of slots (`SimpleQueue.put` is reentrant), and the next check-out closes the connection.
        """
        self._owner = weakref.ref(owner, lambda _: self._free_slot(self))

    def check_in(self) -> None:
        """Reset the connection and return it to the pool; close it if the reset fails or the pool was disposed of.

        Raises no database errors: the next check-out gets another connection.
        """
        if self.pool.disposed or self.pool.inherited:
            self.discard()
            return
        try:
            session.reset(self.connection)
        except psycopg2.Error as error:
            if has_expired(self.connection):
                self.pool.retire(session.server_of(self.connection))
            self.discard(error)
        except BaseException as error:  # a worker's time limit, Ctrl-C: part of the reset may have been sent
            self.discard(error)
            raise
        else:
            self._proxy.info["last_ok"] = time.monotonic()
            self._end(self._proxy.close)

    def discard(self, error: BaseException | None = None) -> None:
        """Close the connection and free its slot."""
        self._end(lambda: self._proxy.invalidate(error))

    def _end(self, release: Callable[[], None]) -> None:
        if self.pool.inherited or not self.pool.unregister(self):
            return
        self._detach()
        try:
            release()
        finally:
            self._free_slot()

    def close_abandoned(self) -> None:
        """Close the connection whose owner was garbage collected. Called by the check-out that got its slot."""
        if self.pool.unregister(self):
            self._detach()
            self._proxy.invalidate()

    def _free_slot(self, abandoned: "CheckedOut | None" = None) -> None:
        """Free the slot once, whichever ends first: the check-out, its owner or its thread. `pop` is atomic."""
        try:
            self._slot.pop()
        except IndexError:
            return
        self.pool.free_slot(abandoned)

    def _detach(self) -> None:
        self._owner = None
        self._held_by_thread.discard(self)


class ConnectionPool:
    """`size` + `max_overflow` slots, and SQLAlchemy's QueuePool for the connections in them.

    QueuePool alone does not wake waiting threads when the connection attempt that they wait for fails: with the server
    unreachable, all but the first few requests would wait for the whole timeout. So threads wait here for a slot, and
    QueuePool, which is entered only with a slot, never waits.
    """

    def __init__(self, *, name: str, connect: Callable[[], Any], settings: PoolSettings) -> None:
        self.name = name
        self.settings = settings
        self.disposed = False
        self.inherited = False
        self._connections = QueuePool(
            connect,
            pool_size=settings.size,
            max_overflow=settings.max_overflow,
            timeout=settings.timeout,
            recycle=-1 if settings.recycle is None else settings.recycle,
            reset_on_return=None,  # `CheckedOut.check_in` resets, because it discards on failure
            use_lifo=True,  # the connection returned last needs no ping
        )
        # None, or the check-out of a collected wrapper, whose connection the receiver closes first.
        self._slots: queue.SimpleQueue[CheckedOut | None] = queue.SimpleQueue()
        for _ in range(settings.size + settings.max_overflow):
            self._slots.put(None)
        # Strong references: in a forked child these must never be collected (SQLAlchemy would reset and close them).
        self._checked_out: set[CheckedOut] = set()
        self._open: set[int] = set()
        self._retired: dict[session.Server, float] = {}
        pool_logging.listen(self._connections, name=name)
        event.listen(self._connections, "connect", self._on_connect)
        event.listen(self._connections, "checkout", self._on_checkout)
        event.listen(self._connections, "close", self._on_close)

    def check_out(self, *, pool_timeout: float | None = None) -> CheckedOut:
        """A working connection, after waiting for a slot for at most `pool_timeout` seconds (default: as configured).

        Raises PoolExhausted, or the psycopg2 error of the failed connection attempt.
        """
        wait = self.settings.timeout if pool_timeout is None else min(pool_timeout, self.settings.timeout)
        try:
            abandoned = self._slots.get(timeout=wait)
        except queue.Empty:
            raise self._exhausted(wait) from None
        try:
            if abandoned:
                abandoned.close_abandoned()
            checked_out = CheckedOut(self, self._connections.connect())
        except SQLAlchemyError as error:
            self.free_slot()
            message = f"The pool {self.name!r} got no working connection: the server closes new ones immediately."
            raise OperationalError(message) from error
        except BaseException:
            self.free_slot()
            raise
        self._checked_out.add(checked_out)
        return checked_out

    def status(self) -> dict[str, int]:
        """Current numbers of this process; `overflow` counts the connections beyond `pool_size`."""
        total, checked_out = len(self._open), len(self._checked_out)
        return {
            "pool_size": self.settings.size,
            "checked_in": max(0, total - checked_out),
            "checked_out": checked_out,
            "overflow": max(0, total - self.settings.size),
            "total_connections": total,
        }

    def dispose(self) -> None:
        """Close idle connections now, and those in use when they are checked in."""
        self.disposed = True
        self._connections.dispose()

    def retire(self, server: session.Server) -> None:
        """Replace each idle session of `server` at its next check-out, without a ping.

        For a server that did not answer or that cannot be written any more: the next request would find out again.
        """
        self._retired[server] = time.monotonic()

    def unregister(self, checked_out: CheckedOut) -> bool:
        """Whether the caller is the one that ends `checked_out`. `set.remove` is atomic."""
        try:
            self._checked_out.remove(checked_out)
        except KeyError:
            return False
        return True

    def free_slot(self, abandoned: CheckedOut | None = None) -> None:
        self._slots.put(abandoned)

    def _exhausted(self, wait: float) -> PoolExhausted:
        settings = self.settings
        return PoolExhausted(
            f"No database connection became free within {wait:g} s: all {settings.size + settings.max_overflow} of the "
            f"pool {self.name!r} are in use (size {settings.size}, overflow {settings.max_overflow}). "
            "Raise DB_POOL_SIZE or DB_MAX_OVERFLOW, or find what holds the connections.",
        )

    def _on_connect(self, raw: connection, record: ConnectionPoolEntry) -> None:
        record.info["last_ok"] = record.info["opened_at"] = time.monotonic()
        record.info["server"] = session.server_of(raw)
        self._open.add(id(raw))

    def _on_close(self, raw: connection, _record: ConnectionPoolEntry) -> None:
        self._open.discard(id(raw))

    def _on_checkout(self, raw: connection, record: ConnectionPoolEntry, _proxy: PoolProxiedConnection) -> None:
        """Raise DisconnectionError for a dead connection, which QueuePool then replaces.

        A plain DisconnectionError invalidates this connection only: the others may still work.
        """
        if raw.closed or record.info["opened_at"] < self._retired.get(record.info["server"], 0):
            raise DisconnectionError
        if self.settings.pre_ping and not self._answers(raw, record):
            if has_expired(raw):
                self.retire(record.info["server"])
            raise DisconnectionError
        if self.settings.writable and session.reports_read_only(raw):
            self.retire(record.info["server"])
            raise DisconnectionError

    def _answers(self, raw: connection, record: ConnectionPoolEntry) -> bool:
        is_recent = time.monotonic() - record.info["last_ok"] < PING_TTL
        return (is_recent and session.is_silent(raw)) or session.is_alive(raw)
