"""A live file and a backup with other content."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ops.backups.engines.sqlite.engine import SqliteEngine
from tests.backups.sqlite import support


@pytest.fixture
def live(tmp_path: Path) -> Path:
    path = tmp_path / "site" / "lab.db"
    path.parent.mkdir()
    support.write_content(path, "old")
    return path


@pytest.fixture
def engine(live: Path) -> SqliteEngine:
    return SqliteEngine(live)


@pytest.fixture
def data(tmp_path: Path) -> bytes:
    path = tmp_path / "new.db"
    support.write_content(path, "new")
    return support.backup(path)


@pytest.fixture
def free_connections(django_db_blocker: Any) -> Iterator[None]:
    """Django's connections may be used; the tests override them with their own files."""
    with django_db_blocker.unblock():
        yield
