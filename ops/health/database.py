"""Asking the database how it is.

A backend may offer two methods beyond Django's; ``homerack.postgresql`` does, others need not:

``pool_status() -> dict | None``
    ``pool_size, checked_in, checked_out, overflow, total_connections`` of this process.
``patience(*, connecting, queueing=None, persistent=False)``
    a context manager that limits the seconds spent on reaching the server and on waiting for a pooled connection.

An OperationalError with a true attribute ``pool_exhausted`` says that the server was not even asked.
"""

import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cache

from django.db import OperationalError, connections
from django.db.backends.base.base import NO_DB_ALIAS, BaseDatabaseWrapper
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder

QUEUEING = 0.5
"""Seconds to wait for a place in a full pool, before a connection beside the pool is tried."""


@dataclass(frozen=True, kw_only=True)
class DatabaseAnswer:
    """The database answered: in how many milliseconds, past a full pool or not, and which migrations it lacks."""

    milliseconds: float
    pool_exhausted: bool
    unapplied: tuple[str, ...]


def ask_database(alias: str) -> DatabaseAnswer:
    """Put one trivial query to the database and look at its migrations. Blocks while the server is silent.

    With the pool in use to the last place, the question goes over a connection of its own: a busy pool and a broken
    database are different news. Raises Django's database errors.
    """
    pooled = connections[alias]
    try:
        return _ask(pooled, pool_exhausted=False)
    except OperationalError as error:
        if not getattr(error, "pool_exhausted", False):
            raise
    # No pool of any backend serves this alias: Django's own convention.
    beside = pooled.copy(alias=NO_DB_ALIAS)
    try:
        return _ask(beside, pool_exhausted=True)
    finally:
        beside.close()


def _ask(connection: BaseDatabaseWrapper, *, pool_exhausted: bool) -> DatabaseAnswer:
    with with_health_deadline(connection):
        milliseconds = time_query(connection)
        return DatabaseAnswer(
            milliseconds=milliseconds,
            pool_exhausted=pool_exhausted,
            unapplied=unapplied_migrations(connection),
        )


def with_health_deadline(connection: BaseDatabaseWrapper) -> AbstractContextManager[None]:
    """One attempt to connect, and no long wait in a pool's queue."""
    patience = getattr(connection, "patience", None)
    return patience(connecting=0, queueing=QUEUEING) if patience else nullcontext()


def wait_for_database(alias: str, *, seconds: float) -> None:
    """Return when the database can be reached, after `seconds` at the latest; raise Django's OperationalError then.

    What waiting does not cure, such as a wrong password, is raised at once.
    """
    connection = connections[alias]
    patience = getattr(connection, "patience", None)
    with patience(connecting=seconds, persistent=True) if patience else nullcontext():
        connection.ensure_connection()
    connection.close()


def time_query(connection: BaseDatabaseWrapper) -> float:
    """Milliseconds that the smallest query takes, without connecting."""
    with connection.cursor() as cursor:
        start = time.perf_counter()
        cursor.execute("SELECT 1")
        cursor.fetchone()
        return round((time.perf_counter() - start) * 1000, 3)


def unapplied_migrations(connection: BaseDatabaseWrapper) -> tuple[str, ...]:
    """``app.name`` of the migrations in the code that the database does not record."""
    applied = applied_migrations(connection)
    return tuple(
        f"{app}.{name}"
        for (app, name), replaces in _migrations_in_code().items()
        if (app, name) not in applied and not (replaces and all(replaced in applied for replaced in replaces))
    )


def applied_migrations(connection: BaseDatabaseWrapper) -> set[tuple[str, str]]:
    """What Django's recorder returns; it would look for a connection by its alias, which one beside a pool has not."""
    if not MigrationRecorder(connection).has_table():
        return set()
    quote = connection.ops.quote_name
    columns, table = f"{quote('app')}, {quote('name')}", quote(MigrationRecorder.Migration._meta.db_table)
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {columns} FROM {table}")  # noqa: S608  # names of Django's own model, quoted
        return {(app, name) for app, name in cursor.fetchall()}


@cache
def _migrations_in_code() -> dict[tuple[str, str], tuple[tuple[str, str], ...]]:
    """Each migration with those it replaces. Read once: code does not change under a running process."""
    loader = MigrationLoader(None, ignore_no_migrations=True)
    return {key: tuple(loader.get_migration(*key).replaces) for key in sorted(loader.graph.nodes)}
