"""A bounded pool of connections to one database, of one process."""

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
from homerack.postgresql.threads import discarded_at_thread_end

PING_TTL = 1.0
"""Seconds. A connection that answered this recently, and has been silent since, is not asked again."""


class PoolExhausted(OperationalError):
    """Every connection of the pool stayed in use for as long as the caller was willing to wait."""

    pool_exhausted = True


@dataclass(frozen=True, kw_only=True)
class PoolSettings:
    """`size` connections are kept, `max_overflow` more are opened under load and closed after use.

    `timeout`: seconds to wait for one when all are in use. `recycle`: seconds after which a connection is replaced
    when it is next asked for (None: never). `pre_ping`: prove that a connection works before handing it out.
    """

    size: int
    max_overflow: int
    timeout: float
    recycle: float | None
    pre_ping: bool


class CheckedOut:
    """One connection in somebody's hands. It is settled once: handed back, or discarded.

    In a forked child nothing happens to the leases of the parent: whatever is sent or closed there would hit the
    parent's session.
    """

    def __init__(self, pool: "ConnectionPool", proxy: PoolProxiedConnection) -> None:
        self.connection = cast("connection", proxy.driver_connection)
        self._pool = pool
        self._proxy = proxy
        self._slot = [True]
        self._owner: weakref.ref[object] | None = None
        self._held_by_thread = discarded_at_thread_end()
        self._held_by_thread.add(self)

    def bind_owner(self, owner: object) -> None:
        """Should `owner` be garbage collected with the lease in its hands, the place does not stay lost.

        The collector may run anywhere, also inside of a lock of the pool, so that it only leaves a note, for which
        `SimpleQueue.put` is safe: whoever waits next closes the connection.
        """
        self._owner = weakref.ref(owner, lambda _: self._free_slot(self))

    def check_in(self) -> None:
        """Make the connection as good as new and return it; when that fails, or its pool is gone, close it.

        Never raises an error of the database: the connection's next user gets another.
        """
        if self._pool.disposed or self._pool.inherited:
            self.discard()
            return
        try:
            session.reset(self.connection)
        except psycopg2.Error as error:
            self.discard(error)
        except BaseException as error:  # a worker's time limit, Ctrl-C: nobody knows what was sent
            self.discard(error)
            raise
        else:
            self._proxy.info["proved"] = time.monotonic()
            self._settle(self._proxy.close)

    def discard(self, error: BaseException | None = None) -> None:
        """Close the connection and free its place."""
        self._settle(lambda: self._proxy.invalidate(error))

    def _settle(self, release: Callable[[], None]) -> None:
        if self._pool.inherited or not self._pool.unregister(self):
            return
        self._detach()
        try:
            release()
        finally:
            self._free_slot()

    def close_abandoned(self) -> None:
        """Close the connection on behalf of the collected owner, for whoever has its place now."""
        if self._pool.unregister(self):
            self._detach()
            self._proxy.invalidate()

    def _free_slot(self, abandoned: "CheckedOut | None" = None) -> None:
        """Once, whichever comes first: the end of the lease, of its owner or of its thread."""
        try:
            self._slot.pop()
        except IndexError:
            return
        self._pool.free_slot(abandoned)

    def _detach(self) -> None:
        self._owner = None
        self._held_by_thread.discard(self)


class ConnectionPool:
    """`size` + `max_overflow` places, SQLAlchemy's QueuePool for the connections in them.

    QueuePool alone lets those who wait sleep on when the one they wait for fails to connect: with the server away,
    all but the first few requests would hang for the whole timeout. So waiting is done here, on the places, and
    QueuePool, entered only with a place, never waits.
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
            reset_on_return=None,  # `CheckedOut.check_in` does it, and needs to know whether it worked
            use_lifo=True,  # the last one back was proved most recently
        )
        # None, or the lease of a collected wrapper, whose connection the receiver closes first.
        self._slots: queue.SimpleQueue[CheckedOut | None] = queue.SimpleQueue()
        for _ in range(settings.size + settings.max_overflow):
            self._slots.put(None)
        # Strong references: in a forked child these must never be collected (SQLAlchemy would reset and close them).
        self._checked_out: set[CheckedOut] = set()
        self._open: set[int] = set()
        pool_logging.listen(self._connections, name=name)
        event.listen(self._connections, "connect", self._on_connect)
        event.listen(self._connections, "checkout", self._on_checkout)
        event.listen(self._connections, "close", self._on_close)

    def check_out(self, *, pool_timeout: float | None = None) -> CheckedOut:
        """A connection that works, waiting up to `pool_timeout` seconds (default: the configured timeout) for a place.

        Raises PoolExhausted, or the psycopg2 error with which connecting failed.
        """
        wait = self.settings.timeout if pool_timeout is None else min(pool_timeout, self.settings.timeout)
        try:
            abandoned = self._slots.get(timeout=wait)
        except queue.Empty:
            raise self._exhausted(wait) from None
        try:
            if abandoned:
                abandoned.close_abandoned()
            lease = CheckedOut(self, self._connections.connect())
        except SQLAlchemyError as error:
            self.free_slot()
            message = f"The pool {self.name!r} got no working connection: the server ends new ones at once."
            raise OperationalError(message) from error
        except BaseException:
            self.free_slot()
            raise
        self._checked_out.add(lease)
        return lease

    def status(self) -> dict[str, int]:
        """Numbers of this process at this moment; `overflow` counts connections beyond `pool_size`."""
        total, checked_out = len(self._open), len(self._checked_out)
        return {
            "pool_size": self.settings.size,
            "checked_in": max(0, total - checked_out),
            "checked_out": checked_out,
            "overflow": max(0, total - self.settings.size),
            "total_connections": total,
        }

    def dispose(self) -> None:
        """Close what is idle; what is in use is closed when it comes back."""
        self.disposed = True
        self._connections.dispose()

    def unregister(self, lease: CheckedOut) -> bool:
        """Whether the caller is the one who settles `lease`."""
        try:
            self._checked_out.remove(lease)
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
            "Raise DB_POOL_SIZE or DB_MAX_OVERFLOW, or look for what holds them so long.",
        )

    def _on_connect(self, raw: connection, record: ConnectionPoolEntry) -> None:
        record.info["proved"] = time.monotonic()
        self._open.add(id(raw))

    def _on_close(self, raw: connection, _record: ConnectionPoolEntry) -> None:
        self._open.discard(id(raw))

    def _on_checkout(self, raw: connection, record: ConnectionPoolEntry, _proxy: PoolProxiedConnection) -> None:
        """Make QueuePool replace a dead connection. One dead connection says nothing about the others."""
        if raw.closed:
            raise DisconnectionError
        if not self.settings.pre_ping:
            return
        proof_is_fresh = time.monotonic() - record.info["proved"] < PING_TTL
        if not (proof_is_fresh and session.is_silent(raw)) and not session.is_alive(raw):
            raise DisconnectionError
