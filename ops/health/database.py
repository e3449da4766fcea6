"""One query to the database, with a short budget for connecting.

A backend may offer two methods beyond Django's; ``homerack.postgresql`` does, others need not:

``pool_status() -> dict | None``
    ``pool_size, checked_in, checked_out, overflow, total_connections`` of this process.
``retry_budget(*, connect_timeout, pool_timeout=None, ignore_attempt_limit=False)``
    a context manager that limits the seconds spent on reaching the server and on waiting for a pooled connection.

An OperationalError with a true attribute ``pool_exhausted`` says that the server was not even asked.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

from django.db import OperationalError, connections
from django.db.backends.base.base import NO_DB_ALIAS, BaseDatabaseWrapper

from ops.databases.migration_state import applied_migrations, migration_skew
from ops.databases.override import direct_settings
from ops.databases.postgres import writable
from ops.databases.postgres.connection import from_settings
from ops.databases.sqlite import files
from ops.errors import PreconditionFailed
from ops.health.results import CheckResult
from ops.utils.single_flight import shared_calls

READ_ONLY = "ReadOnlyDatabase"
"""The error of a database that cannot be written."""
POOL_TIMEOUT = 0.5
"""Seconds to wait for a connection of a full pool, before one outside of the pool is tried."""


@dataclass(frozen=True, kw_only=True)
class DatabaseAnswer:
    """How the database answered: after how many milliseconds, whether outside of a full pool, and what it lacks."""

    milliseconds: float
    pool_exhausted: bool
    read_only: str
    """Why it cannot be written, and what to do; '' where it can."""
    unapplied: tuple[str, ...]


def query_database(alias: str) -> DatabaseAnswer:
    """Run one trivial query and read the applied migrations. Blocks while the server is silent.

    When every connection of the pool is in use, a connection of its own is opened: a busy pool is not a broken
    database. Raises Django's database errors.
    """
    pooled = connections[alias]
    try:
        return _query(pooled, pool_exhausted=False)
    except OperationalError as error:
        if not getattr(error, "pool_exhausted", False):
            raise
    # No pool of any backend serves this alias: Django's own convention.
    separate = pooled.copy(alias=NO_DB_ALIAS)
    try:
        return _query(separate, pool_exhausted=True)
    finally:
        separate.close()


def _query(connection: BaseDatabaseWrapper, *, pool_exhausted: bool) -> DatabaseAnswer:
    with with_health_deadline(connection), naming_read_only_files(connection):
        milliseconds = time_query(connection)
        return DatabaseAnswer(
            milliseconds=milliseconds,
            pool_exhausted=pool_exhausted,
            read_only=" ".join(explain_read_only(connection)).strip(),
            unapplied=migration_skew(applied_migrations(connection)).pending,
        )


@contextmanager
def naming_read_only_files(connection: BaseDatabaseWrapper) -> Iterator[None]:
    """SQLite reads no file in WAL mode whose directory is read-only, and does not say why."""
    try:
        yield
    except OperationalError as error:
        reason, hint = explain_read_only_file(connection)
        if not reason:
            raise
        raise OperationalError(f"{error}: {reason}. {hint}") from error


def ping_database(alias: str = "default") -> CheckResult:
    """Send the smallest query. Blocks while the server is silent. Raises Django's database errors."""
    connection = connections[alias]
    with with_health_deadline(connection):
        time_query(connection)
    return CheckResult()


def database_answers(*, within: float) -> bool:
    """Whether the default database answers, for pages that must not wait for a frozen server."""
    return isinstance(shared_calls.run("database ping", ping_database).result(within=within), CheckResult)


def with_health_deadline(connection: BaseDatabaseWrapper) -> AbstractContextManager[None]:
    """One attempt to connect, and no long wait in a pool's queue."""
    retry_budget = getattr(connection, "retry_budget", None)
    return retry_budget(connect_timeout=0, pool_timeout=POOL_TIMEOUT) if retry_budget else nullcontext()


def pool_status(connection: BaseDatabaseWrapper) -> Mapping[str, int] | None:
    """The numbers of this process's pool; None where there is no pool."""
    read = getattr(connection, "pool_status", None)
    return read() if read else None


def wait_for_database(alias: str, *, seconds: float) -> None:
    """Wait up to `seconds` until the database can be reached; raise Django's OperationalError if it cannot.

    An error that waiting does not cure, such as a wrong password, is raised at once.
    """
    connection = connections[alias]
    retry_budget = getattr(connection, "retry_budget", None)
    with retry_budget(connect_timeout=seconds, ignore_attempt_limit=True) if retry_budget else nullcontext():
        connection.ensure_connection()
    connection.close()


def explain_read_only(connection: BaseDatabaseWrapper) -> tuple[str, str]:
    """A sentence on why the database cannot be written, and one on what to do; two empty texts where it can."""
    reason, hint = explain_read_only_file(connection)
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            reason, hint = writable.explain_read_only(cursor)
        elif connection.vendor == "sqlite":
            cursor.execute("PRAGMA query_only")
            if cursor.fetchone()[0]:
                reason, hint = "PRAGMA query_only is on", "Remove it from the OPTIONS of the database."
    return (f"The database cannot be written: {reason}.", hint) if reason else ("", "")


def explain_no_session(alias: str) -> tuple[str, str]:
    """A sentence on why operations cannot connect to the PostgreSQL server, and one on what to do; or two empty texts.

    They need a session of the server itself, which a pooler such as PgBouncer does not give.
    """
    try:
        from_settings(direct_settings(alias)).connect().close()
    except PreconditionFailed as error:
        return f"Backups, restores and migrations cannot connect. {error.message}", error.hint
    return "", ""


def explain_read_only_file(connection: BaseDatabaseWrapper) -> tuple[str, str]:
    """Why a SQLite file cannot be written, and what to do; two empty texts where it can, and on PostgreSQL."""
    if connection.vendor != "sqlite":
        return "", ""
    return files.explain_read_only(*files.parse_name(str(connection.settings_dict["NAME"])))


def time_query(connection: BaseDatabaseWrapper) -> float:
    """Milliseconds that the smallest query takes, without connecting."""
    with connection.cursor() as cursor:
        start = time.perf_counter()
        cursor.execute("SELECT 1")
        cursor.fetchone()
        return round((time.perf_counter() - start) * 1000, 3)
