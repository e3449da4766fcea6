"""``/health/full/``: the checks of `ops.health.report` as django-health-check's page, JSON and OpenMetrics.

`ops.health.views` imports this module only when the page is requested: the library takes a while to import.
"""

import dataclasses
from collections.abc import Generator
from concurrent.futures import Executor
from typing import Any

from asgiref.sync import sync_to_async
from django.http import HttpRequest, HttpResponse
from health_check.base import HealthCheck, HealthCheckResult
from health_check.exceptions import HealthCheckException, ServiceUnavailable, ServiceWarning
from health_check.views import HealthCheckView, MediaType

from ops.health.report import check_health
from ops.health.results import CheckResult, HealthReport, Status


@dataclasses.dataclass(repr=False)
class ReportedCheck(HealthCheck):
    """A check that has its result already. The library's own checks have no deadline, and name the hosts they ask."""

    name: str
    result: CheckResult = dataclasses.field(repr=False)

    def __repr__(self) -> str:
        return self.name

    @property
    def labels(self) -> dict[str, str]:
        """Of the check's metrics."""
        return {"check": self.name}

    async def run(self) -> None:
        """Raise what the result says, without the details that only staff may see."""
        if self.result.status is Status.UNHEALTHY:
            raise ServiceUnavailable(self.result.error)
        if self.result.status is not Status.HEALTHY:
            raise ServiceWarning(self.result.error)

    async def get_result(self, _executor: Executor | None = None) -> HealthCheckResult:
        """The library's would log every failed check with a traceback, at each probe."""
        error: HealthCheckException | None = None
        try:
            await self.run()
        except HealthCheckException as raised:
            error = raised
        return HealthCheckResult(check=self, error=error, time_taken=self.result.seconds)


class FullHealthView(HealthCheckView):
    """All checks, as a page, ``?format=json``, ``text`` or ``openmetrics`` (or by the Accept header)."""

    template_name = "ops/health.html"
    report: HealthReport

    async def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            list(MediaType.parse_header(request.headers.get("accept", "*/*")))
        except ValueError:
            return HttpResponse("The Accept header cannot be read.", status=406, content_type="text/plain")
        self.report = await sync_to_async(check_health, thread_sensitive=False)()
        response: HttpResponse = await super().get(request, *args, **kwargs)
        if response.status_code == 500:  # the library's status where a check is not healthy; ours is that of /health/
            response.status_code = 503 if self.report.status is Status.UNHEALTHY else 200
        return response

    def get_checks(self) -> Generator[ReportedCheck, None, None]:
        """Those of the report."""
        for name, result in self.report.checks.items():
            yield ReportedCheck(name, result)
