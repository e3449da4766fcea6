"""A backup of a SQLite file is refused early when a disk is too small."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ops.backups.engines.sqlite.engine import SqliteEngine
from ops.backups.locations.catalog import BackupCatalog
from ops.backups.manifest import Kind
from ops.databases.sqlite.files import size_of
from ops.errors import PreconditionFailed
from ops.utils.formatting import format_size
from tests.backups import factories
from tests.backups.sqlite import support


@pytest.fixture
def repository(tmp_path: Path) -> BackupCatalog:
    return factories.catalog_in(tmp_path / "backups")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "small"
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(path)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("mounting needs more rights")
    try:
        yield path
    finally:
        subprocess.run(["umount", path], check=True)


def limit(repository: BackupCatalog, monkeypatch: pytest.MonkeyPatch, *, free: int | None) -> None:
    monkeypatch.setattr(repository.storage, "free_bytes", lambda: free)


def test_backup_to_a_small_disk_is_refused_before_anything_is_written(engine: SqliteEngine, small_disk: Path) -> None:
    repository = factories.catalog_in(small_disk)
    with pytest.raises(PreconditionFailed) as refusal:
        factories.make_backup(engine, repository, Kind.SQLITE)
    assert str(refusal.value) == (
        f"The backup needs about {format_size(engine.size() * 9 // 10)}, and 205 kB is free in {small_disk}."
        " Nothing was written.\n"
        "Free some space there (manage.py prune_backups deletes old backups), or set BACKUP_DIR to another disk."
    )
    assert list(small_disk.iterdir()) == []
    assert support.other_files(engine.path) == []


def test_backup_of_a_file_on_a_full_disk_is_refused(small_disk: Path, repository: BackupCatalog, live: Path) -> None:
    path = small_disk / "lab.db"
    support.write_content(path, "old", rows=100)
    with pytest.raises(PreconditionFailed) as refusal:
        factories.make_backup(SqliteEngine(path), repository, Kind.SQLITE)
    needed = format_size(path.stat().st_size)
    assert refusal.value.message.startswith(f"A backup copies {path} first, which needs {needed}, and ")
    assert refusal.value.message.endswith(f" is free in {small_disk}. Nothing was written.")
    assert support.other_files(path) == []
    assert repository.files.names() == set()


def test_first_backup_needs_a_share_of_the_database(
    engine: SqliteEngine, repository: BackupCatalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit(repository, monkeypatch, free=engine.size() // 10 - 1)
    with pytest.raises(PreconditionFailed, match=r"^The backup needs about "):
        factories.make_backup(engine, repository, Kind.SQLITE_GZIP)
    limit(repository, monkeypatch, free=engine.size() // 10)
    assert factories.make_backup(engine, repository, Kind.SQLITE_GZIP).size < engine.size() // 10


def test_next_backup_needs_a_quarter_more_than_the_newest(
    engine: SqliteEngine, repository: BackupCatalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = factories.make_backup(engine, repository, Kind.SQLITE_GZIP).size
    limit(repository, monkeypatch, free=size + size // 4 - 1)
    with pytest.raises(PreconditionFailed, match=r"^The backup needs about "):
        factories.make_backup(engine, repository, Kind.SQLITE_GZIP)
    limit(repository, monkeypatch, free=size + size // 4)
    factories.make_backup(engine, repository, Kind.SQLITE_GZIP)


def test_next_backup_needs_no_more_than_the_database_has(
    engine: SqliteEngine, repository: BackupCatalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    factories.make_backup(engine, repository, Kind.SQLITE)
    limit(repository, monkeypatch, free=engine.size())
    factories.make_backup(engine, repository, Kind.SQLITE)


def test_backup_to_a_storage_of_unknown_free_space_is_made(
    engine: SqliteEngine, repository: BackupCatalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit(repository, monkeypatch, free=None)
    factories.make_backup(engine, repository, Kind.SQLITE)


def test_backup_of_a_missing_file_names_the_file(tmp_path: Path, repository: BackupCatalog) -> None:
    with pytest.raises(PreconditionFailed, match=r"^There is no file "):
        factories.make_backup(SqliteEngine(tmp_path / "none.db"), repository, Kind.SQLITE)


def test_size_of_a_log_that_sqlite_has_just_deleted_is_zero(tmp_path: Path) -> None:
    dangling = tmp_path / "dangling"
    dangling.symlink_to(tmp_path / "deleted")
    assert [size_of(path) for path in (tmp_path / "lab.db-wal", tmp_path / "gone" / "lab.db", dangling)] == [0, 0, 0]
    (tmp_path / "deleted").write_bytes(b"123")
    assert size_of(dangling) == 3
