"""Reading columns of a SQLite backup and of the previous database."""

import contextlib
import io
import sqlite3
from pathlib import Path

import pytest
from django.db import Error, connection

from ops.backups.engines.sqlite.engine import SqliteEngine
from ops.backups.manifest import Kind
from ops.errors import PreconditionFailed
from tests.backups.sqlite import support


def test_read_columns_gives_text_without_missing_tables(engine: SqliteEngine, tmp_path: Path) -> None:
    path = tmp_path / "people.db"
    with contextlib.closing(sqlite3.connect(path)) as writer, writer:
        writer.execute("CREATE TABLE people (id integer PRIMARY KEY, name text, staff bool, twice AS (id * 2))")
        writer.execute("INSERT INTO people (name, staff) VALUES ('eve', 1), (NULL, 0), (CAST(x'ff41' AS text), NULL)")
    columns = {"people": ("staff", "name"), "groups": ("id",), "sqlite_master": ("sql",)}
    found = engine.read_columns(io.BytesIO(path.read_bytes()), kind=Kind.SQLITE, columns=columns)
    assert found == {"people": [("1", "eve"), ("0", None), (None, "\ufffdA")]}
    data = io.BytesIO(path.read_bytes())
    assert engine.read_columns(data, kind=Kind.SQLITE, columns={"people": ("id", "email")}) == {}


@pytest.mark.usefixtures("free_connections")
def test_previous_database_as_default_is_read_only(engine: SqliteEngine, data: bytes) -> None:
    with pytest.raises(PreconditionFailed, match="no previous database is kept"):
        engine.swap_strategy().previous_as_default()
    support.restore(engine, data, run="run-1")
    previous = engine.swap_strategy().previous_database()
    assert previous
    kept = engine.path.with_name(previous.name)
    before = kept.read_bytes(), sorted(kept.parent.iterdir())
    with engine.swap_strategy().previous_as_default(), connection.cursor() as cursor:
        cursor.execute("SELECT DISTINCT label FROM item")
        assert cursor.fetchall() == [("old",)]
        with pytest.raises(Error, match="readonly"):
            cursor.execute("DELETE FROM item")
    assert (kept.read_bytes(), sorted(kept.parent.iterdir())) == before
    assert support.content(engine.path) == "new"
