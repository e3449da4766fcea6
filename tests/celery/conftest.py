"""A migrated database in a file, made once, and a Redis."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.celery.support import manage
from tests.support.redis import RedisServer
from tests.support.shared import made_once


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    def migrate(folder: Path) -> None:
        done = manage(folder, "migrate")
        assert done.returncode == 0, done.stderr

    return made_once(tmp_path_factory, "migrated", migrate)


@pytest.fixture
def home(migrated: Path, tmp_path: Path) -> Path:
    """A folder with a database of its own."""
    return Path(shutil.copytree(migrated, tmp_path / "home"))


@pytest.fixture
def redis_url() -> Iterator[str]:
    server = RedisServer.start()
    yield server.url()
    server.stop()
