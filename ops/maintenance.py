"""The sign that the site takes no writes for now, hung up where every process sees it, but not in the database.

It hangs in Redis where there is one, and in a file for whoever gets no answer there. It has to be renewed: when its
holder is killed, it falls off by itself.
"""

import contextlib
import datetime as dt
import json
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

import redis
from django.conf import settings
from django.utils import timezone
from redis.backoff import NoBackoff
from redis.retry import Retry

from ops.errors import PreconditionFailed

logger = logging.getLogger(__name__)

View = TypeVar("View", bound=Callable[..., Any])
LIFETIME = 30
"""Seconds until a sign that nobody renews is void."""
RENEW_INTERVAL = 5.0
"""Seconds between renewals."""
SOCKET_TIMEOUT = 0.25
"""Seconds. Somebody waits for Redis with each request that writes."""


@dataclass(frozen=True, kw_only=True)
class MaintenanceState:
    """Why the site takes no writes, as a sentence for everybody, and since when."""

    reason: str
    since: dt.datetime


@dataclass(frozen=True, kw_only=True)
class MaintenanceMode:
    """Where the sign of one database is hung up. `redis_url` may be empty, `path` None; `key` is its name in Redis."""

    redis_url: str
    key: str
    path: Path | None

    def read(self) -> MaintenanceState | None:
        """What it says, or None where there is none. A Redis that does not answer is no sign."""
        if self.redis_url:
            with contextlib.suppress(redis.RedisError):
                return _parsed(cast("bytes | None", _client(self.redis_url).get(self.key)))
        return _parsed(self._read_file())

    def hang_up(self, notice: MaintenanceState) -> None:
        """Let everybody know for `LIFETIME` from now on. Raises PreconditionFailed when there is nowhere to put it."""
        text = json.dumps(
            {"reason": notice.reason, "since": notice.since.isoformat(), "until": time.time() + LIFETIME},
        )
        # In both: whether Redis answers may differ between this process and those that read.
        faults = self._write_redis(text), self._write_file(text)
        if all(faults):
            raise PreconditionFailed(
                f"Writes to the site can not be held back: {' and '.join(faults)}.",
                "Nothing was changed. Start Redis, or set BACKUP_DIR to a folder that can be written to.",
            )

    def take_down(self) -> None:
        if self.redis_url:
            try:
                _client(self.redis_url).delete(self.key)
            except redis.RedisError as error:
                logger.warning("Redis keeps the sign of maintenance up for %s s: %s.", LIFETIME, type(error).__name__)
        if self.path:
            self.path.unlink(missing_ok=True)

    def _read_file(self) -> bytes | None:
        try:
            return self.path.read_bytes() if self.path else None
        except OSError:
            return None

    def _write_redis(self, text: str) -> str:
        """What went wrong."""
        if not self.redis_url:
            return "there is no Redis"
        try:
            _client(self.redis_url).set(self.key, text, ex=LIFETIME)
        except redis.RedisError as error:
            return f"Redis does not answer ({type(error).__name__})"
        return ""

    def _write_file(self, text: str) -> str:
        """What went wrong."""
        if self.path is None:
            return "there is no folder for a file"
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            beside = self.path.with_name(f"{self.path.name}.{os.getpid()}")
            beside.write_text(text)
            beside.replace(self.path)
        except OSError as error:
            return f"{self.path} can not be written ({error.strerror})"
        return ""


def sign_from_settings(alias: str = "default") -> MaintenanceMode:
    """The sign of the database `alias`. Every process of the project finds the same."""
    database: dict[str, Any] = settings.DATABASES[alias]
    name = str(database["NAME"])
    folder: Path | None = getattr(settings, "BACKUP_DIR", None)
    path = folder / ".maintenance" if folder else None
    if database["ENGINE"].endswith("sqlite3") and Path(name).is_absolute():
        path = Path(f"{name}.ops-maintenance")
    return MaintenanceMode(
        redis_url=getattr(settings, "REDIS_URL", ""),
        key=f"ops:maintenance:{Path(name).name}",
        path=path,
    )


def maintenance_exempt(view: View) -> View:
    """Mark a view that takes its requests while the sign is up, since what it writes concerns the operation itself."""
    view.never_held_back = True  # type: ignore[attr-defined]
    return view


def is_exempt(view: Callable[..., Any]) -> bool:
    return not getattr(view, "maintenance_exempt", False)


@contextlib.contextmanager
def maintenance_mode(sign: MaintenanceMode, *, reason: str) -> Iterator[None]:
    """Keep the sign up within the block. Raises PreconditionFailed when it can not be hung up."""
    notice, over = MaintenanceState(reason=reason, since=timezone.now()), threading.Event()
    sign.hang_up(notice)
    renewing = threading.Thread(target=_renew, args=(sign, notice, over), name="maintenance", daemon=True)
    renewing.start()
    try:
        yield
    finally:
        over.set()
        renewing.join()
        sign.take_down()


def _renew(sign: MaintenanceMode, notice: MaintenanceState, over: threading.Event) -> None:
    while not over.wait(RENEW_INTERVAL):
        try:
            sign.hang_up(notice)
        except PreconditionFailed as error:
            logger.warning("%s", error.message)


def _parsed(text: bytes | None) -> MaintenanceState | None:
    """What a sign says, unless it is void or of somebody else's making."""
    try:
        said = json.loads(text or b"{}")
        if said["until"] > time.time():
            return MaintenanceState(reason=str(said["reason"]), since=dt.datetime.fromisoformat(said["since"]))
    except (ValueError, KeyError, TypeError):
        pass
    return None


@cache
def _client(url: str) -> "redis.Redis":
    timeouts = {"socket_timeout": SOCKET_TIMEOUT, "socket_connect_timeout": SOCKET_TIMEOUT}
    return redis.Redis.from_url(url, retry=Retry(NoBackoff(), 0), **timeouts)
