"""Maintenance mode: requests that write are answered with 503 and the reason.

The mode is kept outside of the database, where every process reads it: in Redis if there is one, and in a file for
processes that Redis does not answer. It expires unless its holder renews it, and so ends if the holder is killed.
"""

import contextlib
import datetime as dt
import json
import logging
import os
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast
from urllib.parse import urlsplit

from asgiref.sync import iscoroutinefunction, sync_to_async
from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.http.response import HttpResponseBase
from django.template.loader import render_to_string
from django.urls import Resolver404, resolve
from django.utils.cache import add_never_cache_headers
from django.utils.decorators import sync_and_async_middleware
from django.utils.http import url_has_allowed_host_and_scheme

from ops.conf import conf
from ops.errors import PreconditionFailed
from ops.utils import clock
from ops.utils.redis_client import redis_client, redis_errors

if TYPE_CHECKING:
    import redis

logger = logging.getLogger(__name__)

View = TypeVar("View", bound=Callable[..., Any])
GetResponse = Callable[[HttpRequest], HttpResponseBase] | Callable[[HttpRequest], Awaitable[HttpResponseBase]]
LIFETIME = 30
"""Seconds until a mode that is not renewed expires."""
RENEW_INTERVAL = 5.0
"""Seconds between renewals."""
SOCKET_TIMEOUT = 0.25
"""Seconds. Each request that writes waits for Redis."""
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
RETRY_AFTER = 10
"""Seconds until a client should try again."""


@dataclass(frozen=True, kw_only=True)
class MaintenanceState:
    """Why writes are blocked, as a sentence for users, and since when."""

    reason: str
    since: dt.datetime


@dataclass(frozen=True, kw_only=True)
class MaintenanceMode:
    """The maintenance mode of one database. `key` is its name in Redis; `redis_url` may be empty, `path` None."""

    redis_url: str
    key: str
    path: Path | None

    def read(self) -> MaintenanceState | None:
        """The state, or None if the mode is disabled. The file counts if Redis does not answer."""
        if self.redis_url:
            with contextlib.suppress(redis_errors()):
                return _parsed(cast("bytes | None", _client(self.redis_url).get(self.key)))
        return _parsed(self._read_file())

    def enable(self, state: MaintenanceState) -> None:
        """Block writes for `LIFETIME` seconds. Raises PreconditionFailed if neither can be written."""
        text = json.dumps({"reason": state.reason, "since": state.since.isoformat(), "until": time.time() + LIFETIME})
        # In both, because Redis may answer this process and not those that read, or the other way round.
        errors = self._write_redis(text), self._write_file(text)
        if all(errors):
            raise PreconditionFailed(
                f"Maintenance mode could not be enabled: {' and '.join(errors)}.",
                "Nothing was changed. Start Redis, or set BACKUP_DIR to a directory that can be written to.",
            )

    def disable(self) -> None:
        if self.redis_url:
            try:
                _client(self.redis_url).delete(self.key)
            except redis_errors() as error:
                logger.warning("Maintenance mode stays on in Redis for %s s: %s.", LIFETIME, type(error).__name__)
        if self.path:
            self.path.unlink(missing_ok=True)

    def _read_file(self) -> bytes | None:
        try:
            return self.path.read_bytes() if self.path else None
        except OSError:
            return None

    def _write_redis(self, text: str) -> str:
        """The error, or ''."""
        if not self.redis_url:
            return "there is no Redis"
        try:
            _client(self.redis_url).set(self.key, text, ex=LIFETIME)
        except redis_errors() as error:
            return f"Redis does not answer ({type(error).__name__})"
        return ""

    def _write_file(self, text: str) -> str:
        """The error, or ''."""
        if self.path is None:
            return "there is no directory for a file"
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            temporary = self.path.with_name(f"{self.path.name}.{os.getpid()}")
            temporary.write_text(text)
            temporary.replace(self.path)
        except OSError as error:
            return f"{self.path} cannot be written ({error.strerror})"
        return ""


def mode_from_settings(alias: str = "default") -> MaintenanceMode:
    """The mode of the database `alias`, the same in every process of the project."""
    database: dict[str, Any] = settings.DATABASES[alias]
    name = str(database["NAME"])
    path = conf.BACKUP_DIR / ".maintenance"
    if database["ENGINE"].endswith("sqlite3") and Path(name).is_absolute():
        path = Path(f"{name}.ops-maintenance")
    return MaintenanceMode(redis_url=conf.REDIS_URL, key=f"ops:maintenance:{Path(name).name}", path=path)


@contextlib.contextmanager
def maintenance_mode(*, reason: str, mode: MaintenanceMode | None = None) -> Iterator[None]:
    """Block writes while the block runs, to "default" without a `mode`. Raises what `MaintenanceMode.enable` raises."""
    mode, ended = mode or mode_from_settings(), threading.Event()
    state = MaintenanceState(reason=reason, since=clock.now())
    mode.enable(state)
    renewal = threading.Thread(target=_renew, args=(mode, state, ended), name="maintenance", daemon=True)
    renewal.start()
    try:
        yield
    finally:
        ended.set()
        renewal.join()
        mode.disable()


def _renew(mode: MaintenanceMode, state: MaintenanceState, ended: threading.Event) -> None:
    while not ended.wait(RENEW_INTERVAL):
        try:
            mode.enable(state)
        except PreconditionFailed as error:
            logger.warning("%s", error.message)


def _parsed(text: bytes | None) -> MaintenanceState | None:
    """The state that `enable` wrote; None if it has expired or is malformed."""
    try:
        state = json.loads(text or b"{}")
        if state["until"] > time.time():
            return MaintenanceState(reason=str(state["reason"]), since=dt.datetime.fromisoformat(state["since"]))
    except (ValueError, KeyError, TypeError):
        pass
    return None


@cache
def _client(url: str) -> "redis.Redis":
    return redis_client(url, timeout=SOCKET_TIMEOUT)


# --- Requests --------------------------------------------------------------------------------------------------------


def maintenance_exempt(view: View) -> View:
    """Mark a view whose requests are not blocked, because they concern the operation itself."""
    view.maintenance_exempt = True  # type: ignore[attr-defined]
    return view


@sync_and_async_middleware
def maintenance_middleware(get_response: GetResponse) -> GetResponse:
    """Answer requests that write with the reason for the maintenance mode. Requests that only read pass unchecked.

    The middleware belongs before the sessions, because it has to work without a database.
    """
    if iscoroutinefunction(get_response):
        respond_async = cast("Callable[[HttpRequest], Awaitable[HttpResponseBase]]", get_response)

        async def async_middleware(request: HttpRequest) -> HttpResponseBase:
            refusal = await sync_to_async(refusal_of, thread_sensitive=False)(request) if writes(request) else None
            return refusal or await respond_async(request)

        return async_middleware
    respond = cast("Callable[[HttpRequest], HttpResponseBase]", get_response)

    def sync_middleware(request: HttpRequest) -> HttpResponseBase:
        return (refusal_of(request) if writes(request) else None) or respond(request)

    return sync_middleware


def writes(request: HttpRequest) -> bool:
    return request.method not in SAFE_METHODS


def refusal_of(request: HttpRequest) -> HttpResponse | None:
    """The response to a request that writes while writes are blocked; else None."""
    refusal = current_refusal(request)
    return None if refusal and is_exempt(request) else refusal


def current_refusal(request: HttpRequest) -> HttpResponse | None:
    """The response with the reason why writes are blocked, for any request; None while they are not."""
    state = mode_from_settings().read()
    if state is None:
        return None
    as_page = request.get_preferred_type(["text/html", "application/json"]) != "application/json"
    response = page(request, state) if as_page else json_response(state)
    response.headers["Retry-After"] = str(RETRY_AFTER)
    add_never_cache_headers(response)
    return response


def is_exempt(request: HttpRequest) -> bool:
    """Whether its view is exempt; a request without a view is not."""
    try:
        return bool(getattr(resolve(request.path_info).func, "maintenance_exempt", False))
    except Resolver404:
        return False


def page(request: HttpRequest, state: MaintenanceState) -> HttpResponse:
    context = {"state": state, "retry_after": RETRY_AFTER, "next": referring_page(request)}
    return HttpResponse(render_to_string("ops/maintenance.html", context), status=503)


def json_response(state: MaintenanceState) -> JsonResponse:
    document = {
        "status": "maintenance",
        "reason": state.reason,
        "since": state.since.isoformat(),
        "retry_after": RETRY_AFTER,
    }
    return JsonResponse(document, status=503)


def referring_page(request: HttpRequest) -> str:
    """The page of this site with the form that was sent, or "/": the address of the request may not allow GET."""
    try:
        referer = urlsplit(request.headers.get("Referer", ""))
    except ValueError:
        return "/"
    page = referer._replace(scheme="", netloc="").geturl() if referer.netloc == request.get_host() else ""
    return page if url_has_allowed_host_and_scheme(page, allowed_hosts=None) else "/"
