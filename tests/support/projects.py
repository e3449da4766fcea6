"""Whole Django projects, made from a few lines: migrated to PostgreSQL by the command, and compared through the ORM.

Each has an app ``shop``. It takes a second of a processor, so tests put several models of one kind into a project.
"""

import contextlib
import dataclasses
import fcntl
import json
import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from tests.engine_migration import support
from tests.support import forked


@dataclasses.dataclass(frozen=True, kw_only=True)
class Project:
    """A project with `models`, the code that fills its SQLite file, and what else is odd about it."""

    models: str = ""
    fill: str = ""
    """Python, with the models, `dt`, `decimal`, `uuid`, `models`, `connection`, and `sql(text)`."""
    raw: Sequence[str] = ()
    """SQL, run on the file by SQLite afterwards; it may change ``sqlite_master``."""
    migrations: bool = True
    """Whether the app has migrations; else its tables are made by ``migrate --run-syncdb``."""
    first: str = ""
    """SQL of a migration before the first, in PostgreSQL only."""
    first_operations: str = ""
    """Operations of the same migration, before that SQL."""
    operations: Sequence[tuple[str, str]] = ()
    """Further migrations: the code before the class, and the list of its operations."""
    apps: Sequence[str] = ()
    path: Sequence[str] = ()
    """Directories of further packages, which are searched last."""
    not_compared: Sequence[str] = ()
    """Labels of models that have other fields in PostgreSQL."""
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """``DATABASE`` is what is added to the entry "default"."""
    files: Mapping[str, str] = dataclasses.field(default_factory=dict)
    arguments: Sequence[str] = ()
    """Further arguments of the command."""
    after: str = ""
    """Python as in `fill`, with PostgreSQL as the database "default"; what it puts into `extra` is in the outcome."""
    restored: bool = False
    """Whether the migrated database is then backed up, changed, restored, and compared with what it was."""

    comes_home: bool = False
    """Whether the migrated database then goes back to SQLite, and is compared with the file that it came from."""
    not_compared_at_home: Sequence[str] = ()
    """Labels of models of which SQLite had other rows, or has stored them in another spelling."""

    # --- The target -----------------------------------------------------------------------------------------------
    role: str | None = None
    """The rights of the role that migrates, such as ``CREATEDB``; None is the superuser."""
    server_sql: Sequence[str] = ()
    """Statements before, with ``{name}`` for the database and the role."""
    database_sql: Sequence[str] = ()
    """The same in the database, which exists then."""
    database_options: str = ""
    """What follows ``CREATE DATABASE``; the database exists then."""
    query: str = ""
    """What follows the database in its address, such as ``?options=…``."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ended:
    """How the command ended."""

    code: int
    error: str
    out: str
    trace: str

    @property
    def words(self) -> str:
        """All that was said, on one line."""
        return " ".join(f"{self.error} {self.out}".split())

    def __str__(self) -> str:
        return f"exit {self.code}: {self.trace or self.words}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a project."""

    dry: Ended
    real: Ended
    differences: Sequence[str]
    """What Django reads differently in PostgreSQL, and what a restore has not brought back."""
    left: Sequence[str]
    """Databases that the command left behind."""
    extra: Any
    commands: Mapping[str, Ended]
    """The others that were run, by name."""
    home: Mapping[str, Ended]
    """The dry run of the way back, and the way back itself."""

    def __str__(self) -> str:
        ended = {"dry run": self.dry, "migration": self.real, **self.commands, **self.home}
        lines = [f"{name}: {how}" for name, how in ended.items()]
        return "\n".join([*lines, *self.differences, *(f"left: {name}" for name in self.left)])


def migrate(project: Project) -> Outcome:
    """Make the project, run the command with ``--dry-run`` and ``--yes``, and read both sides."""
    name = support.new_name()
    database = support.database_named(name)
    create = f"CREATE DATABASE {name} TEMPLATE template0 STRATEGY FILE_COPY {project.database_options}"
    before = [create] if project.database_sql or project.database_options else []
    if project.role is not None:
        before = [f"CREATE ROLE {name} LOGIN PASSWORD 'x' {project.role}", f"{create} OWNER {name}"]
    try:
        execute(support.server(), [*before, *(statement.format(name=name) for statement in project.server_sql)])
        execute(database, [statement.format(name=name) for statement in project.database_sql])
        if project.role is not None:
            database = support.database_named(name, user=name, password="x")
        with tempfile.TemporaryDirectory(prefix="project-") as folder:
            answer = ask({**dataclasses.asdict(project), "folder": folder, "url": database.url + project.query})
        left = support.staging_databases(name)
    finally:
        drop_all(name)
    assert "setup" not in answer, answer["setup"]
    dry, real = Ended(**answer.pop("dry")), Ended(**answer.pop("real"))
    commands, home = (
        {name: Ended(**ended) for name, ended in answer.pop(kind).items()} for kind in ("commands", "home")
    )
    return Outcome(dry=dry, real=real, left=left, commands=commands, home=home, **answer)


def execute(database: support.Database, statements: Sequence[str]) -> None:
    """Each in a transaction of its own, in one session."""
    if statements:
        with contextlib.closing(database.connect()) as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)


def drop_all(name: str) -> None:
    """Drop the database, those that were made for it, and the role."""
    with contextlib.closing(support.server().connect()) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT datname FROM pg_database WHERE datname ~ %s", [f"^{name}(_ops_|$)"])
        for (found,) in cursor.fetchall():
            cursor.execute(f'DROP DATABASE "{found}" WITH (FORCE)')
        cursor.execute(f"DROP ROLE IF EXISTS {name}")


def ask(project: dict[str, Any]) -> dict[str, Any]:
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as connection:
        connection.connect(server())
        with connection.makefile("rw") as file:
            file.write(json.dumps(project) + "\n")
            file.flush()
            answer: dict[str, Any] = json.loads(file.readline())
    return answer


@cache
def server() -> str:
    """The socket of the process that is forked for each project, which the workers of a run share."""
    path = Path(forked.server()).with_name("projects")
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            devices = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL}
            launched.append(forked.start(["-c", LAUNCH, str(path)], env=os.environ | {"COLUMNS": "200"}, **devices))
            deadline = time.monotonic() + forked.PATIENCE
            while not path.exists():
                assert time.monotonic() < deadline, "Django does not start"
                time.sleep(0.02)
    return str(path)


launched: list[forked.Process] = []
LAUNCH = """
import os, sys
for setting in ("DATABASE_URL", "DJANGO_SETTINGS_MODULE"):
    os.environ.pop(setting, None)
os.execv(sys.executable, [sys.executable, "-W", "ignore", "-m", "tests.support.project_server", sys.argv[1]])
"""
"""A new interpreter without the settings of the project whose tests these are. It ends with the process of `forked`."""


# --- What has to hold of every project ------------------------------------------------------------------------------
def is_sound(outcome: Outcome) -> None:
    """A dry run that passes is followed by a migration that succeeds, and Django reads the same on both sides.

    So it does after a restore, and in the file of the way back, if there are such.

    What cannot be migrated is named by the dry run, without a traceback, and nothing is left behind.
    """
    assert not outcome.dry.trace + outcome.real.trace, str(outcome)
    assert not any(ended.code or ended.trace for ended in outcome.commands.values()), str(outcome)
    assert not any(ended.trace for ended in outcome.home.values()), str(outcome)
    assert {ended.code for ended in outcome.home.values()} in (set(), {0}, {2}), str(outcome)
    assert outcome.dry.code in {0, 1, 2}, str(outcome)
    assert outcome.real.code == outcome.dry.code, str(outcome)
    assert not outcome.differences, str(outcome)
    assert not outcome.left, str(outcome)


def assert_migrated(project: Project) -> Outcome:
    outcome = migrate(project)
    is_sound(outcome)
    assert outcome.dry.code == 0, str(outcome)
    return outcome


def assert_refused(project: Project, *words: str) -> Outcome:
    """The dry run refuses it, and names all of `words`."""
    outcome = migrate(project)
    is_sound(outcome)
    assert outcome.dry.code in {1, 2}, str(outcome)
    assert [word for word in words if word not in outcome.dry.words] == [], str(outcome)
    return outcome
