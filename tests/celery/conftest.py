"""A migrated database of each test's own, and a Redis."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from tests.support.redis import RedisServer


@pytest.fixture
def home(migrated: Path, tmp_path: Path) -> Path:
    """A folder with a database of its own."""
    return Path(shutil.copytree(migrated, tmp_path / "home"))


@pytest.fixture(scope="module")
def redis_server() -> Iterator[RedisServer]:
    server = RedisServer.start()
    yield server
    server.stop()


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    """The address of a Redis without data."""
    with redis.Redis.from_url(redis_server.url()) as client:
        client.flushall()
    return redis_server.url()
