"""Shared by the tests of the migration: source files, target databases, and ways to run the command."""

import contextlib
import csv
import io
import itertools
import json
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from django.core.management import CommandError, call_command
from django.db import connections

from ops.databases.leftovers import NO_CLAIMS
from ops.databases.override import override_database
from ops.databases.postgres import databases
from ops.databases.postgres.connection import ConnectionInfo, parse_url
from ops.engine_migration.legacy import LegacyFormat
from ops.engine_migration.prepared import MigrationOptions, PreparedFile
from ops.engine_migration.to_postgres import target
from ops.engine_migration.to_postgres.pipeline import copy_and_verify, prepare
from ops.engine_migration.to_postgres.target import (
    NEW_SUFFIX,
    StagingDatabase,
    inspect_target,
    open_staging,
)
from ops.engine_migration.verify import verify_tables
from ops.utils.progress import ProgressCallback, StageTimer, no_progress
from tests.support import forked

MANAGE = Path(__file__).resolve().parents[2] / "manage.py"
CONNECT_TIMEOUT = 5
"""Seconds for each host."""
numbers = itertools.count(1)
BOOKS = ("otherproject_author", "otherproject_book")
"""Tables of the library that refer to no others."""


# --- Files ------------------------------------------------------------------------------------------------------
@contextlib.contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    """The file with none of SQLite's own checks, committed when the block ends."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA foreign_keys = OFF")
        connection.execute("PRAGMA ignore_check_constraints = ON")
        yield connection
        connection.commit()


def put(path: Path, table: str, *rows: dict[str, Any]) -> None:
    """Write `rows` as they are; what a row does not name is NULL or the column's default."""
    with opened(path) as connection:
        for row in rows:
            names = ", ".join(f'"{name}"' for name in row)
            connection.execute(
                f'INSERT INTO "{table}" ({names}) VALUES ({", ".join("?" * len(row))})', list(row.values())
            )


def alter(path: Path, *statements: str) -> None:
    """Run SQL on the file."""
    with opened(path) as connection:
        for statement in statements:
            connection.execute(statement)


def loosen(path: Path, table: str, old: str, new: str) -> None:
    """Rewrite the declaration of a table, so that it takes what it would refuse."""
    with opened(path) as connection:
        connection.execute("PRAGMA writable_schema = ON")
        changed = connection.execute(
            "UPDATE sqlite_master SET sql = replace(sql, ?, ?) WHERE name = ? AND instr(sql, ?)",
            [old, new, table, old],
        )
        assert changed.rowcount == 1, f"{old!r} is not in the declaration of {table}"


def all_but(path: Path, *tables: str) -> list[str]:
    """The other tables of the file. A migration that skips them takes half the time, a preflight a quarter of it."""
    with opened(path) as connection:
        named = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
        return sorted({name for (name,) in named} - {"django_migrations", *tables})


# --- Databases --------------------------------------------------------------------------------------------------
@dataclass
class Database:
    """A PostgreSQL database of one test. It need not exist."""

    address: ConnectionInfo
    url: str

    @property
    def name(self) -> str:
        return self.address.database

    def connect(self) -> Any:
        # With several hosts libpq waits without limit for one that is frozen, and connects to no other.
        connection = psycopg2.connect(self.url, application_name="test", connect_timeout=CONNECT_TIMEOUT)
        connection.autocommit = True
        return connection

    def rows(self, query: str, parameters: Any = None) -> list[Any]:
        with contextlib.closing(self.connect()) as connection, connection.cursor() as cursor:
            cursor.execute(query, parameters)
            return list(cursor.fetchall()) if cursor.description else []

    def value(self, query: str, parameters: Any = None) -> Any:
        ((value,),) = self.rows(query, parameters)
        return value

    def tables(self) -> list[str]:
        return [name for (name,) in self.rows("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")]


@dataclass
class Server(Database):
    """The database through which others are made. `rows` keeps its connection: to connect takes longer than most."""

    session: Any = None

    def rows(self, query: str, parameters: Any = None) -> list[Any]:
        if self.session is None or self.session.closed:
            self.session = self.connect()
        with self.session.cursor() as cursor:
            cursor.execute(query, parameters)
            return list(cursor.fetchall()) if cursor.description else []


def server() -> Server:
    return server_of(os.environ["DATABASE_URL"], os.getpid())


@cache
def server_of(_url: str, _process: int) -> Server:
    """The same one for each address and process: a fork must not use the connection of its parent."""
    database = database_named("postgres")
    return Server(address=database.address, url=database.url)


def database_named(name: str, *, user: str = "", password: str = "") -> Database:
    address = parse_url(os.environ["DATABASE_URL"])
    user, password = user or address.user, password or address.password
    url = f"postgresql://{user}:{password}@{address.host}:{address.port}/{name}"
    return Database(address=parse_url(url), url=url)


def new_name() -> str:
    return f"t_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}_{os.getpid()}_{next(numbers)}"


def create(name: str, template: str = "template0") -> Database:
    server().rows(f'CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY FILE_COPY')
    return database_named(name)


def drop(name: str) -> None:
    """Drop the database and the databases that a run may have left."""
    for suffix in ("", NEW_SUFFIX, databases.EMPTIED):
        server().rows(f'DROP DATABASE IF EXISTS "{databases.suffixed_name(name, suffix)}" WITH (FORCE)')


def end_lock_session(name: str) -> None:
    """End the server session that holds the lock of this database, and no other: tests share the server."""
    server().rows(
        "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 1"
        " AND (classid::bigint << 32 | objid::bigint) = hashtextextended(%s, 0)",
        [f"ops:{name}"],
    )


def staging_databases(name: str) -> list[str]:
    """The names of the databases that a run left for `name`."""
    names = [databases.suffixed_name(name, suffix) for suffix in (NEW_SUFFIX, databases.EMPTIED)]
    found = server().rows("SELECT datname FROM pg_database WHERE datname = ANY(%s)", [names])
    return [name for (name,) in found]


# --- Running ----------------------------------------------------------------------------------------------------
@dataclass
class Outcome:
    """How a run of the command ended: exit code, what it printed, its error, and its ``--json``."""

    code: int
    out: str
    error: str
    document: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Migration:
    """A migration by the command that several tests look at."""

    outcome: Outcome
    library: Path
    backups: Path
    target: Database
    """To make others from: while a test is connected to it, it cannot be copied."""


def run(path: Path, database: Database | None, *arguments: str, name: str = "migrate_to_postgres") -> Outcome:
    """The command in this process. `arguments` have to confirm it, or say what else to do."""
    words = ["--sqlite-path", str(path)]
    if database:
        words += ["--postgres-url", database.url]
    out, code, error = io.StringIO(), 0, ""
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(out):
        result = Path(folder, "result.json")
        if "--json" not in arguments:
            words += ["--json", str(result)]
        try:
            call_command(name, *words, *arguments)
        except CommandError as refused:
            code, error = refused.returncode, str(refused)
        except SystemExit as ended:
            code = int(ended.code or 0)
        document = json.loads(result.read_text()) if result.exists() else {}
    return Outcome(code=code, out=out.getvalue(), error=error, document=document)


def back(path: Path, database: Database | None, *arguments: str) -> Outcome:
    """The same for ``manage.py migrate_to_sqlite``, which makes the file `path`."""
    return run(path, database, *arguments, name="migrate_to_sqlite")


def come_back(path: Path, database: Database, *arguments: str) -> Outcome:
    """Run that command; it has to succeed."""
    outcome = back(path, database, "--yes", *arguments)
    assert (outcome.code, outcome.error) == (0, ""), outcome
    return outcome


def only(path: Path, *tables: str) -> list[str]:
    """The arguments with which the command migrates these tables and no others."""
    return [word for name in all_but(path, *tables) for word in ("--skip-table", name)]


def migrate(path: Path, database: Database, *arguments: str) -> Outcome:
    """Run the command; it has to succeed."""
    outcome = run(path, database, "--yes", *arguments)
    assert (outcome.code, outcome.error) == (0, ""), outcome
    return outcome


def command(path: Path, database: Database, *arguments: str) -> list[str]:
    """The command line of the same in a process of its own."""
    return [
        *(sys.executable, "-W", "error", str(MANAGE), "migrate_to_postgres", "--sqlite-path", str(path)),
        *("--postgres-url", database.url, *arguments),
    ]


def environment(directory: Path) -> dict[str, str]:
    return os.environ | {
        "DJANGO_SETTINGS_MODULE": "tests.settings",
        "BACKUP_DIR": str(directory / "backups"),
        "DATABASE_URL": f"sqlite:///{directory}/live.db",
        "COLUMNS": "200",
    }


@contextlib.contextmanager
def prepared(
    path: Path, *, only: Sequence[str] = (), legacy: LegacyFormat | None = None, **options: Any
) -> Iterator[PreparedFile]:
    """The file, or `only` these tables of it, after the preflight. No server is asked."""
    if only:
        options["skip_tables"] = frozenset(all_but(path, *only))
    with prepare(
        path=path,
        postgres=ConnectionInfo(database="nowhere"),
        legacy=legacy,
        options=MigrationOptions(keep_copy=False, **options),
        keep_in=path.parent / f"examined_{next(numbers)}",
        on_progress=no_progress,
    ) as ready:
        yield ready


def findings(path: Path, **options: Any) -> list[tuple[str, ...]]:
    """Every finding in the file: table, primary key, column, stored type, value, reason; `options` as in `prepared`."""
    with prepared(path, **options) as ready:
        return read_findings(ready.findings_file)


def load_findings(path: Path, database: Database, **options: Any) -> list[tuple[str, ...]]:
    """The same after the load into `database`, which has the project's tables."""
    with prepared(path, **options) as ready:
        copy_and_verify_into(ready, database)
        return read_findings(ready.findings_file)


def read_findings(path: Path | None) -> list[tuple[str, ...]]:
    if path is None:
        return []
    with path.open(newline="") as file:
        return sorted(tuple(row) for row in list(csv.reader(file))[1:])


def copy_and_verify_into(ready: PreparedFile, database: Database, report: ProgressCallback = no_progress) -> None:
    """Copy into a database that has the schema already, build and verify. Raises VerificationFailed."""
    with (
        override_database(database.address.wrapper()),
        contextlib.closing(StagingDatabase(address=database.address, processes=1)) as staging,
    ):
        copy_and_verify(staging, ready, StageTimer(report))


@contextlib.contextmanager
def replaced(address: ConnectionInfo) -> Iterator[StagingDatabase]:
    """While the block runs, there is a staging database with the project's schema; then it replaces the target."""
    target = inspect_target(address)
    with open_staging(target, rows=0, claims=NO_CLAIMS, locked=False, rehearsal=False) as staging:
        yield staging


def verify_after(ready: PreparedFile, database: Database, *changes: str) -> None:
    """Change what was copied, with triggers and keys disabled, verify every table, and undo the change."""
    with contextlib.closing(database.address.connect()) as connection:
        with connection.cursor() as cursor:
            # Only here, to plant what must not happen.
            cursor.execute("SET session_replication_role = replica")
            for change in changes:
                cursor.execute(change)
        staging = StagingDatabase(address=database.address, processes=1, shared=connection)
        verify_tables(
            tables=ready.plan.tables,
            snapshot=ready.snapshot,
            postgres=staging,
            preflight=ready.preflight,
            on_progress=no_progress,
        )


def add_migration(monkeypatch: pytest.MonkeyPatch, *statements: str) -> None:
    """Let the project's migrations end with these statements in PostgreSQL."""
    real = target.run_migrations

    def run_migrations() -> None:
        real()
        if connections["default"].vendor == "postgresql":
            with connections["default"].cursor() as cursor:
                for statement in statements:
                    cursor.execute(statement)

    monkeypatch.setattr(target, "run_migrations", run_migrations)


# --- Programs that wait ---------------------------------------------------------------------------------------------
def start_and_wait(program: str, stage: str, arguments: Sequence[str], variables: dict[str, str]) -> forked.Process:
    """Start Python on `program`, which prints "here" within `stage`, and then waits for a line of input."""
    process = forked.start(
        ["-c", program, stage, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=variables,
    )
    assert process.stdout
    for line in process.stdout:
        if line == "here\n":
            return process
    raise AssertionError(process.stderr.read() if process.stderr else "")


def finish(process: forked.Process, number: signal.Signals) -> tuple[int, str]:
    """Send the signal. Returns the exit code, and what was printed to standard error."""
    process.send_signal(number)
    # A process that handles the signal later waits for more input; a killed one ignores it.
    _, error = process.communicate("\n" * 500, timeout=30)
    return process.returncode or 0, error
