"""``migrate`` on an empty database: Django's once a process, afterwards the statements that Django sent then.

Django takes a second for it, most of which it spends on models that it builds again for each migration.
"""

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.contrib.contenttypes.models import ContentType
from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

CHANGES = ("ALTER", "CREATE", "DELETE", "DROP", "INSERT", "SET CONSTRAINTS", "UPDATE")
scripts: dict[tuple[str, str], list[tuple[str, Any]]] = {}
"""Statements and their parameters, by the kind of database and the time zone, which schedules are created with."""


def replaying(run_migrations: Callable[[], None]) -> Callable[[], None]:
    """`run_migrations`, which works on the database "default", without what it does again for an empty one."""

    def replay() -> None:
        wrapper = connections["default"]
        key = (wrapper.vendor, settings.TIME_ZONE)
        if wrapper.introspection.table_names():
            run_migrations()
        elif script := scripts.get(key):
            send(wrapper, script)
        else:
            scripts[key] = record(wrapper, run_migrations)

    return replay


def record(wrapper: BaseDatabaseWrapper, run_migrations: Callable[[], None]) -> list[tuple[str, Any]]:
    script = []

    def note(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if sql.lstrip().startswith(CHANGES):
            script.extend((sql, row) for row in (params if many else [params]))
        return execute(sql, params, many, context)

    with wrapper.execute_wrapper(note):
        run_migrations()
    return script


def send(wrapper: BaseDatabaseWrapper, script: list[tuple[str, Any]]) -> None:
    with transaction.atomic(), wrapper.cursor() as cursor:
        if wrapper.vendor == "postgresql":
            cursor.execute(";".join(cursor.mogrify(sql, params).decode() for sql, params in script))
        else:
            for sql, params in script:
                cursor.execute(sql, params)
    ContentType.objects.clear_cache()
