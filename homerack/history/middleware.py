"""The change set of each request."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

from homerack.history.change_sets import OpenChangeSet, change_set
from homerack.history.entry_points import EntryPoint


def change_set_middleware(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """What a request changes is one change set, of its user."""

    def middleware(request: HttpRequest) -> HttpResponse:
        with change_set(EntryPoint.FORM) as opened:
            opened.complete = lambda found: complete(found, request)
            return get_response(request)

    return middleware


def complete(opened: OpenChangeSet, request: HttpRequest) -> None:
    """Called at the first change: the view has read the form by then."""
    opened.user = opened.user or getattr(request, "user", None)
    opened.description = opened.description or request.path
    name = request.resolver_match.url_name if request.resolver_match else ""
    if opened.entry_point == EntryPoint.FORM and (name or "").endswith("_changelist") and "action" in request.POST:
        opened.entry_point = EntryPoint.ACTION
