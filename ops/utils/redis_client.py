"""A client of Redis that gives up at once. Importing redis takes a while, and most commands do not need it."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import redis


def redis_client(url: str, *, timeout: float) -> "redis.Redis":
    """A new client without retries; `timeout` is seconds for connecting and for each answer."""
    from redis import Redis  # noqa: PLC0415
    from redis.backoff import NoBackoff  # noqa: PLC0415
    from redis.retry import Retry  # noqa: PLC0415

    retry = Retry(NoBackoff(), 0)
    return Redis.from_url(url, retry=retry, socket_timeout=timeout, socket_connect_timeout=timeout)


def redis_errors() -> type[Exception]:
    """What a client raises, for an ``except`` clause."""
    from redis import RedisError  # noqa: PLC0415

    return RedisError
