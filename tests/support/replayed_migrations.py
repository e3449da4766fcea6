"""``migrate`` on an empty database: Django's once a test run, afterwards the statements that Django sent then.

Django takes a second for it, most of which it spends on models that it builds again for each migration.
"""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.contenttypes.models import ContentType
from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from ops.engine_migration import target

FOLDER = "STATEMENTS_OF_MIGRATE"
"""Where programs that tests start find the statements."""
CHANGES = ("ALTER", "CREATE", "DELETE", "DROP", "INSERT", "SET CONSTRAINTS", "UPDATE")


def replaying(run_migrations: Callable[[], None], folder: Path) -> Callable[[], None]:
    """`run_migrations`, which works on the database "default", without what it does again for an empty one.

    The `folder` has the statements and their parameters, by the kind of database and the time zone, which schedules are
    created with.
    """

    def replay() -> None:
        wrapper = connections["default"]
        script = folder / f"{wrapper.vendor} {settings.TIME_ZONE.replace('/', ' ')}.json"
        if wrapper.introspection.table_names():
            run_migrations()
        elif script.exists():
            send(wrapper, json.loads(script.read_text()))
        else:
            new = script.with_suffix(f".{os.getpid()}")
            new.write_text(json.dumps(record(wrapper, run_migrations)))
            new.rename(script)

    return replay


def replay_in_this_program() -> None:
    """In a program that a test starts: let a migration create the target's tables so."""
    target.run_migrations = replaying(target.run_migrations, Path(os.environ[FOLDER]))


def record(wrapper: BaseDatabaseWrapper, run_migrations: Callable[[], None]) -> list[tuple[str, Any]]:
    script: list[tuple[str, Any]] = []

    def note(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if sql.lstrip().startswith(CHANGES):
            script.extend((sql, row) for row in (params if many else [params]))
        return execute(sql, params, many, context)

    with wrapper.execute_wrapper(note):
        run_migrations()
    if wrapper.vendor == "postgresql":
        with wrapper.cursor() as cursor:
            return [(";".join(cursor.mogrify(sql, params).decode() for sql, params in script), None)]
    return script


def send(wrapper: BaseDatabaseWrapper, script: list[tuple[str, Any]]) -> None:
    with transaction.atomic(), wrapper.cursor() as cursor:
        for sql, params in script:
            cursor.execute(sql, params)
    ContentType.objects.clear_cache()
