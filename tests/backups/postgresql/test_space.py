"""A backup of PostgreSQL is refused early when the disk for backups is too small."""

from pathlib import Path

import pytest

from ops.backups.engines.postgresql.engine import PostgresEngine
from ops.backups.locations.catalog import BackupCatalog
from ops.backups.manifest import Kind
from ops.backups.storage.local import PrivateFileSystemStorage
from ops.databases.postgres.lock import LockLost
from ops.errors import PreconditionFailed
from ops.utils.formatting import format_size
from tests.backups import factories
from tests.backups.postgresql import support


def repository_with(free: int, folder: Path, monkeypatch: pytest.MonkeyPatch) -> BackupCatalog:
    monkeypatch.setattr(PrivateFileSystemStorage, "free_bytes", lambda _storage: free)
    return factories.catalog_in(folder)


def test_size_is_that_of_the_live_database(engine: PostgresEngine, lab: support.Database) -> None:
    (size,) = lab.rows("SELECT pg_database_size(current_database())")[0]
    assert engine.size() == size


def test_size_of_a_missing_database_is_unknown(engine: PostgresEngine) -> None:
    missing = PostgresEngine(engine.address.with_database("no_such_database"))
    assert missing.size() is None


def test_size_that_cannot_be_read_because_the_session_is_lost_is_an_error(
    engine: PostgresEngine, lab: support.Database
) -> None:
    with engine.locked("test"):
        support.end_lock_session(lab.name)
        with pytest.raises(LockLost):
            engine.size()


@pytest.mark.parametrize("kind", [Kind.SQL_GZIP, Kind.SQL, Kind.CUSTOM])
def test_backup_to_a_small_disk_is_refused_before_anything_is_written(
    engine: PostgresEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: Kind
) -> None:
    repository = repository_with(100_000, tmp_path / "backups", monkeypatch)
    monkeypatch.setattr(engine, "snapshot", lambda **_: pytest.fail("The database was read."))
    share = engine.size() * 4 // 10 if kind is Kind.SQL else engine.size() // 10
    with pytest.raises(PreconditionFailed) as refusal:
        factories.make_backup(engine, repository, kind)
    assert str(refusal.value) == (
        f"The backup needs about {format_size(share)}, and 100 kB is free in {tmp_path / 'backups'}."
        " Nothing was written.\n"
        "Free some space there (manage.py prune_backups deletes old backups), or set BACKUP_DIR to another disk."
    )
    assert not (tmp_path / "backups").exists()


def test_backup_to_a_disk_with_space_for_another_one_is_made(
    engine: PostgresEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = factories.make_backup(engine, repository_with(2**30, tmp_path, monkeypatch), Kind.SQL_GZIP).size
    factories.make_backup(engine, repository_with(2 * size, tmp_path, monkeypatch), Kind.SQL_GZIP)
    with pytest.raises(PreconditionFailed, match=r"^The backup needs about "):
        factories.make_backup(engine, repository_with(size, tmp_path, monkeypatch), Kind.SQL_GZIP)
