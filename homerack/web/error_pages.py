"""The pages of refused and failed requests: what happened, what was changed, and what to do next.

They need no database, session, context processor or static file, because each of these may be what failed. Only users
who know the path of the admin see links to it: staff, and those who requested a page of it.
"""

import logging
import secrets
import sys
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.middleware.csrf import get_token
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone
from django.utils.http import url_has_allowed_host_and_scheme

from homerack.web import outages
from homerack.web.error_texts import (
    CSRF,
    FAILED,
    FORBIDDEN,
    MALFORMED,
    METHOD,
    NOT_FOUND,
    REFUSED,
    UNKNOWN_ORIGIN,
    ErrorPage,
)
from ops import maintenance

METHOD_NOT_ALLOWED = 405
READS = frozenset({"GET", "HEAD", "OPTIONS"})
TEMPLATE = "errors/page.html"


@dataclass(frozen=True, kw_only=True)
class Link:
    text: str
    url: str


# --- Django's handlers (homerack/urls.py) -------------------------------------------------------------------------
def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """400, or 413 for a form that is too large."""
    page = next((page for kind, page in REFUSED.items() if isinstance(exception, kind)), MALFORMED)
    return respond(request, page)


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:  # noqa: ARG001  # Django's signature
    """403. Staff may sign in as another user."""
    switch: dict[str, Any] = {}
    if is_staff(request):
        switch = {
            "switch_url": reverse("admin:logout"),
            "csrf_token": get_token(request),
            "next": request.get_full_path() if request.method in READS else reverse("admin:index"),
        }
    return respond(request, FORBIDDEN, **switch)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """404, with the sentence of an `Http404` that has one."""
    reason = exception.args[0] if exception.args else ""
    return respond(request, NOT_FOUND.with_text(reason) if isinstance(reason, str) and reason else NOT_FOUND)


def server_error(request: HttpRequest) -> HttpResponse:
    """500 with an id that `ErrorId` adds to the line in the log; 503 while the database does not answer."""
    request.error_id = secrets.token_hex(4)  # type: ignore[attr-defined]
    page = FAILED
    if failure := outages.page_of(sys.exc_info()[1]):
        # A restore ends the sessions of the database that it replaces; requests that read notice it.
        if request.method in READS and (replaced := maintenance.current_refusal(request)):
            return replaced
        page = failure
    if request.method in READS:
        page = page.for_reading()
    moment = timezone.now().strftime("%Y-%m-%d %H:%M:%S UTC")
    try:
        return respond(request, page, error_id=request.error_id, moment=moment)  # type: ignore[attr-defined]
    except Exception:  # noqa: BLE001  # the last page that can be shown; Django logs the error that led here
        text = f"{page.title}\n\n{page.text} {page.changed}\nError {request.error_id} at {moment}\n"  # type: ignore[attr-defined]
        return HttpResponse(text, status=page.status, content_type="text/plain; charset=utf-8")


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """403 for a form whose token is missing or wrong. The link opens the page of the form again."""
    page = UNKNOWN_ORIGIN if reason.startswith("Origin checking failed") else CSRF
    form = referrer(request)
    again = (Link(text="Open the page of the form again", url=form),) if form else ()
    return respond(request, page, first=again)


def explain_refused_methods(
    get_response: Callable[[HttpRequest], HttpResponse],
) -> Callable[[HttpRequest], HttpResponse]:
    """Middleware: the page of a 405, for which Django has no handler and sends no text."""

    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        if response.status_code == METHOD_NOT_ALLOWED and not response.streaming and not response.content:
            response.content = respond(request, METHOD).content
            response["Content-Type"] = "text/html; charset=utf-8"
        return response

    return middleware


class ErrorId(logging.Filter):
    """Adds the id that a user sees on the page of an error to Django's line and traceback of it."""

    def filter(self, record: logging.LogRecord) -> bool:
        error_id = getattr(getattr(record, "request", None), "error_id", "")
        if error_id:
            record.msg = f"Error {error_id}: {record.msg}"
        return True


# --- The page -----------------------------------------------------------------------------------------------------
def respond(request: HttpRequest, page: ErrorPage, *, first: tuple[Link, ...] = (), **context: Any) -> HttpResponse:
    links = [*first, *ways_on(request, with_staff=page.status < FAILED.status)] if page.leads_on else []
    response = HttpResponse(render(page, links=links, **context), status=page.status)
    response["Cache-Control"] = "no-store"
    if page.status == HTTPStatus.SERVICE_UNAVAILABLE:
        response["Retry-After"] = str(maintenance.RETRY_AFTER)
    return response


def render(page: ErrorPage, **context: Any) -> str:
    """Without a request, so without context processors."""
    return render_to_string(TEMPLATE, {"page": page, **context})


def ways_on(request: HttpRequest, *, with_staff: bool) -> list[Link]:
    """The dashboard, or the sign-in page that leads to it. With `with_staff` the session may be read."""
    index = reverse("admin:index")
    if request.path.startswith(index) or (with_staff and is_staff(request)):
        return [Link(text="Dashboard", url=index)]
    return []


def is_staff(request: HttpRequest) -> bool:
    """Whether the user may use the admin; False if that cannot be found out now."""
    try:
        return admin.site.has_permission(request)
    except Exception:  # noqa: BLE001  # no session, no database: the page is shown nevertheless
        return False


def referrer(request: HttpRequest) -> str:
    """The page of this site that the request came from, or ''."""
    address = request.headers.get("Referer", "")
    is_ours = url_has_allowed_host_and_scheme(address, {request.get_host()}, require_https=request.is_secure())
    return address if address and is_ours else ""
