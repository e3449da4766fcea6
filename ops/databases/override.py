"""Let Django work on another database than the configured one, in this thread only."""

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.contrib.contenttypes.models import ContentType
from django.core.management import call_command
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.sqlite3.base import DatabaseWrapper as SQLite
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder


@contextlib.contextmanager
def override_database(wrapper: BaseDatabaseWrapper, alias: str = "default") -> Iterator[BaseDatabaseWrapper]:
    """Whatever this thread does with `alias` reaches `wrapper`; migrations that name no database do, too.

    Connections are per thread in Django, so others do not notice. The wrapper is closed at the end.
    """
    before = connections[alias]
    connections[alias] = wrapper
    ContentType.objects.clear_cache()
    try:
        yield wrapper
    finally:
        connections[alias] = before
        ContentType.objects.clear_cache()
        wrapper.close()
        if wrapper.vendor == "sqlite" and wrapper.connection is not None:
            # Django keeps databases in memory open.
            wrapper.connection.close()


def direct_settings(alias: str = "default") -> dict[str, Any]:
    """The entry of DATABASES, with the address of the server itself where a pooler such as PgBouncer stands before it.

    For what belongs to a session and not to a transaction: locks, exported snapshots, and the renaming of databases.
    The setting OPS_DIRECT_DATABASE has what differs for "default".
    """
    direct = getattr(settings, "OPS_DIRECT_DATABASE", {}) if alias == "default" else {}
    return {**connections[alias].settings_dict, **direct}


def sqlite_wrapper(name: str, alias: str = "default") -> BaseDatabaseWrapper:
    """Django's view of the SQLite database `name`, which may be a ``file:`` URI."""
    own: dict[str, Any] = {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": name,
        "ATOMIC_REQUESTS": False,
        "AUTOCOMMIT": True,
        "CONN_MAX_AGE": 0,
        "CONN_HEALTH_CHECKS": False,
        "OPTIONS": {},
        "TIME_ZONE": None,
        "TEST": {},
    }
    return SQLite(own, alias)


def run_migrations() -> None:
    """``migrate`` on what "default" is for this thread."""
    call_command("migrate", database="default", interactive=False, verbosity=0, skip_checks=True)


@dataclass(frozen=True, kw_only=True)
class MigrationSkew:
    """How the migrations of a database differ from the code's, as ``app.name``."""

    pending: tuple[str, ...]
    """In the code, not applied."""
    unknown: tuple[str, ...]
    """Applied, but not in the code, though their app is: the database is newer."""


def migration_skew(applied: Iterable[str]) -> MigrationSkew:
    """Compare `applied` (``app.name``) with the migrations of the installed apps. Needs no database."""
    loader = MigrationLoader(None)
    there = {(app, name) for app, _, name in (key.partition(".") for key in applied)}
    replaced = {key for migration in loader.disk_migrations.values() for key in migration.replaces}
    known = set(loader.disk_migrations) | replaced
    # A squashed migration counts as applied when all that it replaces is (Django's loader does the same).
    there |= {
        key
        for key, migration in loader.disk_migrations.items()
        if migration.replaces and set(migration.replaces) <= there
    }
    return MigrationSkew(
        pending=tuple(".".join(key) for key in sorted(loader.graph.nodes) if key not in there),
        unknown=tuple(".".join(key) for key in sorted(there) if key not in known and key[0] in loader.migrated_apps),
    )


def applied_migrations(wrapper: BaseDatabaseWrapper) -> tuple[str, ...]:
    """``app.name`` of the migrations recorded in the database, in the order they were applied."""
    recorder = MigrationRecorder(wrapper)
    if not recorder.has_table():
        return ()
    rows = recorder.migration_qs.order_by("pk").values_list("app", "name")
    return tuple(f"{app}.{name}" for app, name in rows)


def summarize(migrations: tuple[str, ...]) -> str:
    """The first of them and how many there are beside it, for a sentence."""
    return f"{migrations[0]} and {len(migrations) - 1} more" if len(migrations) > 1 else migrations[0]
