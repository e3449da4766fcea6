"""Migrations of an empty database: Django's once a test run, afterwards the statements that Django sent then.

Django takes a second for it, most of which it spends on models that it builds again for each migration.
"""

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.contenttypes.models import ContentType
from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from ops.backups import verify
from ops.databases.migration_state import MigrationState
from ops.engine_migration.to_postgres import target
from ops.engine_migration.to_sqlite import target as file_target
from ops.utils.progress import ProgressCallback

FOLDER = "STATEMENTS_OF_MIGRATE"
"""Where programs that tests start find the statements."""
CHANGES = ("ALTER", "CREATE", "DELETE", "DROP", "INSERT", "SET CONSTRAINTS", "UPDATE")
BuildSchema = Callable[..., None]


def replaying(run_migrations: Callable[[], None], folder: Path) -> Callable[[], None]:
    """`run_migrations`, which works on the database "default", without what it does again for an empty one.

    The `folder` has the statements and their parameters, by the kind of database and the time zone, which schedules are
    created with.
    """

    def replay() -> None:
        wrapper = connections["default"]
        if wrapper.introspection.table_names():
            run_migrations()
        else:
            once(wrapper, script_in(folder, wrapper), run_migrations)

    return replay


def replaying_schema(build_schema: BuildSchema, folder: Path) -> BuildSchema:
    """`build_schema` of `ops.backups.untrusted.schema`, in the same way for each state of the migrations."""

    def replay(wrapper: BaseDatabaseWrapper, state: MigrationState, *, on_progress: ProgressCallback) -> None:
        digest = hashlib.sha256(repr(state).encode()).hexdigest()
        script = script_in(folder, wrapper, f" {digest}")
        once(wrapper, script, lambda: build_schema(wrapper, state, on_progress=on_progress))

    return replay


def replay_in_this_program(folder: Path | None = None) -> None:
    """In a program that a test starts: let a migration or an untrusted restore create the tables so."""
    folder = folder or Path(os.environ[FOLDER])
    target.run_migrations = replaying(target.run_migrations, folder)
    file_target.run_migrations = replaying(file_target.run_migrations, folder)
    verify.build_schema = replaying_schema(verify.build_schema, folder)


def script_in(folder: Path, wrapper: BaseDatabaseWrapper, more: str = "") -> Path:
    return folder / f"{wrapper.vendor} {settings.TIME_ZONE.replace('/', ' ')}{more}.json"


def once(wrapper: BaseDatabaseWrapper, script: Path, work: Callable[[], None]) -> None:
    """Do the `work` on an empty database, or send the statements that it sent when it was done first."""
    if script.exists():
        send(wrapper, json.loads(script.read_text()))
    else:
        new = script.with_suffix(f".{os.getpid()}")
        new.write_text(json.dumps(record(wrapper, work)))
        new.rename(script)


def record(wrapper: BaseDatabaseWrapper, work: Callable[[], None]) -> list[tuple[str, Any]]:
    script: list[tuple[str, Any]] = []

    def note(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if sql.lstrip().startswith(CHANGES):
            script.extend((sql, row) for row in (params if many else [params]))
        return execute(sql, params, many, context)

    with wrapper.execute_wrapper(note):
        work()
    if wrapper.vendor == "postgresql":
        with wrapper.cursor() as cursor:
            return [(";".join(cursor.mogrify(sql, params).decode() for sql, params in script), None)]
    return script


def send(wrapper: BaseDatabaseWrapper, script: list[tuple[str, Any]]) -> None:
    with transaction.atomic(), wrapper.cursor() as cursor:
        for sql, params in script:
            cursor.execute(sql, params)
    ContentType.objects.clear_cache()
