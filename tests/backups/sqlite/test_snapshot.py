"""Content and digests of a backup, and the files that are refused."""

import contextlib
import io
import random
import sqlite3
from collections.abc import Callable
from concurrent.futures import CancelledError
from pathlib import Path

import pytest

from ops.backups.engines.base import Tables
from ops.backups.engines.sqlite.engine import SqliteEngine
from ops.backups.manifest import Kind
from ops.errors import ArtifactInvalid, OpsError, PreconditionFailed
from ops.utils.progress import no_progress
from tests.backups.sqlite import support
from tests.support.forked import Process

ODD = """
CREATE TABLE odd (id integer PRIMARY KEY, cell);
INSERT INTO odd (cell) VALUES ('text'), (x'74657874'), (CAST(x'ff00fe' AS text)), ('a' || char(0) || 'b'), (NULL),
    (9223372036854775807), (-9223372036854775808), (1e999), (-1e999), (0.1), (1), (1.0), ('1'), ('é'), ('');
CREATE TABLE keyed (a text, b text, PRIMARY KEY (b, a)) WITHOUT ROWID;
INSERT INTO keyed VALUES ('1', '2'), ('2', '1');
CREATE TABLE "we""ird" ("sel""ect" integer, rowid text, twice AS ("sel""ect" * 2) STORED);
INSERT INTO "we""ird" VALUES (1, 'x');
CREATE VIRTUAL TABLE words USING fts5(body);
INSERT INTO words VALUES ('full text');
CREATE VIEW seen AS SELECT * FROM odd;
CREATE TABLE counted (id integer PRIMARY KEY AUTOINCREMENT);
INSERT INTO counted DEFAULT VALUES;
"""


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    path = tmp_path / "odd.db"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.executescript(ODD)
    return path


def tables(path: Path) -> Tables:
    with SqliteEngine(path).snapshot(kind=Kind.SQLITE) as snapshot:
        return snapshot.tables()


def loaded(path: Path, data: bytes) -> Tables:
    with SqliteEngine(path).swap_strategy().scratch(for_swap=False) as scratch:
        scratch.load(io.BytesIO(data), kind=Kind.SQLITE, on_progress=no_progress)
        return scratch.tables(no_progress)


def test_loaded_backup_has_the_digests_of_the_snapshot(odd: Path) -> None:
    assert loaded(odd, support.backup(odd)) == tables(odd)


def test_snapshot_counts_every_table_that_stores_rows(odd: Path) -> None:
    found = {name: table.rows for name, table in tables(odd).items()}
    assert {name: found[name] for name in ("odd", "keyed", 'we"ird', "counted")} == {
        "odd": 15,
        "keyed": 2,
        'we"ird': 1,
        "counted": 1,
    }
    assert set(found) - {"odd", "keyed", 'we"ird', "counted"} == {
        f"words_{part}" for part in ("data", "idx", "content", "docsize", "config")
    }
    engine = SqliteEngine(odd)
    assert engine.count(io.BytesIO(support.backup(odd)), kind=Kind.SQLITE, on_progress=no_progress) == found


@pytest.mark.parametrize(
    ("change", "table"),
    [
        ("UPDATE odd SET cell = x'74657874' WHERE cell = 'text'", "odd"),
        ("UPDATE odd SET cell = CAST(x'ff00fd' AS text) WHERE id = 3", "odd"),
        ("UPDATE odd SET cell = 'a' || char(0) || 'c' WHERE id = 4", "odd"),
        ("UPDATE odd SET cell = 9223372036854775806 WHERE id = 6", "odd"),
        ("UPDATE odd SET cell = 0.10000000000000002 WHERE id = 10", "odd"),
        ("UPDATE odd SET cell = 1.0 WHERE id = 11", "odd"),
        ("UPDATE odd SET cell = '' WHERE id = 5", "odd"),
        ("UPDATE keyed SET a = '3' WHERE a = '1'", "keyed"),
        ('UPDATE "we""ird" SET rowid = \'y\'', 'we"ird'),
        ("DELETE FROM counted", "counted"),
    ],
)
def test_digest_differs_after_any_change(odd: Path, change: str, table: str) -> None:
    before = tables(odd)
    with contextlib.closing(sqlite3.connect(odd)) as connection:
        assert connection.execute(change).rowcount == 1
        connection.commit()
    after = tables(odd)
    assert {name for name in before if before[name] != after[name]} == {table}


def test_digest_is_equal_after_a_vacuum(odd: Path) -> None:
    before = tables(odd)
    with contextlib.closing(sqlite3.connect(odd)) as connection:
        connection.execute("VACUUM")
    assert tables(odd) == before


def test_snapshot_of_rows_that_break_a_constraint_has_them(odd: Path) -> None:
    """Only damage to the file is refused."""
    with contextlib.closing(sqlite3.connect(odd)) as connection:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        connection.execute("CREATE TABLE strict (n integer CHECK (n > 0))")
        connection.execute("INSERT INTO strict VALUES (-1)")
        connection.commit()
    assert loaded(odd, support.backup(odd))["strict"].rows == 1


def test_snapshot_that_ends_early_stops_counting(tmp_path: Path) -> None:
    path = tmp_path / "large.db"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE many (a)")
        connection.execute(
            "INSERT INTO many WITH RECURSIVE c (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 800000)"
            " SELECT n FROM c"
        )
        connection.commit()
    with pytest.raises(KeyboardInterrupt), SqliteEngine(path).snapshot(kind=Kind.SQLITE) as snapshot:
        raise KeyboardInterrupt
    with pytest.raises(CancelledError):
        snapshot.tables()


def test_snapshot_has_the_applied_migrations_in_order(tmp_path: Path) -> None:
    path = tmp_path / "django.db"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.executescript(
            "CREATE TABLE django_migrations (id integer PRIMARY KEY, app, name, applied);"
            "INSERT INTO django_migrations (app, name) VALUES ('b', '0001_initial'), ('a', '0001_initial')"
        )
    with SqliteEngine(path).snapshot(kind=Kind.SQLITE_GZIP) as snapshot:
        assert snapshot.migrations == ("b.0001_initial", "a.0001_initial")
        assert snapshot.size == path.stat().st_size
        assert snapshot.metadata["encoding"] == "UTF-8"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["django.db"]


def test_snapshot_of_a_missing_file_does_not_create_it(tmp_path: Path) -> None:
    path = tmp_path / "missing.db"
    with pytest.raises(PreconditionFailed) as refusal, SqliteEngine(path).snapshot(kind=Kind.SQLITE):
        pytest.fail("It was read")
    assert str(refusal.value) == f"There is no file {path}.\nDoes DATABASE_URL name the right file?"
    assert list(tmp_path.iterdir()) == []


def test_snapshot_of_a_damaged_file_is_refused(live: Path) -> None:
    content = bytearray(live.read_bytes())
    content[40_960:45_056] = b"\xee" * 4096
    live.write_bytes(content)
    with pytest.raises(ArtifactInvalid, match="is damaged: "), SqliteEngine(live).snapshot(kind=Kind.SQLITE):
        pytest.fail("It was read")
    assert support.other_files(live) == []


def test_count_of_a_postgresql_dump_is_refused(engine: SqliteEngine) -> None:
    with pytest.raises(ArtifactInvalid, match=r"^A \.sql\.gz file is a backup of PostgreSQL"):
        engine.count(io.BytesIO(b""), kind=Kind.SQL_GZIP, on_progress=no_progress)


# --- Damage in a backup -------------------------------------------------------------------------------------
def test_load_of_any_truncated_backup_is_refused(engine: SqliteEngine, data: bytes) -> None:
    generator = random.Random(4)
    lengths = {0, 1, 16, 99, 100, 4096, len(data) - 1, len(data) - 4096, *(generator.sample(range(len(data)), 60))}
    for length in sorted(lengths):
        stream = io.BytesIO(data[:length])
        with pytest.raises(ArtifactInvalid), engine.swap_strategy().scratch(for_swap=False) as scratch:
            scratch.load(stream, kind=Kind.SQLITE, on_progress=no_progress)
        with pytest.raises(ArtifactInvalid):
            engine.count(io.BytesIO(data[:length]), kind=Kind.SQLITE, on_progress=no_progress)
    with pytest.raises(ArtifactInvalid, match="its header says"):
        engine.count(io.BytesIO(data + b"more"), kind=Kind.SQLITE, on_progress=no_progress)


def test_load_of_a_truncated_backup_names_the_sizes(engine: SqliteEngine, data: bytes) -> None:
    with pytest.raises(ArtifactInvalid) as refusal:
        engine.count(io.BytesIO(data[:5000]), kind=Kind.SQLITE, on_progress=no_progress)
    assert str(refusal.value) == (
        f"The backup is truncated: it has 5,000 bytes of {len(data):,}.\nChoose another backup: manage.py list_backups"
    )


def test_load_with_a_flipped_bit_is_refused_or_changes_the_digest(odd: Path) -> None:
    """A loaded file has another digest or the same rows."""
    data, expected = support.backup(odd), tables(odd)
    dump = dumped(data, odd)
    generator, outcomes = random.Random(15), {"refused": 0, "seen": 0, "same": 0}
    for _ in range(150):
        position = generator.randrange(len(data))
        flipped = bytearray(data)
        flipped[position] ^= 1 << generator.randrange(8)
        try:
            found = loaded(odd, bytes(flipped))
        except (OpsError, sqlite3.DatabaseError):
            outcomes["refused"] += 1
            continue
        if found != expected:
            outcomes["seen"] += 1
        else:
            assert dumped(bytes(flipped), odd) == dump
            outcomes["same"] += 1
    assert outcomes["refused"]
    assert outcomes["seen"] + outcomes["same"]


def dumped(data: bytes, near: Path) -> list[tuple[object, ...]]:
    path = near.with_name("look.db")
    path.write_bytes(data)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.text_factory = bytes
        return [
            row
            for table in ("odd", "keyed", '"we""ird"', "counted")
            for row in connection.execute(f"SELECT *, typeof(1) FROM {table} NOT INDEXED").fetchall()
        ]


# --- While others write -------------------------------------------------------------------------------------
PAIRS = """
with connection.cursor() as cursor:
    print("ready", flush=True)
    for number in range(10**9):
        cursor.execute("BEGIN IMMEDIATE")
        cursor.execute("INSERT INTO log VALUES (%s)", [number])
        cursor.execute("INSERT INTO item (label) VALUES ('pair')")
        cursor.execute("COMMIT")
"""


def pairs(program: Process, count: Callable[[], dict[str, int]]) -> list[dict[str, int]]:
    assert program.stdout is not None
    assert program.stdout.readline() == "ready\n"
    return [count() for _ in range(10)]


def test_snapshot_during_writes_is_consistent(engine: SqliteEngine, live: Path) -> None:
    def count() -> dict[str, int]:
        return {name: table.rows for name, table in tables(live).items()}

    writer = support.start(live, PAIRS)
    with support.ended(writer):
        counts = pairs(writer, count)
    assert all(found["item"] == 300 + found["log"] for found in counts)
    assert len({found["log"] for found in counts}) > 1
