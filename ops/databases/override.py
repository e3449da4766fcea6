"""Use another database than the configured one, in this thread only."""

import contextlib
from collections.abc import Iterator
from typing import Any

from django.contrib.contenttypes.models import ContentType
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.sqlite3.base import DatabaseWrapper as SQLite

from ops.conf import conf


@contextlib.contextmanager
def override_database(wrapper: BaseDatabaseWrapper, alias: str = "default") -> Iterator[BaseDatabaseWrapper]:
    """Within the block, `alias` is `wrapper` for this thread, also in migrations.

    Django's connections belong to threads, so other threads are not affected. The wrapper is closed at the end.
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
            # Django does not close databases in memory.
            wrapper.connection.close()


def direct_settings(alias: str = "default") -> dict[str, Any]:
    """The entry of DATABASES, with the address of the server itself where a pooler such as PgBouncer is in between.

    Locks, exported snapshots and renaming of databases need a session. OPS_DIRECT_DATABASE has the values of "default"
    that differ.
    """
    direct = conf.OPS_DIRECT_DATABASE if alias == "default" else {}
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
