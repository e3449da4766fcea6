"""The page that removes the demo lab."""

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse

from homerack.inventory.demo import describe
from homerack.inventory.demo.removal import DemoChanged, find_removal, may_remove, remove_demo


def remove_demo_view(request: HttpRequest) -> HttpResponse:
    """Shows what is deleted and what stays; after a POST deletes it, and goes to the dashboard."""
    if not may_remove(request.user):
        raise PermissionDenied
    if request.method != "POST":
        return confirmation(request)
    try:
        removed = remove_demo()
    except DemoChanged:
        messages.error(request, "Another user has changed the demo lab meanwhile. Nothing was deleted.")
        return HttpResponseRedirect(request.path)
    if removed:
        messages.success(request, f"Deleted the demo lab: {describe(removed.numbers)}.")
    return HttpResponseRedirect(reverse("admin:index"))


def confirmation(request: HttpRequest) -> HttpResponse:
    removal = find_removal()
    numbers = [(number, kind) for kind, number in removal.numbers.items() if number]
    context = {
        **admin.site.each_context(request),
        "title": "Remove the demo lab",
        "numbers": numbers,
        "kept": removal.kept,
        "back": reverse("admin:index"),
    }
    return TemplateResponse(request, "admin/inventory/remove_demo.html", context)
