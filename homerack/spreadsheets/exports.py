"""Downloads: what a list shows, or all tables."""

import contextlib
import tempfile
from collections.abc import Callable
from typing import Any, BinaryIO, cast

from django.contrib import admin, messages
from django.contrib.admin.options import IncorrectLookupParameters
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import FileResponse, Http404, HttpRequest, HttpResponseRedirect, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_safe

from homerack.inventory.spreadsheets.exporting import CannotExport, csv_lines, write_csv_archive, write_xlsx
from homerack.inventory.spreadsheets.tables import TABLES, Table
from homerack.spreadsheets.rights import exportable

CSV, XLSX, ZIP = (
    "text/csv; charset=utf-8",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "application/zip",
)
FORMATS = ("csv", "xlsx")


@require_safe
def export_list(request: HttpRequest, table: str, suffix: str) -> HttpResponseBase:
    """The rows that the list shows with the search and the filters of the query, on all of its pages."""
    found = TABLES.get(table)
    if found is None or suffix not in FORMATS:
        raise Http404
    if found not in exportable(request.user):
        raise PermissionDenied
    back = reverse(f"admin:{found.model._meta.app_label}_{found.model._meta.model_name}_changelist")
    try:
        rows = listed(request, found)
    except IncorrectLookupParameters:
        return HttpResponseRedirect(f"{back}?e=1")
    if suffix == "csv":
        return StreamingHttpResponse(csv_lines(found, rows), content_type=CSV, headers=named(table, suffix))
    try:
        return workbook([found], table, {table: rows})
    except CannotExport as error:
        messages.error(request, str(error))
        return HttpResponseRedirect(f"{back}?{request.GET.urlencode()}")


def listed(request: HttpRequest, table: Table) -> "QuerySet[Any]":
    """The rows alone: the columns of the list are not computed for them. Raises IncorrectLookupParameters."""
    changes = admin.site.get_model_admin(table.model).get_changelist_instance(request)
    # A list that is not searched has no condition, and needs none.
    return (
        table.queryset().filter(pk__in=changes.queryset.order_by().values("pk"))
        if changes.queryset.query.where
        else table.queryset()
    )


@require_safe
def export_everything(request: HttpRequest, suffix: str) -> HttpResponseBase:
    """All tables that the user may view: an archive of CSV files, or a workbook."""
    tables = exportable(request.user)
    if suffix not in FORMATS:
        raise Http404
    if not tables:
        raise PermissionDenied
    if suffix == "xlsx":
        try:
            return workbook(tables, "homerack", {})
        except CannotExport as error:
            messages.error(request, str(error))
            return HttpResponseRedirect(reverse("admin:spreadsheets"))
    return file_of("homerack", "zip", ZIP, lambda file: write_csv_archive(file, tables))


def workbook(tables: list[Table], name: str, rows: "dict[str, QuerySet[Any]]") -> FileResponse:
    """Raises CannotExport."""
    return file_of(name, "xlsx", XLSX, lambda file: write_xlsx(file, tables, rows=rows))


def file_of(name: str, suffix: str, kind: str, write: Callable[[BinaryIO], object]) -> FileResponse:
    """What `write` writes, from a file on the disk without a name, which the response closes."""
    with contextlib.ExitStack() as stack:
        file = cast("BinaryIO", stack.enter_context(tempfile.TemporaryFile()))
        write(file)
        file.seek(0)
        stack.pop_all()
    return FileResponse(file, content_type=kind, headers=named(name, suffix))


def named(name: str, suffix: str) -> dict[str, str]:
    return {"Content-Disposition": f'attachment; filename="{name}-{timezone.localdate():%Y-%m-%d}.{suffix}"'}
