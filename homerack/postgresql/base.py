"""Django's PostgreSQL backend, on a pool.

``DATABASES`` takes these keys in addition to those of Django::

    "POOL": {"SIZE": 20, "MAX_OVERFLOW": 10, "TIMEOUT": 30}   # SIZE 0, or no POOL: Django's persistent connections
    "CONNECT_RETRY": {"ATTEMPTS": 5, "DELAY": 2}
    "STATEMENT_TIMEOUT": 10
    "ECHO": False

``STATEMENT_TIMEOUT`` limits, in web processes, the seconds of each statement and of each other wait for the server (0
or missing: no limit). The server cancels a statement shortly before that; `homerack.postgresql.deadlines` needs no help
of the server.

``CONN_MAX_AGE`` is the maximum age of a pooled connection, ``CONN_HEALTH_CHECKS`` whether it is tested at check-out. A
connection is checked in where Django checks a persistent one: when a request or a task begins and ends
(``close_old_connections``), and whenever it is closed.
"""

import math
import os
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ImproperlyConfigured
from django.db.backends.base.base import NO_DB_ALIAS
from django.db.backends.postgresql import base
from django.db.backends.postgresql.psycopg_any import IsolationLevel, is_psycopg3
from django.db.backends.signals import connection_created
from django.db.utils import DatabaseErrorWrapper, OperationalError
from django.utils.asyncio import async_unsafe
from django.utils.functional import cached_property
from psycopg2.extensions import connection

from homerack.postgresql import query_logging, retry_budget
from homerack.postgresql.client import DatabaseClient
from homerack.postgresql.creation import DatabaseCreation
from homerack.postgresql.deadlines import WatchedConnection, has_expired, limit_to
from homerack.postgresql.registry import pools
from homerack.postgresql.retry import RetryPolicy, connect_with_retry
from homerack.postgresql.session import WRITABLE_ONLY, connect, is_alive, open_session, server_of

if TYPE_CHECKING:
    from homerack.postgresql.pool import CheckedOut, ConnectionPool

if is_psycopg3:
    raise ImproperlyConfigured(
        "psycopg 3 is installed, and Django prefers it to psycopg2, which this backend is made for. "
        "Remove it: pip uninstall psycopg psycopg-binary psycopg-pool",
    )

IDLE_IN_TRANSACTION_TIMEOUT = 600_000
"""Milliseconds after which the server ends a session that is idle in a transaction, and so holds locks."""
CANCEL_AT = 0.9
"""The part of the limit after which the server cancels a statement: so a slow statement does not cost the session."""
READ_ONLY_TRANSACTION = "25006"
"""SQLSTATE of a write that a standby or a read-only server refused."""


class CommitUnknown(OperationalError):
    """The connection was lost during COMMIT: it is not known whether the transaction was committed."""


class ErrorObserver(DatabaseErrorWrapper):
    """Django's, which shows each error of psycopg2 to the wrapper as well."""

    def __exit__(self, exc_type: Any, exc_value: Any, traceback: Any) -> None:
        if exc_value is not None:
            self.wrapper.note_error(exc_value)  # type: ignore[attr-defined]  # missing in django-stubs
        super().__exit__(exc_type, exc_value, traceback)


class DatabaseWrapper(base.DatabaseWrapper):
    """Django's connection of one thread. It holds a pooled connection only while it is in use."""

    client_class = DatabaseClient
    creation_class = DatabaseCreation

    def __init__(self, settings_dict: dict[str, Any], *args: Any, **kwargs: Any) -> None:
        super().__init__(settings_dict, *args, **kwargs)
        self._checked_out: CheckedOut | None = None
        if settings_dict.get("ECHO"):
            self.execute_wrappers.append(query_logging.log_statement)

    # --- Optional methods that `ops` calls where a backend has them -----------------------------------------------

    def pool_status(self) -> dict[str, int] | None:
        """The status of this process's pool, or None without a pool."""
        return self.connection_pool.status() if self.connection_pool else None

    @contextmanager
    def retry_budget(
        self,
        *,
        connect_timeout: float,
        pool_timeout: float | None = None,
        ignore_attempt_limit: bool = False,
    ) -> Iterator[None]:
        """Limit how long this thread waits for connections; see `homerack.postgresql.retry_budget.RetryBudget`."""
        limits = retry_budget.RetryBudget(
            connect_timeout=connect_timeout, pool_timeout=pool_timeout, ignore_attempt_limit=ignore_attempt_limit
        )
        with retry_budget.with_budget(limits):
            yield

    # --- Limits and errors ---------------------------------------------------------------------------------------

    @property
    def statement_limit(self) -> float | None:
        """Seconds, or None without a limit."""
        return (retry_budget.statements_are_limited() and self.settings_dict.get("STATEMENT_TIMEOUT")) or None

    @cached_property
    def wrap_database_errors(self) -> ErrorObserver:
        return ErrorObserver(self)

    def note_error(self, error: BaseException) -> None:
        """Replace the idle sessions of a server that does not answer, or that must be writable and is not."""
        if self._checked_out is None:
            return
        pool, raw = self._checked_out.pool, self._checked_out.connection
        refused = pool.settings.writable and getattr(error, "pgcode", None) == READ_ONLY_TRANSACTION
        if isinstance(raw, WatchedConnection) and raw.expired:
            retry_budget.add_wait(raw.limit)
        if refused or has_expired(raw):
            pool.retire(server_of(raw))

    def _commit(self) -> None:
        """Django's, which tells a COMMIT whose outcome is unknown from one that failed."""
        raw = self.connection
        try:
            super()._commit()  # type: ignore[misc]  # missing in django-stubs
        except OperationalError as error:
            if raw is None or not raw.closed:
                raise
            text = "The connection was lost during COMMIT: it is not known whether the transaction was committed."
            raise CommitUnknown(text) from error

    # --- Getting a connection ------------------------------------------------------------------------------------

    @property
    def connection_pool(self) -> "ConnectionPool | None":
        """The pool of this alias and target, created at its first use. The no-database alias has none."""
        if self.alias == NO_DB_ALIAS or not self.settings_dict.get("POOL", {}).get("SIZE"):
            return None
        settings = self.settings_dict
        target = (settings["HOST"], settings["PORT"], settings["NAME"], settings["USER"], self.timezone_name)
        return pools.get_or_create((self.alias, target), self._make_pool)

    def _make_pool(self) -> "ConnectionPool":
        # SQLAlchemy takes longer to import than Django, and many processes never connect (`homerack.preloading`).
        from homerack.postgresql.pool import ConnectionPool, PoolSettings  # noqa: PLC0415

        settings, policy = self.settings_dict, self._retry_policy()
        params = self.get_connection_params() | {"options": self._startup_options()}

        limit = self.statement_limit

        def connect() -> connection:
            raw: connection = connect_with_retry(
                partial(open_session, limit=limit),
                params,
                policy=policy,
                budget=retry_budget.current(),
                deadline=retry_budget.deadline(),
            )
            return raw

        return ConnectionPool(
            name=self.alias,
            connect=connect,
            settings=PoolSettings(
                size=settings["POOL"]["SIZE"],
                max_overflow=settings["POOL"].get("MAX_OVERFLOW", 10),
                timeout=min(settings["POOL"].get("TIMEOUT", 30), limit or math.inf),
                recycle=settings["CONN_MAX_AGE"],
                pre_ping=settings["CONN_HEALTH_CHECKS"],
                writable=settings["OPTIONS"].get("target_session_attrs") in WRITABLE_ONLY,
            ),
        )

    def _retry_policy(self) -> RetryPolicy:
        settings = self.settings_dict.get("CONNECT_RETRY", {})
        return RetryPolicy(attempts=settings.get("ATTEMPTS", 5), delay=settings.get("DELAY", 2))

    def _startup_options(self) -> str:
        """The session defaults, which ``DISCARD ALL`` returns to; options of the settings come last and win."""
        options: dict[str, Any] = {
            "TimeZone": self.timezone_name,
            "idle_in_transaction_session_timeout": IDLE_IN_TRANSACTION_TIMEOUT,
        }
        if level := self.settings_dict["OPTIONS"].get("isolation_level"):
            level_name = IsolationLevel(level).name.lower().replace("_", r"\ ")
            options["default_transaction_isolation"] = level_name
        if limit := self.statement_limit:
            options["statement_timeout"] = max(1, round(limit * CANCEL_AT * 1000))
        ours = " ".join(f"-c {name}={value}" for name, value in options.items())
        return f"{ours} {self.settings_dict['OPTIONS'].get('options', '')}".rstrip()

    @async_unsafe
    def connect(self) -> None:
        """Django's `connect`, without the steps that a pooled connection has already been through.

        Each request connects, so each would pay for them.
        """
        _connected.add(self)
        pool = self.connection_pool
        if pool is None:
            super().connect()
            return
        self.check_settings()
        self.in_atomic_block = self.needs_rollback = self.closed_in_transaction = self.errors_occurred = False
        self.savepoint_ids, self.atomic_blocks, self.run_on_commit = [], [], []
        limit = self.statement_limit
        with self._within(limit):
            self._checked_out = pool.check_out(pool_timeout=retry_budget.current().pool_timeout)
        self._checked_out.bind_owner(self)
        self.connection = self._checked_out.connection
        if limit:
            limit_to(retry_budget.left_of(limit) or 0.0, self.connection)
        self.autocommit = True
        if not self.settings_dict["AUTOCOMMIT"]:
            self.set_autocommit(False)  # Django's signature
        self.init_connection_state()
        connection_created.send(sender=self.__class__, connection=self)

    @async_unsafe
    def get_new_connection(self, conn_params: dict[str, Any]) -> connection:
        """A connection without a pool."""
        limit = self.statement_limit
        with self._within(limit):
            raw: connection = connect_with_retry(
                partial(connect, limit=limit, by=self._open),
                conn_params,
                policy=self._retry_policy(),
                budget=retry_budget.current(),
                deadline=retry_budget.deadline(),
            )
        return raw

    @contextmanager
    def _within(self, limit: float | None) -> Iterator[None]:
        """Get a connection within what the request has left of `limit`."""
        began = time.monotonic()
        try:
            with retry_budget.ending_after(retry_budget.left_of(limit)):
                yield
        finally:
            retry_budget.add_wait(time.monotonic() - began)

    def _open(self, **conn_params: Any) -> connection:
        raw: connection = super().get_new_connection(conn_params)
        return raw

    # --- Closing a connection ------------------------------------------------------------------------------------

    def _close(self) -> None:
        checked_out, self._checked_out = self._checked_out, None
        if checked_out is None:
            super()._close()  # type: ignore[misc]  # missing in django-stubs
        elif self.in_atomic_block:
            # Django keeps the connection object until the block ends. If it were checked in, another thread could use
            # it meanwhile.
            checked_out.discard()
        else:
            checked_out.check_in()

    def close_if_unusable_or_obsolete(self) -> None:
        """Called by Django when a request or a task begins and ends."""
        if self._checked_out is None:
            super().close_if_unusable_or_obsolete()
        else:
            self.close()

    def close_if_health_check_failed(self) -> None:
        """Called by Django before each statement: replace a connection that is closed, except in a transaction.

        The statement that found the connection dead has raised its error; the statements after it need not fail.
        """
        if self.connection is not None and self.connection.closed and self.autocommit and not self.in_atomic_block:
            self.close()
        elif self._checked_out is None:
            super().close_if_health_check_failed()

    def is_usable(self) -> bool:
        """Called by Django for a connection without a pool before the first statement of a request."""
        return self.connection is not None and is_alive(self.connection)

    def close_pool(self) -> None:
        pools.dispose(self.alias)

    # --- Fork ----------------------------------------------------------------------------------------------------

    def forget_inherited(self) -> None:
        """In a forked child: drop the parent's connection without using its socket.

        psycopg2 does not close a connection that is garbage collected in another process than the one that opened it.
        """
        if self.connection is None:
            return
        self._checked_out = None
        self.connection = None
        if self.in_atomic_block:
            # The transaction is the parent's. With these flags Django refuses to continue it on a new connection.
            self.closed_in_transaction = True
            self.needs_rollback = True


_connected: weakref.WeakSet[DatabaseWrapper] = weakref.WeakSet()


def _forget_inherited_connections() -> None:
    for wrapper in tuple(_connected):
        wrapper.forget_inherited()


os.register_at_fork(after_in_child=_forget_inherited_connections)
