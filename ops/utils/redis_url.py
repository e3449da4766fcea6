"""The address of Redis: one server, or the leader that Redis Sentinel names.

``sentinel://:password@h1:26379,h2:26379,h3:26379/0?service=mymaster&sentinel_password=…`` has the user and password of
Redis before the ``@``, and those of the Sentinels in its query. ``service`` is the name after ``sentinel monitor`` in
sentinel.conf.
"""

import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit

SCHEMES = ("redis", "rediss", "unix", "sentinel")
SENTINEL = "sentinel://"
SENTINEL_PORT = 26379
SENTINEL_TIMEOUT = 0.3
"""Seconds for connecting to a Sentinel, and for its answer. Then the next one is asked."""
EXAMPLE = "redis://:password@redis.lan:6379/0"
SENTINEL_EXAMPLE = "sentinel://:password@h1:26379,h2:26379,h3:26379/0?service=mymaster"
KEEPALIVE = {"TCP_KEEPIDLE": 5, "TCP_KEEPINTVL": 2, "TCP_KEEPCNT": 3}
LOST_LEADER: Mapping[str, Any] = {
    "socket_timeout": 5,
    "health_check_interval": 5,
    "socket_keepalive": True,
    # Not every system has all three.
    "socket_keepalive_options": {
        getattr(socket, name): value for name, value in KEEPALIVE.items() if hasattr(socket, name)
    },
}
"""Celery gives up a connection to a leader that is frozen, or whose host is gone, after about ten seconds."""
PARAMETERS = frozenset({"service", "sentinel_username", "sentinel_password"})
QUOTING = "write # / ? @ : , % in a password as %23 %2F %3F %40 %3A %2C %25"


class InvalidRedisUrl(ValueError):
    """What is wrong, without the address, which may contain a password; and a right `example`."""

    def __init__(self, fault: str, example: str) -> None:
        super().__init__(fault)
        self.fault, self.example = fault, example


@dataclass(frozen=True, kw_only=True)
class SentinelAddress:
    """Redis with Sentinel. `credentials` are `username` and `password`, as far as they are needed."""

    sentinels: tuple[tuple[str, int], ...]
    service: str
    database: int
    credentials: Mapping[str, str]
    sentinel_credentials: Mapping[str, str]

    @property
    def sentinel_options(self) -> dict[str, Any]:
        """How redis-py connects to each Sentinel: once, where it would repeat an attempt for seconds."""
        timeouts = {"socket_timeout": SENTINEL_TIMEOUT, "socket_connect_timeout": SENTINEL_TIMEOUT}
        return {**timeouts, "retry": None, **self.sentinel_credentials}


def check_redis_url(url: str) -> None:
    """Raises InvalidRedisUrl."""
    scheme, separator, _ = url.partition("://")
    if not separator or scheme not in SCHEMES:
        known = ", ".join(f"{known}://" for known in SCHEMES)
        raise InvalidRedisUrl(f"does not begin with one of {known}", EXAMPLE)
    if scheme == "sentinel":
        parse_sentinel_url(url)
        return
    if _is_splittable(url) and "," in urlsplit(url).netloc.rpartition("@")[2]:
        raise InvalidRedisUrl("names several hosts; only sentinel:// does", SENTINEL_EXAMPLE)
    try:
        urlsplit(url).port  # noqa: B018  # raises ValueError
    except ValueError as error:
        raise InvalidRedisUrl(f"cannot be parsed; {QUOTING}", EXAMPLE) from error


def parse_sentinel_url(url: str) -> SentinelAddress:
    """Raises InvalidRedisUrl."""
    parts = urlsplit(url) if _is_splittable(url) else None
    if parts is None or parts.scheme != "sentinel" or parts.fragment:
        raise _invalid(f"cannot be parsed; {QUOTING}")
    if ";" in url:
        raise _invalid("has a semicolon; write the hosts with commas, and sentinel:// once")
    user, _, hosts = parts.netloc.rpartition("@")
    database = parts.path.removeprefix("/") or "0"
    if not re.fullmatch("[0-9]{1,5}", database):
        raise _invalid("has a path that is not the number of a database")
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    if unknown := sorted(set(query) - PARAMETERS):
        raise _invalid(f"has an unknown parameter {unknown[0]!r}; known are {', '.join(sorted(PARAMETERS))}")
    if not query.get("service"):
        raise _invalid("names no service; add ?service= and the name after 'sentinel monitor' in sentinel.conf")
    name, _, password = user.partition(":")
    return SentinelAddress(
        sentinels=tuple(map(_host_and_port, hosts.split(","))),
        service=query["service"],
        database=int(database),
        credentials=_credentials(unquote(name), unquote(password)),
        sentinel_credentials=_credentials(query.get("sentinel_username", ""), query.get("sentinel_password", "")),
    )


def celery_address(url: str) -> tuple[str, dict[str, Any]]:
    """The address as Celery writes it, for its broker and for its results, and the transport options of both.

    Celery has an address for each Sentinel, and names a socket differently from redis-py. Raises InvalidRedisUrl.
    """
    if not url.startswith(SENTINEL):
        return url.replace("unix://", "redis+socket://", 1), {}
    address = parse_sentinel_url(url)
    name, password = (quote(address.credentials.get(key, ""), safe="") for key in ("username", "password"))
    user = f"{name}:{password}@" if password else ""
    hosts = (f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in address.sentinels)
    urls = ";".join(f"{SENTINEL}{user}{host}/{address.database}" for host in hosts)
    return urls, {"master_name": address.service, "sentinel_kwargs": address.sentinel_options, **LOST_LEADER}


def _invalid(fault: str) -> InvalidRedisUrl:
    return InvalidRedisUrl(fault, SENTINEL_EXAMPLE)


def _is_splittable(url: str) -> bool:
    try:
        urlsplit(url)
    except ValueError:
        return False
    return True


def _host_and_port(text: str) -> tuple[str, int]:
    match = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([\w.-]+))(?::([0-9]{1,5}))?", text.strip())
    port = int(match[3] or SENTINEL_PORT) if match else 0
    if not match or not 0 < port < 2**16:
        raise _invalid(f"has a host that is not of the form host:port; {QUOTING}")
    return match[1] or match[2], port


def _credentials(username: str, password: str) -> dict[str, str]:
    return {name: value for name, value in (("username", username), ("password", password)) if value}
