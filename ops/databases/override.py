"""Use another database than the configured one, in this thread only."""

import contextlib
from collections.abc import Iterator
from typing import Any

from django.apps import apps
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.utils import ConnectionHandler

from ops.conf import conf


@contextlib.contextmanager
def override_database(wrapper: BaseDatabaseWrapper, alias: str = "default") -> Iterator[BaseDatabaseWrapper]:
    """Within the block, `alias` is `wrapper` for this thread, also in migrations.

    Django's connections belong to threads, so other threads are not affected. The wrapper is closed at the end.
    """
    before = connections[alias]
    connections[alias] = wrapper
    forget_content_types()
    try:
        yield wrapper
    finally:
        connections[alias] = before
        forget_content_types()
        wrapper.close()
        if wrapper.vendor == "sqlite" and wrapper.connection is not None:
            # Django does not close databases in memory.
            wrapper.connection.close()


def forget_content_types() -> None:
    """The keys of content types differ between databases. (Imported here, the model would need Django to be set up.)"""
    apps.get_model("contenttypes", "ContentType").objects.clear_cache()


def direct_settings(alias: str = "default") -> dict[str, Any]:
    """The entry of DATABASES, with the address of the server itself where a pooler such as PgBouncer is in between.

    Locks, exported snapshots and renaming of databases need a session. OPS_DIRECT_DATABASE has the values of "default"
    that differ.
    """
    direct = conf.OPS_DIRECT_DATABASE if alias == "default" else {}
    return {**connections[alias].settings_dict, **direct}


def new_wrapper(engine: str, **settings: Any) -> BaseDatabaseWrapper:
    """Django's view of a database that is not in DATABASES, with the time zone of "default".

    Its other settings are Django's defaults.
    """
    entry = {"ENGINE": engine, "TIME_ZONE": connections["default"].settings_dict["TIME_ZONE"], **settings}
    return ConnectionHandler({"default": entry}).create_connection("default")


def sqlite_wrapper(name: str) -> BaseDatabaseWrapper:
    """Django's view of the SQLite database `name`, which may be a ``file:`` URI."""
    return new_wrapper("django.db.backends.sqlite3", NAME=name)
