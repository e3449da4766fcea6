"""Rows that a restore keeps: copied from the live file into the new one."""

import contextlib
import io
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ops.backups.engines.base import Scratch
from ops.backups.engines.sqlite.engine import SqliteEngine
from ops.backups.manifest import Kind
from ops.errors import PreconditionFailed
from ops.utils.progress import no_progress
from tests.backups.sqlite import support

SCHEMA = """
CREATE TABLE rack (id integer PRIMARY KEY AUTOINCREMENT, name text);
CREATE TABLE attempt (id integer PRIMARY KEY AUTOINCREMENT, "user" text UNIQUE, "order" integer,
                      moment datetime, data text CHECK (json_valid(data) OR data IS NULL), photo blob,
                      "select" AS ("order" * 2) STORED);
CREATE TABLE expiry (attempt_id integer PRIMARY KEY REFERENCES attempt (id) DEFERRABLE INITIALLY DEFERRED, until);
CREATE TABLE crontab (id integer PRIMARY KEY AUTOINCREMENT, minute text);
CREATE TABLE a_task (id integer PRIMARY KEY AUTOINCREMENT, name text, crontab_id REFERENCES crontab,
                     after_id REFERENCES a_task);
CREATE TABLE token (key text PRIMARY KEY, rack_id NOT NULL REFERENCES rack);
CREATE TABLE used (token REFERENCES token);
CREATE TABLE keyed (key text PRIMARY KEY, rack_id REFERENCES rack) WITHOUT ROWID;
CREATE TABLE audit (word text);
CREATE TRIGGER noted AFTER INSERT ON attempt BEGIN INSERT INTO audit VALUES ('insert'); END;
INSERT INTO rack (name) VALUES ('Hall');
"""
OLD = """
INSERT INTO attempt ("user", "order") VALUES ('old', 1), ('both', 2);
INSERT INTO expiry VALUES (1, '2020-01-01');
INSERT INTO crontab (minute) VALUES ('0'), ('1');
INSERT INTO a_task (name, crontab_id) VALUES ('nightly', 1);
DELETE FROM audit;
"""
NEW = """
DELETE FROM expiry; DELETE FROM attempt WHERE "user" = 'old';
INSERT INTO attempt (id, "user", "order", moment, data, photo) VALUES
  (70, 'new' || char(0) || 'x', 9007199254740993, '2026-11-25 04:00:00.000001', '{"a": [null, "é"]}', x'00ff'),
  (71, CAST(x'ff00fe' AS text), 5, NULL, 'null', 'text in a blob');
INSERT INTO expiry VALUES (70, 1.0), (2, NULL);
UPDATE crontab SET minute = '5'; DELETE FROM a_task; DELETE FROM crontab WHERE id = 1;
INSERT INTO crontab VALUES (40, '*');
INSERT INTO a_task VALUES (9, 'nightly', 40, 10), (10, 'hourly', 2, NULL);
UPDATE rack SET name = 'changed'; DELETE FROM audit;
"""
COPIED = ("attempt", "expiry", "crontab", "a_task")


def run(path: Path, script: str) -> None:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.executescript(script)


@pytest.fixture
def site(tmp_path: Path) -> Path:
    path = tmp_path / "site.db"
    run(path, "PRAGMA journal_mode = WAL;" + SCHEMA)
    return path


@contextlib.contextmanager
def loaded(path: Path, data: bytes) -> Iterator[Scratch]:
    with SqliteEngine(path).swap_strategy().scratch(for_swap=True) as scratch:
        scratch.load(io.BytesIO(data), kind=Kind.SQLITE, on_progress=no_progress)
        yield scratch


def restore(path: Path, data: bytes, *tables: str) -> tuple[str, ...]:
    """What could not be copied."""
    with loaded(path, data) as scratch:
        sentences = scratch.copy_live_rows(tables)
        scratch.swap(run="run-1", backup="b")
    return sentences


def rows(path: Path, query: str) -> list[tuple[Any, ...]]:
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.text_factory = bytes
        return connection.execute(query).fetchall()


def content(path: Path, *tables: str) -> dict[str, list[str]]:
    return {table: sorted(map(repr, rows(path, f"SELECT * FROM {table}"))) for table in tables}


def test_live_rows_replace_those_of_the_backup(site: Path) -> None:
    run(site, OLD)
    data, other = support.backup(site), content(site, "rack", "audit")
    run(site, NEW)
    live = content(site, *COPIED)
    assert restore(site, data, "expiry", "ATTEMPT", "a_task", "crontab", "no_such_table") == ()
    assert content(site, *COPIED) == live
    assert content(site, "rack", "audit") == other
    assert rows(site, "INSERT INTO attempt (\"user\") VALUES ('next') RETURNING id") == [(72,)]
    assert rows(site, "INSERT INTO crontab (minute) VALUES ('next') RETURNING id") == [(41,)]
    assert rows(site, "SELECT word FROM audit") == [(b"insert",)]
    assert rows(site, "PRAGMA foreign_key_check") == []
    assert rows(site, "PRAGMA integrity_check") == [(b"ok",)]


def test_live_rows_survive_an_undo(site: Path) -> None:
    run(site, OLD)
    restore(site, support.backup(site))
    run(site, NEW)
    live = content(site, *COPIED)
    engine = SqliteEngine(site)
    with engine.locked("undo"), engine.swap_strategy().previous_as_staging() as scratch:
        assert scratch.copy_live_rows(COPIED) == ()
        scratch.swap(run="run-2", backup="undo")
    assert content(site, *COPIED) == live
    assert rows(site, "SELECT name FROM rack") == [(b"Hall",)]


def test_live_rows_of_tables_and_columns_of_one_side_are_skipped(site: Path) -> None:
    run(site, OLD)
    data = support.backup(site)
    run(site, "ALTER TABLE attempt DROP COLUMN photo; ALTER TABLE attempt ADD COLUMN newer DEFAULT 1")
    run(site, "UPDATE attempt SET data = '7'; DROP TABLE a_task; CREATE TABLE later (n)")
    assert restore(site, data, "attempt", "a_task", "later") == ()
    assert rows(site, 'SELECT "user", data, photo FROM attempt') == [(b"old", b"7", None), (b"both", b"7", None)]
    assert rows(site, "SELECT count(*) FROM a_task") == [(1,)]


def test_live_table_without_rows_keeps_its_sequence(site: Path) -> None:
    run(site, "INSERT INTO crontab (minute) VALUES ('0'); DELETE FROM crontab")
    data = support.backup(site)
    assert restore(site, data, "crontab", "attempt") == ()
    assert rows(site, "SELECT * FROM sqlite_sequence ORDER BY name") == [(b"crontab", 1), (b"rack", 1)]


def test_live_rows_with_missing_references_are_deleted_and_named(site: Path) -> None:
    data = support.backup(site)
    run(site, "INSERT INTO rack VALUES (90, 'of today'); INSERT INTO token VALUES ('kept', 1), ('left out', 90)")
    run(site, "INSERT INTO keyed VALUES ('one', 1), ('two', 90)")
    assert restore(site, data, "token", "keyed") == (
        "1 row of keyed could not be kept: the restored database lacks what it refers to.",
        "1 row of token could not be kept: the restored database lacks what it refers to.",
    )
    assert rows(site, "SELECT key FROM token") == [(b"kept",)]
    assert rows(site, "SELECT key FROM keyed") == [(b"one",)]


def test_live_rows_without_those_that_others_refer_to_are_refused(site: Path) -> None:
    # What referred to nothing before is none of our concern.
    run(site, "INSERT INTO token VALUES ('old', 1); INSERT INTO used VALUES ('old'), ('never there')")
    data = support.backup(site)
    assert restore(site, data, "token") == ()
    run(site, "DELETE FROM used; DELETE FROM token")
    with loaded(site, data) as scratch, pytest.raises(PreconditionFailed) as refused:
        scratch.copy_live_rows(["token"])
    assert refused.value.message == (
        "The rows of token are those of the live database, and used refers to some that it does not have."
        " Nothing was changed."
    )


def test_live_rows_that_do_not_fit_are_named_and_the_restore_continues(site: Path) -> None:
    run(site, OLD)
    data = support.backup(site)
    run(site, "DROP TABLE attempt; CREATE TABLE attempt (id integer, data)")
    run(site, "INSERT INTO attempt VALUES (1, 'no JSON'); UPDATE crontab SET minute = '9'")
    (sentence,) = restore(site, data, "attempt", "crontab")
    assert sentence.startswith("The rows of attempt could not be read from the live database: ")
    assert rows(site, 'SELECT "user" FROM attempt ORDER BY id') == [(b"old",), (b"both",)]
    assert rows(site, "SELECT DISTINCT minute FROM crontab") == [(b"9",)]
    assert rows(site, "SELECT name FROM sqlite_master WHERE type = 'trigger'") == [(b"noted",)]


def test_live_rows_that_cannot_be_read_are_named_and_the_restore_continues(site: Path) -> None:
    run(site, OLD)
    data = support.backup(site)
    run(site, "UPDATE crontab SET minute = '9'; PRAGMA wal_checkpoint(TRUNCATE)")
    ((page,),) = rows(site, "SELECT rootpage FROM sqlite_master WHERE name = 'attempt'")
    with site.open("r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(b"\xff" * 4096)
    assert restore(site, data, "attempt", "crontab") == (
        "The rows of attempt could not be read from the live database: database disk image is malformed.",
    )
    assert rows(site, 'SELECT "user" FROM attempt ORDER BY id') == [(b"old",), (b"both",)]
    assert rows(site, "SELECT DISTINCT minute FROM crontab") == [(b"9",)]


@pytest.mark.parametrize("state", ["gone", "broken", "empty"])
def test_missing_live_file_is_named_and_the_restore_continues(site: Path, state: str) -> None:
    run(site, OLD)
    data = support.backup(site)
    run(site, "PRAGMA wal_checkpoint(TRUNCATE)")
    if state == "gone":
        site.unlink()
    else:
        site.write_bytes(b"no database" * 1000 if state == "broken" else b"")
    sentences = restore(site, data, "attempt", "expiry")
    assert len(sentences) == (0 if state == "empty" else 1)
    assert all(s.startswith("The rows of attempt, expiry could not be read from") for s in sentences)
    assert rows(site, "SELECT count(*) FROM attempt") == [(2,)]
