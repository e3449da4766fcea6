"""What the tests of the way back share: a live database with tables, and the library in PostgreSQL."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from ops.databases.migration_state import run_migrations
from ops.databases.override import override_database, sqlite_wrapper
from ops.engine_migration.to_sqlite import target
from ops.runs import recorder
from ops.runs.row_writer import RunRowWriter
from tests.engine_migration import support
from tests.engine_migration.support import Database, Migration
from tests.support.replayed_migrations import replaying


@pytest.fixture(autouse=True)
def live_database(databases_are_open: None, templates: Path, tmp_path: Path) -> Iterator[None]:
    """The database of the project, into which a run writes its row."""
    path = shutil.copy(templates / "empty.db", tmp_path / "live.db")
    with override_database(sqlite_wrapper(str(path))):
        yield


@pytest.fixture(autouse=True)
def replayed_migrations_of_file(monkeypatch: pytest.MonkeyPatch, statements_of_migrate: Path) -> None:
    monkeypatch.setattr(target, "run_migrations", replaying(run_migrations, statements_of_migrate))


@pytest.fixture(autouse=True)
def row_of_run_is_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread that writes it has a connection of its own to the database of the settings, which has no tables."""
    monkeypatch.setattr(recorder, "RunRowWriter", lambda state, **_: RunRowWriter(state, enabled=False))


@pytest.fixture
def lab(migration: Migration) -> Iterator[Database]:
    """The library in PostgreSQL: a database of the test's own, which is not the live one."""
    name = support.new_name()
    yield support.create(name, migration.target.name)
    support.drop(name)


@pytest.fixture
def new(tmp_path: Path) -> Path:
    """The file that the command is to make."""
    return tmp_path / "new.db"
