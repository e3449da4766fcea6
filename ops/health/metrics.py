"""``/health/full/``: django-health-check's page, JSON and OpenMetrics, held to our promises.

By itself the library waits for a check that hangs (its time-out stops waiting, but the end of the event loop joins the
thread), starts every check anew for every probe, names the hosts it asked, and answers a fault with status 500.
"""

import asyncio
import dataclasses
import time
from collections.abc import Generator
from concurrent.futures import Executor
from typing import Any

import redis.asyncio
from django.db import connections
from django.http import HttpRequest, HttpResponse
from health_check import checks as library
from health_check.base import HealthCheck, HealthCheckResult
from health_check.contrib import redis as library_redis
from health_check.exceptions import ServiceUnavailable, ServiceWarning
from health_check.views import HealthCheckView, MediaType

from ops.health.database import ask_database, with_health_deadline
from ops.health.dependencies import SOCKET_TIMEOUT, check_disk, ping_worker
from ops.health.report import DEADLINE, HealthOptions, options_from_settings
from ops.health.results import Status
from ops.utils.single_flight import Call, shared_calls


@dataclasses.dataclass
class Database(library.Database):
    """The library's query, without retry and without a long wait in the pool's queue."""

    def run(self) -> None:
        with with_health_deadline(connections[self.alias]):
            super().run()


@dataclasses.dataclass
class Migrations(HealthCheck):
    """Every migration of the code is applied."""

    alias: str = "default"

    def run(self) -> None:
        if unapplied := ask_database(self.alias).unapplied:
            raise ServiceUnavailable(f"{len(unapplied)} not applied")


@dataclasses.dataclass
class BackupDisk(HealthCheck):
    """There is room for backups."""

    options: HealthOptions = dataclasses.field(repr=False)

    def run(self) -> None:
        if self.options.backup_dir:
            result = check_disk(self.options.backup_dir)
            if result.status is not Status.HEALTHY:
                raise ServiceWarning(result.error)


@dataclasses.dataclass(repr=False)
class Redis(library_redis.Redis):
    """The library's, without telling where Redis is."""

    def _connection_kwargs(self) -> dict[str, object]:
        return {}


@dataclasses.dataclass
class Worker(HealthCheck):
    """A Celery worker takes what pages queue.

    The library's own check takes whoever answers a ping first for a worker, and asks it for its queues.
    """

    options: HealthOptions = dataclasses.field(repr=False)

    def run(self) -> None:
        result = ping_worker(self.options.celery_app, self.options.redis_url)
        if result.status is not Status.HEALTHY:
            raise ServiceUnavailable(result.error)


class DeadlineCheck:
    """A check as the library's view sees it, put through the tower: one at a time, and not waited for too long."""

    def __init__(self, check: HealthCheck) -> None:
        self.check = check

    async def get_result(self, _executor: Executor | None = None) -> HealthCheckResult:
        start = time.perf_counter()
        flight = shared_calls.run(f"page {self.check!r}", self._run)
        outcome = await self._outcome(flight)
        error = sanitize_error(outcome) if isinstance(outcome, BaseException) else None
        return HealthCheckResult(check=self.check, error=error, time_taken=time.perf_counter() - start)

    async def _outcome(self, flight: Call[None]) -> BaseException | None:
        deadline = flight.started + DEADLINE
        while not flight.future.done() and time.monotonic() < deadline:
            await asyncio.sleep(0.005)
        return flight.result(within=0)

    def _run(self) -> None:
        if asyncio.iscoroutinefunction(self.check.run):
            asyncio.run(self.check.run())
        else:
            self.check.run()


def sanitize_error(error: BaseException) -> ServiceUnavailable | ServiceWarning:
    """What everybody may know of `error`: its class. Our own sentences hold nothing else and stay."""
    if isinstance(error, ServiceUnavailable | ServiceWarning) and error.__cause__ is None:
        return error
    return ServiceUnavailable(type(error.__cause__ or error).__name__)


class FullHealthView(HealthCheckView):
    """All checks, as a page, ``?format=json``, ``text`` or ``openmetrics`` (or by the Accept header)."""

    async def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            list(MediaType.parse_header(request.headers.get("accept", "*/*")))
        except ValueError:
            return HttpResponse("The Accept header can not be read.", status=406, content_type="text/plain")
        response: HttpResponse = await super().get(request, *args, **kwargs)
        if response.status_code == 500:  # the library's word for "a check failed"
            response.status_code = 503
        return response

    def get_checks(self) -> Generator[DeadlineCheck, None, None]:
        """What is configured."""
        options = options_from_settings()
        yield DeadlineCheck(Database(alias=options.alias))
        yield DeadlineCheck(Migrations(alias=options.alias))
        yield DeadlineCheck(library.Cache())
        if options.redis_url:
            yield DeadlineCheck(Redis(client_factory=lambda: make_client(options.redis_url)))
        if options.redis_url and options.celery_app:
            yield DeadlineCheck(Worker(options=options))
        if options.backup_dir:
            yield DeadlineCheck(BackupDisk(options=options))


def make_client(url: str) -> "redis.asyncio.Redis":
    return redis.asyncio.Redis.from_url(url, socket_timeout=SOCKET_TIMEOUT, socket_connect_timeout=SOCKET_TIMEOUT)
