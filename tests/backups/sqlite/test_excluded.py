"""Excluded tables: their rows are in no page of a backup, not even in free ones."""

import contextlib
import gzip
import io
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from ops.backups.engines.base import Tables
from ops.backups.engines.sqlite.engine import SqliteEngine
from ops.backups.manifest import Kind, TableDigest
from ops.databases.sqlite import emptying
from ops.errors import PreconditionFailed
from ops.utils.progress import no_progress
from tests.backups.sqlite import support

NONE = TableDigest(rows=0, digest="e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
SECRET = "a-key-that-signs-its-reader-in"
SCHEMA = """
CREATE TABLE django_session (session_key varchar(40) PRIMARY KEY, data text);
CREATE INDEX session_data ON django_session (data);
CREATE TABLE counted (id integer PRIMARY KEY AUTOINCREMENT, word text);
CREATE TABLE loose (word text);
CREATE TABLE audit (word text);
CREATE TRIGGER noted AFTER DELETE ON counted BEGIN INSERT INTO audit VALUES (OLD.word); END;
INSERT INTO counted (word) VALUES ('a'), ('b'), ('c');
INSERT INTO loose (rowid, word) VALUES (3, 'three'), (7, 'seven');
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A file with sessions: earlier versions are in free pages, and one is only in the log."""
    path = tmp_path / "site.db"
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        # Debian's SQLite is compiled to overwrite what is deleted; others are not.
        connection.execute("PRAGMA secure_delete = OFF")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript(SCHEMA)
        rows = [(f"{SECRET}-{number}", f"{SECRET}-{number}" * 30) for number in range(200)]
        connection.executemany("INSERT INTO django_session VALUES (?, ?)", rows)
        connection.execute("UPDATE django_session SET data = session_key")
        connection.execute("DELETE FROM django_session WHERE rowid > 20")
        assert connection.execute("PRAGMA freelist_count").fetchone()[0] > 5
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.execute("INSERT INTO django_session VALUES (?, ?)", (f"{SECRET}-in-the-log", ""))
    return path


def backup(path: Path, *names: str) -> tuple[bytes, Tables, Mapping[str, str]]:
    with SqliteEngine(path).snapshot(kind=Kind.SQLITE, excluded=dict.fromkeys(names, "a reason")) as snapshot:
        return b"".join(snapshot.stream(no_progress)), snapshot.tables(), snapshot.excluded


def opened(data: bytes, tmp_path: Path) -> sqlite3.Connection:
    path = tmp_path / "stored.db"
    path.write_bytes(data)
    return sqlite3.connect(path)


def test_backup_has_no_byte_of_excluded_rows(site: Path) -> None:
    assert SECRET.encode() in backup(site)[0]
    data, tables, excluded = backup(site, "django_session", "axes_accesslog")
    assert excluded == {"django_session": "a reason"}
    assert tables["django_session"] == NONE
    assert SECRET.encode() not in data
    engine = SqliteEngine(site)
    assert engine.count(io.BytesIO(data), kind=Kind.SQLITE, on_progress=no_progress)["django_session"] == 0
    with engine.swap_strategy().scratch(for_swap=False) as scratch:
        scratch.load(io.BytesIO(data), kind=Kind.SQLITE, on_progress=no_progress)
        assert scratch.tables(no_progress) == tables


def test_delete_alone_leaves_excluded_rows_in_the_file(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rewriting the file is needed, even where SQLite overwrites deleted content."""

    def delete_only(path: Path, tables: Any) -> None:
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("PRAGMA secure_delete = ON")
            for table in tables:
                connection.execute(f'DELETE FROM "{table}"')

    monkeypatch.setattr("ops.backups.engines.sqlite.engine.empty_tables", delete_only)
    data, tables, _ = backup(site, "django_session")
    assert tables["django_session"] == NONE
    assert SECRET.encode() in data


def test_statistics_have_no_samples_of_excluded_rows(site: Path) -> None:
    """SQLite with STAT4 keeps whole keys of indexes; here they are written as it would."""
    with contextlib.closing(sqlite3.connect(site)) as connection, connection:
        connection.execute("ANALYZE")
        connection.execute("UPDATE sqlite_stat1 SET stat = stat || ?", (SECRET,))
        connection.execute("DELETE FROM sqlite_stat1 WHERE tbl <> 'django_session'")
        connection.execute("DELETE FROM django_session")
    assert SECRET.encode() not in backup(site, "django_session")[0]


def test_other_tables_and_settings_are_unchanged(site: Path, tmp_path: Path) -> None:
    before = backup(site)[1]
    data, tables, _ = backup(site, "django_session", "counted")
    assert {**tables, "django_session": 0, "counted": 0} == {**before, "django_session": 0, "counted": 0}
    with contextlib.closing(opened(data, tmp_path)) as connection:
        # Numbers that were given stay taken, no trigger took the deletion for an event, and all of them are there.
        assert connection.execute("SELECT * FROM sqlite_sequence").fetchall() == [("counted", 3)]
        assert connection.execute("SELECT count(*) FROM audit").fetchall() == [(0,)]
        assert connection.execute("SELECT rowid FROM loose").fetchall() == [(3,), (7,)]
        assert connection.execute("INSERT INTO counted (word) VALUES ('next') RETURNING id").fetchall() == [(4,)]
        connection.execute("DELETE FROM counted")
        assert connection.execute("SELECT word FROM audit").fetchall() == [("next",)]
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_excluded_names_ignore_case(site: Path) -> None:
    assert list(backup(site, "DJANGO_session")[2]) == ["django_session"]
    with contextlib.closing(sqlite3.connect(site)) as connection:
        connection.executescript("""CREATE TABLE "odd ""%*? ' [x]" (n); INSERT INTO "odd ""%*? ' [x]" VALUES (1)""")
    _, tables, excluded = backup(site, "odd \"%*? ' [x]", "counted%", "lo*", "sqlite_master", "noted", "")
    assert list(excluded) == ["odd \"%*? ' [x]"]
    assert {name for name, table in tables.items() if not table.rows} == {"audit", "odd \"%*? ' [x]"}


def test_file_without_excluded_rows_is_not_rewritten(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_arguments: Any) -> None:
        raise AssertionError("The copy is written a second time.")

    with contextlib.closing(sqlite3.connect(site)) as connection, connection:
        connection.execute("DELETE FROM django_session")
    monkeypatch.setattr(emptying, "create_private", fail)
    assert backup(site, "django_session")[2] == {"django_session": "a reason"}
    with pytest.raises(AssertionError):
        backup(site, "counted")


@pytest.mark.parametrize("reference", ["counted", "COUNTED (id)"])
def test_excluded_table_with_references_is_refused(site: Path, reference: str) -> None:
    with contextlib.closing(sqlite3.connect(site)) as connection:
        connection.execute(f"CREATE TABLE child (id integer PRIMARY KEY REFERENCES child, n REFERENCES {reference})")
    with pytest.raises(PreconditionFailed) as refused:
        backup(site, "counted")
    assert refused.value.message.endswith("left out of backups, but child refers to them: no backup can be made.")
    assert support.other_files(site) == []
    assert set(backup(site, "counted", "child")[2]) == {"counted", "child"}


def test_excluded_virtual_table_is_refused(site: Path) -> None:
    with contextlib.closing(sqlite3.connect(site)) as connection, connection:
        connection.execute("CREATE VIRTUAL TABLE words USING fts5(body)")
        connection.execute("INSERT INTO words VALUES ('full text')")
    with pytest.raises(PreconditionFailed, match="it is a virtual table"):
        backup(site, "words")
    assert backup(site, "django_session")[1]["words_content"].rows == 1


def test_excluded_table_with_an_index_on_a_django_function_is_emptied(site: Path) -> None:
    with contextlib.closing(sqlite3.connect(site)) as connection:
        emptying.register_django_functions(connection)
        connection.execute("CREATE INDEX by_hash ON django_session (MD5(session_key))")
    assert SECRET.encode() not in backup(site, "django_session")[0]


def test_empty_tables_on_a_full_disk_names_it_and_leaves_nothing(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(sqlite3.Connection):
        def execute(self, query: str, *parameters: Any) -> sqlite3.Cursor:
            if query.startswith("VACUUM"):
                raise sqlite3.OperationalError("database or disk is full")
            return super().execute(query, *parameters)

    real = sqlite3.connect
    monkeypatch.setattr(emptying.sqlite3, "connect", lambda *args, **named: real(*args, **{**named, "factory": Full}))
    with pytest.raises(PreconditionFailed, match="database or disk is full"):
        backup(site, "django_session")
    assert support.other_files(site) == []


def test_compressed_backup_has_no_byte_of_excluded_rows(site: Path) -> None:
    with SqliteEngine(site).snapshot(kind=Kind.SQLITE_GZIP, excluded={"django_session": ""}) as snapshot:
        data = gzip.compress(b"".join(snapshot.stream(no_progress)))
    assert SECRET.encode() not in data
    assert SECRET.encode() not in gzip.decompress(data)
