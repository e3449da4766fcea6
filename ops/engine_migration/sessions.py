"""The PostgreSQL side of a migration: a session for each process."""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import psycopg2
from django.db import Error as DatabaseError
from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg2.extensions import connection as Connection  # noqa: N812

from ops.databases.override import override_database
from ops.databases.postgres.connection import PROJECT_SESSION, ConnectionInfo, server_detail, server_message
from ops.errors import OpsError

IN_TEXTS = ("intervalstyle", "extra_float_digits", "bytea_output", "lc_monetary", "xmlbinary")
"""Settings of a session that change the texts of values; Django and psycopg2 set the others that do."""

OLDEST_SERVER = 150000
LOCK_WAIT = 10
"""Seconds that a reader of a snapshot waits for a table. A session that waits to change a table blocks all who come
after it, and waits itself for our other sessions."""


@dataclass(frozen=True, kw_only=True)
class PostgresDatabase:
    """A database that is filled, or read.

    `shared`: the one connection of a transaction. `snapshot`: all sessions read this exported snapshot.
    `temporary_tables`: they may be created, also where transactions are read-only by default.
    """

    address: ConnectionInfo
    processes: int
    shared: Connection | None = None
    snapshot: str = ""
    temporary_tables: bool = False
    _connections: dict[int, Connection] = field(default_factory=dict)

    @contextlib.contextmanager
    def session(self) -> Iterator[Connection]:
        """The connection of this process, committed when the block ends unless everything is one transaction."""
        if self.shared:
            yield self.shared
            return
        process = os.getpid()
        if process not in self._connections:
            self._connections[process] = self.address.connect()
            if self.snapshot:
                with self._connections[process].cursor() as cursor:
                    self.enter_snapshot(cursor)
        connection = self._connections[process]
        try:
            yield connection
            if not self.snapshot:
                connection.commit()
        except BaseException:
            connection.close()
            self._connections.pop(process, None)
            raise

    def enter_snapshot(self, cursor: Any) -> None:
        """Let the transaction of `cursor`, which has just begun, read the snapshot."""
        cursor.execute(
            f"SET TRANSACTION ISOLATION LEVEL REPEATABLE READ{', READ WRITE' if self.temporary_tables else ''}"
        )
        cursor.execute("SET TRANSACTION SNAPSHOT %s", [self.snapshot])
        cursor.execute(f"SET LOCAL lock_timeout = '{LOCK_WAIT}s'")

    def close(self) -> None:
        """Close the connection of this process. An inherited one belongs to the parent."""
        if connection := self._connections.pop(os.getpid(), None):
            connection.close()

    @contextlib.contextmanager
    def through_django(self, address: ConnectionInfo | None = None) -> Iterator[BaseDatabaseWrapper]:
        """Within the block "default" is this database, in a session of its own that reads the snapshot."""
        with override_database((address or self.address).wrapper()) as wrapper, transaction.atomic():
            if self.snapshot:
                with wrapper.cursor() as cursor:
                    self.enter_snapshot(cursor)
            yield wrapper
            transaction.set_rollback(True)

    @contextlib.contextmanager
    def project_session(self) -> Iterator[None]:
        """Within the block "default" is this database, in a session with the settings of the project's own ones."""
        plain = replace(self.address, session=PROJECT_SESSION)
        if not self.shared:
            with self.through_django(plain):
                yield
            return
        with contextlib.closing(plain.connect()) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT name, setting FROM pg_settings WHERE lower(name) = ANY(%s)", [list(IN_TEXTS)])
            values = {**dict(cursor.fetchall()), "TimeZone": connections["default"].timezone_name}
        with transaction.atomic():
            with connections["default"].cursor() as cursor:
                for name, value in values.items():
                    cursor.execute("SELECT set_config(%s, %s, true)", [name, value])
            yield
            transaction.set_rollback(True)


@contextlib.contextmanager
def translate_server_errors(unchanged: str) -> Iterator[None]:
    """Raise errors of PostgreSQL and broken connections as OpsError, which also says what is `unchanged`."""
    try:
        yield
    except (psycopg2.Error, DatabaseError) as error:
        cause = error.__cause__ if isinstance(error.__cause__, psycopg2.Error) else error
        if isinstance(cause, psycopg2.errors.LockNotAvailable):
            raise OpsError(
                f"Another program has locked a table of PostgreSQL, or waits to change one. {unchanged}",
                "Wait until it has ended (a migration?), and run the command again.",
            ) from error
        detail = server_detail(cause)
        raise OpsError(
            f"PostgreSQL ended the migration: {server_message(cause)}{f' ({detail})' if detail else ''}. {unchanged}",
            "Run the command again. If it fails again, read the server's log.",
        ) from error
