"""A client of the Redis at ``REDIS_URL`` that gives up at once. Importing redis takes a while, and most commands do not
need it.
"""

from copy import copy
from functools import cache
from typing import TYPE_CHECKING, Any

from ops.utils.redis_url import SENTINEL, parse_sentinel_url

if TYPE_CHECKING:
    import redis
    from redis.sentinel import Sentinel


def redis_client(url: str, *, timeout: float, **options: Any) -> "redis.Redis":
    """A new client without retries; `timeout` is seconds for connecting and for each answer.

    With Sentinel it asks for the leader at each new connection. `options` are those of redis-py. Raises
    InvalidRedisUrl.
    """
    from redis import Redis  # noqa: PLC0415
    from redis.backoff import NoBackoff  # noqa: PLC0415
    from redis.retry import Retry  # noqa: PLC0415

    retry = Retry(NoBackoff(), 0)
    options |= {"retry": retry, "socket_timeout": timeout, "socket_connect_timeout": timeout}
    if not url.startswith(SENTINEL):
        return Redis.from_url(url, **options)
    address = parse_sentinel_url(url)
    service = {"service_name": address.service, "db": address.database, **address.credentials}
    client: Redis = _sentinels(url).master_for(**service, **options)  # type: ignore[no-untyped-call]
    return client


@cache
def _sentinels(url: str) -> "Sentinel":
    """The same ones for all clients of a process: the one is asked first that answered last."""
    from redis.sentinel import Sentinel  # noqa: PLC0415

    class SharedSentinel(Sentinel):
        def discover_master(self, service_name: str) -> Any:
            """The original swaps two of its list in place, which another thread may have swapped since."""
            own = copy(self)
            own.sentinels = list(self.sentinels)
            address = Sentinel.discover_master(own, service_name)  # type: ignore[no-untyped-call]
            self.sentinels = own.sentinels
            return address

    address = parse_sentinel_url(url)
    return SharedSentinel(address.sentinels, sentinel_kwargs=address.sentinel_options)  # type: ignore[no-untyped-call]


def redis_errors() -> type[Exception]:
    """What a client raises, for an ``except`` clause."""
    from redis import RedisError  # noqa: PLC0415

    return RedisError
