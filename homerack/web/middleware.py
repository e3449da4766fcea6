"""Response headers that neither Django nor its packages set."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

UNUSED = ("camera", "geolocation", "microphone", "payment", "usb")
"""Browser features that no page uses."""


def permissions_policy(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    policy = ", ".join(f"{feature}=()" for feature in UNUSED)

    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        response.headers.setdefault("Permissions-Policy", policy)
        return response

    return middleware
