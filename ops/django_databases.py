"""Let Django work on another database than the configured one, in this thread only."""

import contextlib
from collections.abc import Iterator
from typing import Any

from django.contrib.contenttypes.models import ContentType
from django.core.management import call_command
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.sqlite3.base import DatabaseWrapper as SQLite


@contextlib.contextmanager
def pointing_at(wrapper: BaseDatabaseWrapper, alias: str = "default") -> Iterator[BaseDatabaseWrapper]:
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
        if wrapper.connection is not None:
            # Django keeps databases in memory open.
            wrapper.connection.close()


def sqlite_wrapper(name: str, alias: str = "default") -> BaseDatabaseWrapper:
    """Django's view of the SQLite database `name`, which may be a ``file:`` URI."""
    settings: dict[str, Any] = {
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
    return SQLite(settings, alias)


def run_migrations() -> None:
    """``migrate`` on what "default" is for this thread."""
    call_command("migrate", database="default", interactive=False, verbosity=0, skip_checks=True)
