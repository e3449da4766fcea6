"""What the console's pages share: admin classes for rows that nobody edits, and pages of our own in the same frame."""

from collections.abc import Callable
from typing import Any, TypeVar

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db import models
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from unfold.admin import ModelAdmin

from ops.errors import OpsError
from ops.models import Run
from ops.runs import authorization
from ops.utils.formatting import time_zone_name

Row = TypeVar("Row", bound=models.Model)
View = Callable[..., HttpResponse]


class IndexAdmin(ModelAdmin[Row]):
    """Rows that are an index of what is in the storage: nobody adds, changes or deletes them by a form."""

    actions = None
    list_per_page = 50
    list_filter_sheet = False
    empty_value_display = "–"

    def has_add_permission(self, request: HttpRequest) -> bool:  # noqa: ARG002  # Django's interface
        return False

    def has_change_permission(self, request: HttpRequest, obj: Row | None = None) -> bool:  # noqa: ARG002
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Row | None = None) -> bool:  # noqa: ARG002
        return False

    def shown(self, request: HttpRequest, key: str) -> Row:
        """The row that a page is about. Raises Http404, and PermissionDenied for those who may not look at it."""
        row = self.get_object(request, key)
        if row is None:
            raise Http404(f"There is no {self.opts.verbose_name} {key}.")
        if not self.has_view_permission(request, row):
            raise PermissionDenied
        return row

    def page(
        self, request: HttpRequest, template: str, *, title: str, status: int = 200, **context: Any
    ) -> HttpResponse:
        """A page of ours inside of the console's frame."""
        frame = self.admin_site.each_context(request)
        shared = {"opts": self.opts, "title": title, "zone": time_zone_name(), "show_back_button": True}
        return TemplateResponse(request, template, {**frame, **shared, **context}, status=status)


def require(request: HttpRequest, permission: str) -> None:
    """Raises PermissionDenied for those who do not have it."""
    if not request.user.has_perm(permission):
        raise PermissionDenied


def require_administrator(request: HttpRequest) -> None:
    """Raises PermissionDenied for everybody but superusers."""
    if not request.user.is_superuser:
        raise PermissionDenied


def require_start(request: HttpRequest, kind: Run.Kind, **arguments: Any) -> None:
    """Raises PermissionDenied for those who may not start such a run."""
    if not authorization.may_start(request.user, kind, arguments):
        raise PermissionDenied


def show_error(request: HttpRequest, error: OpsError) -> None:
    """What went wrong as a message on the next page."""
    messages.error(request, f"{error.message} {error.hint}".strip())
