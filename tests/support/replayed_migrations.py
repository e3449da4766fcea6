"""``migrate`` on an empty database: Django's once a test run, afterwards the statements that Django sent then.

Django takes a second for it, most of which it spends on models that it builds again for each migration.
"""

import pickle
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.contrib.contenttypes.models import ContentType
from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from tests.support.shared import made_once

CHANGES = ("ALTER", "CREATE", "DELETE", "DROP", "INSERT", "SET CONSTRAINTS", "UPDATE")


def replaying(run_migrations: Callable[[], None], factory: pytest.TempPathFactory) -> Callable[[], None]:
    """`run_migrations`, which works on the database "default", without what it does again for an empty one."""

    def replay() -> None:
        wrapper = connections["default"]
        if wrapper.introspection.table_names():
            run_migrations()
            return
        # Schedules are created with the time zone.
        name = f"migrations_{wrapper.vendor}_{settings.TIME_ZONE.replace('/', '_')}"
        script = made_once(factory, name, lambda folder: record(wrapper, run_migrations, folder / "script")) / "script"
        if not wrapper.introspection.table_names():
            send(wrapper, read(script))

    return replay


def record(wrapper: BaseDatabaseWrapper, run_migrations: Callable[[], None], file: Path) -> None:
    """Write the statements of `run_migrations` with their parameters, of PostgreSQL's within their texts."""
    script: list[tuple[str, Any]] = []

    def note(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if sql.lstrip().startswith(CHANGES):
            script.extend((sql, row) for row in (params if many else [params]))
        return execute(sql, params, many, context)

    with wrapper.execute_wrapper(note):
        run_migrations()
    if wrapper.vendor == "postgresql":
        with wrapper.cursor() as cursor:
            script = [(";".join(cursor.mogrify(sql, params).decode() for sql, params in script), None)]
    file.write_bytes(pickle.dumps(script))


@cache
def read(file: Path) -> list[tuple[str, Any]]:
    return list(pickle.loads(file.read_bytes()))


def send(wrapper: BaseDatabaseWrapper, script: list[tuple[str, Any]]) -> None:
    with transaction.atomic(), wrapper.cursor() as cursor:
        for sql, params in script:
            cursor.execute(sql, params)
    ContentType.objects.clear_cache()
