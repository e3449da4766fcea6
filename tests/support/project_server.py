"""Makes Django projects, migrates them to PostgreSQL and reads them back, in forks of a process that imported Django.

Run by `tests.support.projects`, whose `Project` describes one, with the path of a socket. A connection is one project:
a line of JSON comes in and one goes out.
"""

import contextlib
import gc
import importlib
import io
import json
import os
import shutil
import signal
import socket
import sqlite3
import sys
import traceback
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import dj_database_url
import django
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import connection, connections

from tests.support.database_objects import read_objects
from tests.support.project_rows import compared_models, differences, read_all, stored_differences

# Imported once, for all projects. They want no settings.
for module in (
    *("celery.app.base", "msgspec", "psycopg2.extras", "rich.console", "rich.progress", "rich.table"),
    *("django.core.mail", "django.http", "django.views.generic"),
    *(
        "ops.backups.rights.changes",
        "ops.backups.verify",
        "ops.engine_migration.to_postgres.pipeline",
        "ops.notifications.channels",
    ),
    *("django.contrib.postgres.fields", "django.db.backends.postgresql.base", "django.db.backends.sqlite3.base"),
    *("django.core.management.commands.makemigrations", "django.core.management.commands.migrate"),
):
    importlib.import_module(module)

PRELUDE = """
import datetime as dt, decimal, uuid
from django.db import models
from django.db.models import F, Q, functions
import django.contrib.postgres.constraints as pgc
import django.contrib.postgres.fields as pg
import django.contrib.postgres.indexes as pgi
import django.contrib.postgres.search as pgs
"""
MIGRATION = """
from django.db import migrations, models
import django.contrib.postgres.operations as pgo
{before}
class Migration(migrations.Migration):
    dependencies = [('shop', {dependency!r})]
    operations = [{operations}]
"""
FIRST = """
from django.db import migrations
import django.contrib.postgres.operations as pgo
def forward(apps, editor):
    if editor.connection.vendor == 'postgresql':
        for statement in {statements!r}:
            editor.execute(statement, None)
class Migration(migrations.Migration):
    operations = [{operations} migrations.RunPython(forward, migrations.RunPython.noop)]
"""


def main(path: str) -> None:
    # Garbage collection in a fork would copy all of this process.
    gc.collect()
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(f"{path}.new")
    listener.listen(50)
    Path(f"{path}.new").rename(path)
    while True:
        connection, _ = listener.accept()
        with connection:
            if not os.fork():
                listener.close()
                attend(connection)


def attend(connection: socket.socket) -> None:
    """Read a project, and write what became of it."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with connection.makefile("rw") as file:
        project = json.loads(file.readline())
        answer = in_fork(migrate, project)
        if answer.get("real", {}).get("code") in {0, 3}:
            # Django takes the names of some tables from the kind of database that it is started with.
            answer |= in_fork(read_target, project | {"ours": answer["ours"]})
        if answer.get("home", {}).get("way back", {}).get("code") == 0:
            home = in_fork(read_home, project | {"ours": answer["ours"]})
            answer["differences"] += home.pop("differences", [])
            answer |= home
        answer.pop("ours", None)
        file.write(json.dumps(answer, default=repr) + "\n")
    os._exit(0)


def in_fork(work: Callable[[dict[str, Any]], dict[str, Any]], project: dict[str, Any]) -> dict[str, Any]:
    """What `work` returns in a process of its own; ``setup`` is the traceback of what it raises."""
    read, write = os.pipe()
    if not (child := os.fork()):
        os.close(read)
        try:
            sys.path[:] = [project["folder"], *sys.path, *project["path"]]
            answer = work(project)
        except BaseException:  # noqa: BLE001  # reported to the test
            answer = {"setup": traceback.format_exc()[-3000:]}
        with os.fdopen(write, "w") as pipe:
            json.dump(answer, pipe, default=repr)
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        text = pipe.read()
    os.waitpid(child, 0)
    return dict(json.loads(text or '{"setup": "the process of the project died"}'))


def migrate(project: dict[str, Any]) -> dict[str, Any]:
    """Make the project, and migrate it: once as a dry run, once in earnest."""
    folder = Path(project["folder"])
    file = folder / "lab.db"
    write_files(project, folder)
    start_django(project, {"ENGINE": "django.db.backends.sqlite3", "NAME": str(file)})
    write_migrations(project, folder / "shop" / "migrations")
    call_command("migrate", verbosity=0, run_syncdb=True, skip_checks=True)
    execute(project["fill"])
    connections.close_all()
    change(file, project["raw"])
    ours = read_all()
    connections.close_all()
    words = ["migrate_to_postgres", "--sqlite-path", str(file), "--postgres-url", project["url"], *project["arguments"]]
    return {
        "ours": ours,
        "dry": run([*words, "--dry-run"]),
        "real": run([*words, "--yes", "--no-backup"]),
        "differences": [],
        "extra": None,
        "commands": {},
        "home": {},
    }


def read_target(project: dict[str, Any]) -> dict[str, Any]:
    """How what Django reads in PostgreSQL differs, and what the project's own code finds there."""
    start_django(project, dj_database_url.parse(project["url"]))
    patient_session()
    theirs = read_all()
    names = execute(project["after"])
    found = differences(project["ours"], theirs, project["not_compared"])
    commands: dict[str, Any] = {}
    connections.close_all()
    home = go_home(Path(project["folder"], "home.db")) if project["comes_home"] else {}
    patient_session()
    if project["restored"]:
        found += restore(commands)
    return {"differences": found, "extra": names.get("extra"), "commands": commands, "home": home}


def go_home(file: Path) -> dict[str, Any]:
    """Go back to SQLite without tables and columns that no model has: once as a dry run, once in earnest."""
    words, plan = ["migrate_to_sqlite", "--sqlite-path", str(file)], file.with_name("plan.json")
    dry = run([*words, "--dry-run", "--json", str(plan)])
    unknown = json.loads(plan.read_text())["unknown"] if dry["code"] == 2 else []
    tables = set(connection.introspection.table_names())
    for name in (entry["table"] for entry in unknown):
        if name in tables:
            words += ["--skip-table", name]
        else:
            drop_column(name, tables)
    if unknown:
        connections.close_all()
        dry = run([*words, "--dry-run"])
    return {"dry run of the way back": dry, "way back": run([*words, "--yes"])}


def drop_column(name: str, tables: Collection[str]) -> None:
    table = next(table for table in tables if name.startswith(f"{table}."))
    quote = connection.ops.quote_name
    statement = f"ALTER TABLE {quote(table)} DROP COLUMN {quote(name.removeprefix(f'{table}.'))} CASCADE"
    with connection.cursor() as cursor:
        cursor.execute(statement.replace("%", "%%"), [])


def read_home(project: dict[str, Any]) -> dict[str, Any]:
    """How what Django reads in the new file, and what is stored there, differs from the first one."""
    file = Path(project["folder"], "home.db")
    start_django(project, {"ENGINE": "django.db.backends.sqlite3", "NAME": str(file)})
    found = differences(project["ours"], read_all(), project["not_compared_at_home"])
    with connection.cursor() as cursor:
        found += [f"foreign key: {row}" for row in cursor.execute("PRAGMA foreign_key_check").fetchall()]
        cursor.execute("ATTACH %s AS first", [str(file.with_name("lab.db"))])
        for model in compared_models():
            if model._meta.label not in project["not_compared_at_home"]:
                found += stored_differences(cursor, model)
    return {"differences": [f"at home: {line}" for line in found]}


def patient_session() -> None:
    """Connect again, without the limits that role and database may have."""
    connections.close_all()
    with connection.cursor() as cursor:
        names = ("statement", "lock", "idle_in_transaction_session", "idle_session")
        cursor.execute("; ".join(f"SET {name}_timeout = 0" for name in names))


def restore(commands: dict[str, Any]) -> list[str]:
    """Back up, change, restore. Returns what the restored database lacks or has in addition."""
    rows, objects = read_all(), read_objects(connection)
    connections.close_all()
    commands["backup"] = run(["backup_database"])
    patient_session()
    change_database()
    connections.close_all()
    commands["restore"] = run(["restore_database", "--latest", "--yes", "--no-pre-backup"])
    patient_session()
    restored = read_objects(connection)
    changed = [f"lost: {line}" for line in objects if line not in restored]
    changed += [f"new: {line}" for line in restored if line not in objects]
    return [*differences(rows, read_all()), *changed]


def change_database() -> None:
    tables = [connection.ops.quote_name(model._meta.db_table) for model in compared_models()]
    with connection.cursor() as cursor:
        cursor.execute(f"TRUNCATE {', '.join(tables)} CASCADE".replace("%", "%%"), [])
        cursor.execute(f"ALTER TABLE {tables[0]} ADD COLUMN new integer".replace("%", "%%"), [])
        cursor.execute("CREATE TABLE new_things (n integer)")


def execute(code: str) -> dict[str, Any]:
    """Run `code` with what `Project.fill` promises; return its names."""
    names = {"sql": lambda text: connection.cursor().execute(text.replace("%", "%%"), []), "connection": connection}
    exec(f"{PRELUDE}\nfrom shop.models import *\n{code}", names)
    return names


def write_files(project: dict[str, Any], folder: Path) -> None:
    files = {
        "shop/__init__.py": "",
        "shop/migrations/__init__.py": "",
        "shop/models.py": PRELUDE + project["models"],
        **project["files"],
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def start_django(project: dict[str, Any], database: Mapping[str, Any]) -> None:
    settings.configure(**settings_of(project, {**database}))
    django.setup()


def settings_of(project: dict[str, Any], database: dict[str, Any]) -> dict[str, Any]:
    own, backups = dict(project["settings"]), Path(project["folder"], "backups")
    database |= own.pop("DATABASE", {})
    return {
        "SECRET_KEY": "x" * 50,
        "INSTALLED_APPS": ["django.contrib.contenttypes", "django.contrib.auth", "ops", *project["apps"], "shop"],
        "DATABASES": {"default": database},
        "BACKUP_DIR": backups,
        "MEDIA_ROOT": backups.with_name("media"),
        "STORAGES": {
            "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
            "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
        },
        "DEFAULT_AUTO_FIELD": "django.db.models.BigAutoField",
        "LOGGING_CONFIG": None,
        "REDIS_URL": "",
        **own,
    }


def write_migrations(project: dict[str, Any], folder: Path) -> None:
    """Those that Django makes for the models, then those of the project's own operations."""
    if not project["migrations"]:
        shutil.rmtree(folder)
        return
    call_command("makemigrations", "shop", verbosity=0, skip_checks=True)
    if project["first"] or project["first_operations"]:
        statements = [project["first"]] if project["first"] else []
        first = FIRST.format(statements=statements, operations=project["first_operations"])
        (folder / "0000_first.py").write_text(first)
        initial = folder / "0001_initial.py"
        initial.write_text(
            initial.read_text().replace("dependencies = [", "dependencies = [('shop', '0000_first'),", 1)
        )
    for number, (before, operations) in enumerate(project["operations"], start=2):
        last = max(path.stem for path in folder.glob("0*.py"))
        text = MIGRATION.format(before=before, dependency=last, operations=operations)
        (folder / f"{number:04}_extra.py").write_text(text)


def change(file: Path, statements: list[str]) -> None:
    """Run SQL on the file, as any program could, even on the declarations of its tables."""
    if not statements:
        return
    with contextlib.closing(sqlite3.connect(file)) as raw:
        raw.execute("PRAGMA writable_schema = ON")
        for statement in statements:
            raw.execute(statement)
        raw.commit()


def run(words: list[str]) -> dict[str, Any]:
    """The exit code, what was said, and the traceback that a user would have seen."""
    out = io.StringIO()
    code, error, trace = 0, "", ""
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        try:
            call_command(*words)
        except CommandError as refused:
            code, error = refused.returncode, str(refused)
        except SystemExit as ended:
            code = int(ended.code or 0)
        except BaseException:  # noqa: BLE001  # reported to the test
            code, trace = 99, traceback.format_exc()[-3000:]
    return {"code": code, "error": error, "out": out.getvalue(), "trace": trace}


if __name__ == "__main__":
    main(sys.argv[1])
