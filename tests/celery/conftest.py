"""A migrated database of each test's own, and a Redis."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.redis import RedisServer


@pytest.fixture
def home(migrated: Path, tmp_path: Path) -> Path:
    """A folder with a database of its own."""
    return Path(shutil.copytree(migrated, tmp_path / "home"))


@pytest.fixture
def redis_url() -> Iterator[str]:
    server = RedisServer.start()
    yield server.url()
    server.stop()
