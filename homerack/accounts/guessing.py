"""Against guessing passwords: what django-axes, which counts the failures, has to know about HomeRack."""

import ipaddress
import unicodedata
from typing import Any

from django.conf import settings
from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

TOO_MANY_REQUESTS = 429


def client_address(request: HttpRequest) -> str | None:
    """Whom a request comes from, or None when nobody says.

    Behind a proxy it is the last entry of X-Forwarded-For, which our proxy wrote; those before it anybody can invent.
    """
    sender = request.META.get("REMOTE_ADDR", "")
    if settings.BEHIND_PROXY:
        sender = request.META.get("HTTP_X_FORWARDED_FOR", sender).rpartition(",")[2].strip()
    try:
        return str(ipaddress.ip_address(sender))
    except ValueError:
        return None


def name_tried(request: HttpRequest, credentials: dict[str, str] | None = None) -> str:
    """The address that somebody tries to sign in with, in one spelling: case makes no other person of it."""
    name = (credentials or request.POST).get("username") or ""
    return unicodedata.normalize("NFKC", name).strip().casefold()


def locked_out(request: HttpRequest, _response: HttpResponse, _credentials: dict[str, Any] | None) -> HttpResponse:
    """The page for those who have to wait."""
    pause = settings.AXES_COOLOFF_TIME
    context = {
        **admin.site.each_context(request),
        "title": "Too many attempts",
        "minutes": int(pause.total_seconds() // 60),
    }
    response = render(request, "accounts/locked_out.html", context, status=TOO_MANY_REQUESTS)
    response["Retry-After"] = str(int(pause.total_seconds()))
    return response
