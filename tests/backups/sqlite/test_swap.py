"""The swap: what other programs see, what is kept, and what does not stop it."""

import contextlib
import io
import os
import sqlite3
import subprocess
from pathlib import Path

import pytest
from django.db import connection as djangos

from ops.backups.engines.sqlite.engine import SqliteEngine
from ops.backups.manifest import Kind
from ops.databases.override import override_database, sqlite_wrapper
from ops.databases.sqlite import files
from ops.databases.sqlite import swap as swapping
from ops.errors import PreconditionFailed
from ops.utils.progress import no_progress
from tests.backups.sqlite import support
from tests.backups.sqlite.support import content, other_files, restore

READER = """
seen = set()
with connection.cursor() as cursor:
    print("ready", flush=True)
    while not Path(sys.argv[2]).exists():
        cursor.execute("SELECT min(label), max(label), count(*) FROM item")
        seen.add(cursor.fetchone())
print(sorted(seen))
"""
WRITER = """
number = 0
with connection.cursor() as cursor:
    while not Path(sys.argv[2]).exists():
        number += 1
        cursor.execute("INSERT INTO log VALUES (%s)", [number])
        if number == 1:
            print("ready", flush=True)
print(number)
"""


def test_swap_makes_the_new_content_live_and_keeps_the_old(engine: SqliteEngine, live: Path, data: bytes) -> None:
    restore(engine, data, run="r1")
    assert content(live) == "new"
    kept = engine.swap_strategy().previous_database()
    assert kept is not None
    assert (kept.run, kept.backup) == ("r1", "b.sqlite3")
    assert content(live.with_name(kept.name)) == "old"
    assert kept.size == live.with_name(kept.name).stat().st_size
    assert other_files(live) == [kept.name, "lab.db.ops-undo.json"]
    assert support.value(live, "SELECT count(*) FROM sqlite_master WHERE name LIKE 'ops%'") == 0


def test_undo_of_an_undo_gives_the_restored_content(engine: SqliteEngine, live: Path, data: bytes) -> None:
    restore(engine, data, run="r1")
    support.undo(engine, run="r2")
    assert content(live) == "old"
    kept = engine.swap_strategy().previous_database()
    assert kept is not None
    assert (kept.run, kept.backup) == ("r2", "undo")
    support.undo(engine, run="r3")
    assert content(live) == "new"
    assert len(other_files(live)) == 2


@pytest.mark.usefixtures("free_connections")
def test_previous_database_as_default_is_read_through_django(engine: SqliteEngine, data: bytes) -> None:
    restore(engine, data, run="r1")
    with engine.swap_strategy().previous_as_staging() as scratch, scratch.as_default(), djangos.cursor() as cursor:
        cursor.execute("SELECT DISTINCT label FROM item")
        assert cursor.fetchall() == [("old",)]


def test_drop_previous_deletes_the_previous_database(engine: SqliteEngine, live: Path, data: bytes) -> None:
    restore(engine, data, run="r1")
    strategy = engine.swap_strategy()
    strategy.drop_previous(strategy.require_previous())
    assert engine.swap_strategy().previous_database() is None
    assert other_files(live) == []
    with pytest.raises(PreconditionFailed) as refusal:
        support.undo(engine, run="r2")
    assert refusal.value.message == "There is nothing to undo: no previous database is kept."
    assert content(live) == "new"


@pytest.mark.parametrize("mode", ["wal", "delete"])
def test_swap_does_not_interrupt_other_programs(tmp_path: Path, data: bytes, mode: str) -> None:
    """Through Django's own connections, opened once, in other processes."""
    live = tmp_path / "busy.db"
    support.write_content(live, "old", mode=mode)
    engine, stop = SqliteEngine(live), tmp_path / "stop"
    programs = [support.start(live, code, str(stop)) for code in (READER, WRITER, READER)]
    with support.ended(*programs):
        for program in programs:
            assert program.stdout is not None
            assert program.stdout.readline() == "ready\n"
        restore(engine, data, run="r0")
        for number in range(6):
            support.undo(engine, run=f"r{number}")
        stop.touch()
        outcomes = [program.communicate(timeout=60) for program in programs]
    assert [err for _, err in outcomes] == ["", "", ""]
    for seen, _ in (outcomes[0], outcomes[2]):
        assert seen.strip() == "[('new', 'new', 300), ('old', 'old', 300)]"
    assert int(outcomes[1][0]) > 20
    assert content(live) == "new"


def test_swap_keeps_rows_that_were_written_before_it(engine: SqliteEngine, live: Path, data: bytes) -> None:
    """Each row of a concurrent writer is in the previous database or in the new content: none is lost."""
    stop = live.parent / "stop"
    writer = support.start(live, WRITER, str(stop))
    with support.ended(writer):
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
        restore(engine, data, run="r1")
        stop.touch()
        out, err = writer.communicate(timeout=60)
    assert err == ""
    kept = engine.swap_strategy().previous_database()
    assert kept is not None
    before = support.value(live.with_name(kept.name), "SELECT count(*) FROM log")
    after = support.value(live, "SELECT count(*) FROM log")
    assert before > 0
    assert before + after == int(out)


def test_swap_keeps_the_locks_of_this_process(engine: SqliteEngine, live: Path, data: bytes) -> None:
    """Opening and closing the file without SQLite would end them, and the next program would delete the log."""
    with contextlib.closing(sqlite3.connect(live)) as site:
        site.execute("INSERT INTO log VALUES (1)")
        site.commit()
        support.backup(live)
        restore(engine, data, run="r1")
        support.undo(engine, run="r2")
        engine.sweep()
        site.execute("INSERT INTO log VALUES (2)")
        site.commit()
        other = support.start(live, "with connection.cursor() as cursor:\n    cursor.execute('SELECT * FROM log')\n")
        assert other.communicate(timeout=60) == ("", "")
        assert live.with_name("lab.db-wal").exists()
        site.execute("INSERT INTO log VALUES (3)")
        site.commit()
    assert support.value(live, "SELECT group_concat(number) FROM log") == "1,2,3"


def test_swap_does_not_change_the_view_of_an_open_reader(engine: SqliteEngine, live: Path, data: bytes) -> None:
    with contextlib.closing(sqlite3.connect(live, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        assert reader.execute("SELECT DISTINCT label FROM item").fetchall() == [("old",)]
        restore(engine, data, run="r1")
        assert reader.execute("SELECT DISTINCT label FROM item").fetchall() == [("old",)]
        reader.execute("COMMIT")
        assert reader.execute("SELECT DISTINCT label FROM item").fetchall() == [("new",)]


@pytest.mark.usefixtures("free_connections")
def test_swap_keeps_connections_of_this_process_usable(engine: SqliteEngine, live: Path, data: bytes) -> None:
    with override_database(sqlite_wrapper(str(live))), djangos.cursor() as cursor:
        cursor.execute("SELECT DISTINCT label FROM item")
        assert cursor.fetchall() == [("old",)]
        restore(engine, data, run="r1")
        cursor.execute("SELECT DISTINCT label FROM item")
        assert cursor.fetchall() == [("new",)]


def test_swap_with_another_page_size_is_done(engine: SqliteEngine, live: Path, tmp_path: Path) -> None:
    path = tmp_path / "wide.db"
    support.write_content(path, "wide", page_size=8192)
    with contextlib.closing(sqlite3.connect(live)) as reader:
        assert reader.execute("SELECT DISTINCT label FROM item").fetchall() == [("old",)]
        restore(engine, support.backup(path), run="r1")
        assert reader.execute("SELECT DISTINCT label FROM item").fetchall() == [("wide",)]
    assert content(live) == "wide"


def test_swap_with_another_encoding_is_refused(engine: SqliteEngine, live: Path, tmp_path: Path) -> None:
    path = tmp_path / "utf16.db"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA encoding = 'UTF-16le'")
        connection.execute("CREATE TABLE item (label)")
    with pytest.raises(PreconditionFailed) as refusal:
        restore(engine, support.backup(path), run="r1")
    assert refusal.value.message == f"{live} has the encoding UTF-8, and the restored file has UTF-16le."
    assert content(live) == "old"
    assert other_files(live) == []


def test_swap_with_a_writer_that_does_not_end_waits_and_is_refused(
    engine: SqliteEngine, live: Path, data: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (files, swapping):
        monkeypatch.setattr(module, "LOCK_TIMEOUT", 0.3)
    with contextlib.closing(sqlite3.connect(live, isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("INSERT INTO log VALUES (1)")
        with pytest.raises(PreconditionFailed) as refusal:
            restore(engine, data, run="r1")
        writer.execute("COMMIT")
    assert refusal.value.message == f"{live} is locked by another program."
    assert content(live) == "old"
    assert other_files(live) == []


def test_swap_of_a_missing_file_creates_it(engine: SqliteEngine, live: Path, data: bytes) -> None:
    live.unlink()
    live.with_name("lab.db-wal").write_bytes(b"of the lost file")
    restore(engine, data, run="r1")
    assert content(live) == "new"
    assert engine.swap_strategy().previous_database() is None
    assert other_files(live) == []


@pytest.mark.parametrize("damage", ["overwritten", "cut"])
def test_swap_of_a_damaged_file_keeps_it_unchanged(engine: SqliteEngine, live: Path, data: bytes, damage: str) -> None:
    broken = {"overwritten": b"\xee" * 9000, "cut": live.read_bytes()[:70_000]}[damage]
    live.write_bytes(broken)
    live.chmod(0o640)
    restore(engine, data, run="r1")
    assert content(live) == "new"
    assert live.stat().st_mode & 0o777 == 0o640
    kept = engine.swap_strategy().previous_database()
    assert kept is not None
    assert live.with_name(kept.name).read_bytes() == broken
    with pytest.raises(PreconditionFailed) as refusal:
        support.undo(engine, run="r2")
    assert refusal.value.message == (
        f"The previous database {live.with_name(kept.name)} is damaged. Nothing was changed."
    )
    assert content(live) == "new"
    assert engine.swap_strategy().previous_database() == kept


def test_swap_of_an_empty_file_replaces_it(engine: SqliteEngine, live: Path, data: bytes) -> None:
    live.write_bytes(b"")
    restore(engine, data, run="r1")
    assert content(live) == "new"
    support.undo(engine, run="r2")
    assert support.value(live, "SELECT count(*) FROM sqlite_master") == 0


def test_swap_creates_files_for_their_owner_only(engine: SqliteEngine, live: Path, data: bytes) -> None:
    live.chmod(0o644)
    before = live.stat()
    with engine.locked("a test"), engine.swap_strategy().scratch(for_swap=True) as scratch:
        scratch.load(io.BytesIO(data), kind=Kind.SQLITE, on_progress=no_progress)
        assert scratch.path.stat().st_mode & 0o777 == 0o600
        assert scratch.path.parent.stat().st_mode & 0o777 == 0o700
        scratch.swap(run="r1", backup="b")
    after = live.stat()
    assert (after.st_mode, after.st_ino, after.st_uid) == (before.st_mode, before.st_ino, before.st_uid)
    for name in [*other_files(live), "lab.db.ops-lock"]:
        assert live.with_name(name).stat().st_mode & 0o777 == 0o600, name


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give files away")
def test_swap_by_root_gives_files_to_the_owner_of_the_database(engine: SqliteEngine, live: Path, data: bytes) -> None:
    os.chown(live, 65534, 65534)
    with engine.locked("a test"):
        restore(engine, data, run="r1")
    assert {path.stat().st_uid for path in live.parent.iterdir()} == {65534}


# --- A scratch file -----------------------------------------------------------------------------------------
def test_scratch_with_a_name_is_kept(engine: SqliteEngine, live: Path, tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "other.db"
    with engine.swap_strategy().scratch(name=str(path), for_swap=False) as scratch:
        scratch.load(io.BytesIO(data), kind=Kind.SQLITE, on_progress=no_progress)
        scratch.keep()
        assert not path.exists()
    assert content(path) == "new"
    assert path.stat().st_mode & 0o777 == 0o600
    assert content(live) == "old"
    with pytest.raises(PreconditionFailed) as refusal, engine.swap_strategy().scratch(name=str(path), for_swap=False):
        pytest.fail("An existing file was taken")
    assert refusal.value.message == f"{path} exists already."


def test_scratch_that_failed_leaves_nothing(engine: SqliteEngine, live: Path, tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    with pytest.raises(KeyboardInterrupt), engine.swap_strategy().scratch(name=str(path), for_swap=False):
        raise KeyboardInterrupt
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["site"]


# --- A full disk --------------------------------------------------------------------------------------------
LIMITED = """
import resource
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
engine = SqliteEngine(Path(sys.argv[1]))
try:
    with engine.locked("a test"), engine.swap_strategy().scratch(for_swap=True) as scratch:
        with open(sys.argv[2], "rb") as file:
            scratch.load(file, kind=Kind.SQLITE, on_progress=no_progress)
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), resource.RLIM_INFINITY))
        scratch.swap(run="r1", backup="b")
except OpsError as error:
    print(error)
"""


@pytest.mark.parametrize("limit", [100_000, 380_000], ids=["undo", "log"])
def test_swap_on_a_full_disk_changes_nothing(live: Path, tmp_path: Path, limit: int) -> None:
    """The limit meets the copy of the old content, or the log into which the larger new content is written."""
    path = tmp_path / "large.db"
    support.write_content(path, "large", rows=3000)
    data = tmp_path / "data"
    data.write_bytes(support.backup(path))
    program = support.start(live, LIMITED, str(data), str(limit))
    out, err = program.communicate(timeout=60)
    assert err == ""
    assert out.endswith(".\nFree some space there.\n")
    assert "could not be written to" in out
    assert content(live) == "old"
    assert other_files(live) == []


def test_load_on_a_full_disk_is_refused(tmp_path: Path, data: bytes) -> None:
    small = tmp_path / "small"
    small.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", small], check=False, capture_output=True)
    if done.returncode:
        pytest.skip("mounting needs more rights")
    try:
        with (
            pytest.raises(PreconditionFailed) as refusal,
            SqliteEngine(small / "lab.db").swap_strategy().scratch(for_swap=True) as scratch,
        ):
            scratch.load(io.BytesIO(data), kind=Kind.SQLITE, on_progress=no_progress)
        assert refusal.value.message == f"The backup could not be decompressed in {small}: No space left on device."
        assert list(small.iterdir()) == []
    finally:
        subprocess.run(["umount", small], check=True)
