"""Health over HTTP: thin doors to `ops.health`."""

from django.conf import settings
from django.db import transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from ops.health.flight import tower
from ops.health.report import examine, examine_database, options_from_settings
from ops.health.results import HealthReport, Status

STAFF_WITHIN = 0.3
"""Seconds to find out whether staff is asking. The sessions are in the database, too."""


@require_safe
@never_cache
@transaction.non_atomic_requests
def health(request: HttpRequest) -> HttpResponse:
    """Everything: 200 while the site works (healthy, degraded or maintenance), 503 when it does not."""
    report = examine(options_from_settings())
    body = report.as_dict(details=is_staff(request, report))
    return JsonResponse(body, status=503 if report.status is Status.UNHEALTHY else 200)


@require_safe
@never_cache
@transaction.non_atomic_requests
def live(_request: HttpRequest) -> HttpResponse:
    """The process answers. Nothing else is looked at: a restart of it would cure nothing else."""
    return JsonResponse({"status": str(Status.HEALTHY)})


@require_safe
@never_cache
@transaction.non_atomic_requests
def ready(_request: HttpRequest) -> HttpResponse:
    """Requests can be served: the database answers and has all migrations. A busy pool is no reason to stay away."""
    checks = examine_database(options_from_settings())
    migrated = "migrations" in checks and checks["migrations"].status is Status.HEALTHY
    status = Status.HEALTHY if migrated else Status.UNHEALTHY
    shown = {name: check.as_dict(details=False) for name, check in checks.items()}
    return JsonResponse({"status": str(status), "checks": shown}, status=200 if migrated else 503)


def is_staff(request: HttpRequest, report: HealthReport) -> bool:
    """Whether somebody with access to the console asks. In doubt, and when finding out would take long: no."""
    if settings.SESSION_COOKIE_NAME not in request.COOKIES or report.checks["database"].status is not Status.HEALTHY:
        return False
    flight = tower.ask_alone("staff", lambda: bool(request.user.is_active and request.user.is_staff))
    return flight is not None and flight.outcome(within=STAFF_WITHIN) is True
