"""The health endpoints."""

from django.conf import settings
from django.db import transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from ops.conf import conf
from ops.health.database import READ_ONLY
from ops.health.report import check_database, check_health
from ops.health.results import CheckResult, HealthReport, Status, worst
from ops.utils.single_flight import shared_calls

STAFF_WITHIN = 0.3
"""Seconds to find out whether staff sent the request: the sessions are in the database, too."""
FREE_THREADS, STALLED_SECONDS = "ops.free_threads", "ops.stalled_seconds"
"""Keys of the WSGI environment that a web server may set: how many of its threads are free, and for how many seconds
all of them have been busy."""


@require_safe
@never_cache
@transaction.non_atomic_requests
def health(request: HttpRequest) -> HttpResponse:
    """All checks: 200 while the site works (healthy, degraded or maintenance), 503 when it does not."""
    report = check_health()
    body = report.as_dict(details=is_staff(request, report))
    return JsonResponse(body, status=503 if report.status is Status.UNHEALTHY else 200)


@require_safe
@never_cache
@transaction.non_atomic_requests
def live(request: HttpRequest) -> HttpResponse:
    """Whether the threads of the process make progress: the only problem that a restart solves."""
    stalled = request.META.get(STALLED_SECONDS, 0) > conf.OPS_STALLED_AFTER
    status = Status.UNHEALTHY if stalled else Status.HEALTHY
    return JsonResponse({"status": str(status)}, status=503 if stalled else 200)


@require_safe
@never_cache
@transaction.non_atomic_requests
def ready(request: HttpRequest) -> HttpResponse:
    """Whether requests can be served: a thread is free, and the database answers and has all migrations.

    A process whose connection pool is busy counts as ready.
    """
    checks = check_database() | check_threads(request)
    needed = [checks[name].status for name in ("migrations", "threads") if name in checks]
    is_ready = "migrations" in checks and worst(needed) is Status.HEALTHY
    shown = {name: check.as_dict(details=False) for name, check in checks.items()}
    status = Status.HEALTHY if is_ready else Status.UNHEALTHY
    return JsonResponse({"status": str(status), "checks": shown}, status=200 if is_ready else 503)


@transaction.non_atomic_requests
async def full(request: HttpRequest) -> HttpResponse:
    """All checks, in the formats of django-health-check."""
    from ops.health.metrics import FullHealthView  # noqa: PLC0415  # takes a while, and commands do not need it

    response: HttpResponse = await FullHealthView.as_view()(request)
    return response


def check_threads(request: HttpRequest) -> dict[str, CheckResult]:
    """Whether a thread is free for another request; empty where the web server does not report it."""
    if FREE_THREADS not in request.META:
        return {}
    if request.META[FREE_THREADS] > 0:
        return {"threads": CheckResult()}
    return {"threads": CheckResult(status=Status.UNHEALTHY, error="NoFreeThread")}


def is_staff(request: HttpRequest, report: HealthReport) -> bool:
    """Whether a user with staff status sent the request. False when that takes too long to find out."""
    database = report.checks["database"]
    reads = database.status is Status.HEALTHY or database.error == READ_ONLY
    if settings.SESSION_COOKIE_NAME not in request.COOKIES or not reads:
        return False
    call = shared_calls.run_exclusive("staff", lambda: bool(request.user.is_active and request.user.is_staff))
    return call is not None and call.result(within=STAFF_WITHIN) is True
