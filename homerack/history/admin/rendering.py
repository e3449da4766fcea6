"""A page of the history with the frame of the admin around it."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse


def render(request: HttpRequest, template: str, *, title: str, status: int = 200, **context: Any) -> HttpResponse:
    frame = admin.site.each_context(request)
    return TemplateResponse(
        request, f"admin/history/{template}.html", {**frame, "title": title, **context}, status=status
    )
