"""While the sign of maintenance is up, requests that write are answered with a page that says why."""

from collections.abc import Awaitable, Callable
from typing import cast
from urllib.parse import urlsplit

from asgiref.sync import iscoroutinefunction, sync_to_async
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.http.response import HttpResponseBase
from django.template.loader import render_to_string
from django.urls import Resolver404, resolve
from django.utils.cache import add_never_cache_headers
from django.utils.decorators import sync_and_async_middleware
from django.utils.http import url_has_allowed_host_and_scheme

from ops.maintenance import MaintenanceState, is_exempt, sign_from_settings

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
RETRY_AFTER = 10
"""Seconds until whoever was refused should try again."""

Answer = Callable[[HttpRequest], HttpResponseBase] | Callable[[HttpRequest], Awaitable[HttpResponseBase]]


@sync_and_async_middleware
def maintenance_middleware(get_response: Answer) -> Answer:
    """Belongs before the sessions, since it has to work without a database. Requests that only read cost nothing."""
    if iscoroutinefunction(get_response):
        answer_later = cast("Callable[[HttpRequest], Awaitable[HttpResponseBase]]", get_response)

        async def later(request: HttpRequest) -> HttpResponseBase:
            refusal = await sync_to_async(refused, thread_sensitive=False)(request) if writes(request) else None
            return refusal or await answer_later(request)

        return later
    answer = cast("Callable[[HttpRequest], HttpResponseBase]", get_response)

    def at_once(request: HttpRequest) -> HttpResponseBase:
        return (refused(request) if writes(request) else None) or answer(request)

    return at_once


def writes(request: HttpRequest) -> bool:
    return request.method not in SAFE_METHODS


def refused(request: HttpRequest) -> HttpResponse | None:
    """The answer to a request that writes, or None when it is welcome."""
    notice = sign_from_settings().read()
    if notice is None or not blocks_request(request):
        return None
    as_page = request.get_preferred_type(["text/html", "application/json"]) != "application/json"
    response = page(request, notice) if as_page else json_response(notice)
    response.headers["Retry-After"] = str(RETRY_AFTER)
    add_never_cache_headers(response)
    return response


def blocks_request(request: HttpRequest) -> bool:
    """What leads to no view at all is answered as all the others."""
    try:
        return is_exempt(resolve(request.path_info).func)
    except Resolver404:
        return True


def page(request: HttpRequest, notice: MaintenanceState) -> HttpResponse:
    context = {"notice": notice, "retry_after": RETRY_AFTER, "next": referring_page(request)}
    return HttpResponse(render_to_string("ops/maintenance.html", context), status=503)


def json_response(notice: MaintenanceState) -> JsonResponse:
    said = {"since": notice.since.isoformat(), "retry_after": RETRY_AFTER}
    return JsonResponse({"status": "maintenance", "reason": notice.reason, **said}, status=503)


def referring_page(request: HttpRequest) -> str:
    """Where a person was when they sent the form; what it was sent to may not take a GET. Never another site's page."""
    try:
        referer = urlsplit(request.headers.get("Referer", ""))
    except ValueError:
        return "/"
    page = referer._replace(scheme="", netloc="").geturl() if referer.netloc == request.get_host() else ""
    return page if url_has_allowed_host_and_scheme(page, allowed_hosts=None) else "/"
