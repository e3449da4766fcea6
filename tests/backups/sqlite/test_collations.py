"""A file whose indexes use collations and functions of its application can be backed up and restored."""

import contextlib
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from django.db.backends.signals import connection_created

from ops.backups import sources
from ops.backups.engines.sqlite.engine import SqliteEngine
from ops.backups.manifest import Kind
from ops.databases.sqlite.snapshot import faults_of
from ops.errors import PreconditionFailed
from ops.utils.progress import no_progress
from tests.backups.sqlite import support
from tests.backups.sqlite.test_snapshot import loaded, tables
from tests.support.slow import slow_except

STATEMENTS = {
    "index": "CREATE INDEX by_name ON person (name COLLATE byname)",
    "unique": "CREATE UNIQUE INDEX by_name ON person (name COLLATE [icu_de] DESC)",
    "expression": 'CREATE INDEX by_name ON person (name || \'x\' COLLATE "by ""name""")',
    "partial": "CREATE INDEX by_name ON person (name) WHERE name > '' COLLATE byname",
    "column": "CREATE TABLE word (name text COLLATE german PRIMARY KEY); INSERT INTO word VALUES ('b'), ('a')",
    "row ids": "CREATE TABLE word (name text COLLATE `ö` PRIMARY KEY) WITHOUT ROWID; INSERT INTO word VALUES ('a')",
    "check": "CREATE TABLE word (name text CHECK (name <> '' COLLATE german)); INSERT INTO word VALUES ('a')",
    "function": "CREATE INDEX by_name ON person (shorten(name)) WHERE shorten(name) <> ''",
}


def register(connection: sqlite3.Connection, order: int) -> None:
    """As the application does; `order` -1 sorts backwards."""
    for name in ("byname", "icu_de", 'by "name"', "german", "ö"):
        connection.create_collation(name, lambda one, other: order * ((one > other) - (one < other)))
    connection.create_function("shorten", 1, lambda value: value, deterministic=True)


@pytest.fixture(params=slow_except({"forwards": 1, "backwards": -1}, "backwards"))
def order(request: pytest.FixtureRequest) -> int:
    return int(request.param)


def write(path: Path, statements: str, order: int) -> Path:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        register(connection, order)
        connection.executescript("CREATE TABLE person (id integer PRIMARY KEY, name text)")
        connection.execute("INSERT INTO person (name) VALUES ('b'), ('a'), ('c')")
        connection.commit()
        connection.executescript(statements)
    return path


@pytest.fixture(params=STATEMENTS.values(), ids=STATEMENTS)
def file(request: pytest.FixtureRequest, order: int, tmp_path: Path) -> Path:
    return write(tmp_path / "people.db", request.param, order)


def test_backup_and_restore_keep_such_indexes(file: Path, order: int) -> None:
    assert faults_of(file) == ""
    engine = SqliteEngine(file)
    data = support.backup(file)
    assert loaded(file, data) == tables(file)
    support.restore(engine, data, run="one")
    with contextlib.closing(sqlite3.connect(file)) as connection:
        register(connection, order)
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_rows_of_such_an_untrusted_file_are_read(file: Path) -> None:
    with SqliteEngine(file).untrusted(sources.from_file(file)) as untrusted:
        assert untrusted.rows == {name: table.rows for name, table in tables(file).items()}
        read = untrusted.read_columns({"person": ["name"]})
    assert sorted(read["person"]) == [("a",), ("b",), ("c",)]


def test_damage_of_such_a_file_is_found(file: Path) -> None:
    with contextlib.closing(sqlite3.connect(file)) as connection:
        register(connection, 1)
        connection.execute("CREATE TABLE filler (text)")
        connection.executemany("INSERT INTO filler VALUES (?)", [(str(number) * 50,) for number in range(5000)])
        connection.commit()
        (page_size,) = connection.execute("PRAGMA page_size").fetchone()
        (root,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'filler'").fetchone()
    with file.open("r+b") as raw:
        raw.seek((root - 1) * page_size)
        raw.write(b"\xff" * 200)
    assert faults_of(file) not in {"", "no such collation sequence: byname"}


@pytest.fixture
def with_sessions(file: Path) -> Path:
    with contextlib.closing(sqlite3.connect(file)) as connection:
        connection.executescript(
            "CREATE TABLE django_session (session_key); INSERT INTO django_session VALUES ('a key')"
        )
    return file


def backup_without_sessions(path: Path) -> bytes:
    with SqliteEngine(path).snapshot(kind=Kind.SQLITE, excluded={"django_session": "a reason"}) as snapshot:
        return b"".join(snapshot.stream(no_progress))


def test_backup_without_sessions_sorts_indexes_as_the_project_does(with_sessions: Path, order: int) -> None:
    """The copy is rewritten, and so are its indexes: a stand-in would sort them in another order."""

    def receiver(connection: Any, **_: Any) -> None:
        register(connection.connection, order)

    connection_created.connect(receiver)
    try:
        data = backup_without_sessions(with_sessions)
    finally:
        connection_created.disconnect(receiver)
    support.restore(SqliteEngine(with_sessions), data, run="one")
    with contextlib.closing(sqlite3.connect(with_sessions)) as connection:
        register(connection, order)
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("SELECT count(*) FROM django_session").fetchone() == (0,)


@pytest.mark.parametrize("name", ["index", "unique", "function"])
def test_backup_without_sessions_names_what_is_not_registered(name: str, tmp_path: Path) -> None:
    path = write(tmp_path / "people.db", STATEMENTS[name], 1)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.executescript(
            "CREATE TABLE django_session (session_key); INSERT INTO django_session VALUES ('a key')"
        )
    with pytest.raises(PreconditionFailed, match="No backup was made") as refused:
        backup_without_sessions(path)
    assert ": no such " in refused.value.message
    assert "connection_created" in refused.value.hint
    assert support.other_files(path) == []
