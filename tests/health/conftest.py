from collections.abc import Iterator

import pytest

from tests.support.postgres import PostgresServer
from tests.support.redis import RedisServer


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """A server to break; each test leaves it running."""
    server = PostgresServer.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def redis_server() -> Iterator[RedisServer]:
    """A Redis to break; each test leaves it running."""
    server = RedisServer.start()
    yield server
    server.stop()
