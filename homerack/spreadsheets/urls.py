"""The addresses below ``spreadsheets/`` of the admin."""

from collections.abc import Callable
from typing import Any

from django.urls import URLPattern, path

from homerack.spreadsheets import exports, pages


def patterns(admin_view: Callable[..., Any]) -> list[URLPattern]:
    """With names for the admin's namespace. `admin_view` lets staff alone see a page."""
    views: list[tuple[str, Callable[..., Any], str]] = [
        ("", pages.spreadsheets, "spreadsheets"),
        ("import/<uuid:key>/", pages.spreadsheet_import, "spreadsheets_import"),
        ("import/<uuid:key>/status/", pages.import_status, "spreadsheets_import_status"),
        ("import/<uuid:key>/problems.csv", pages.problems, "spreadsheets_problems"),
        ("export/<str:suffix>/", exports.export_everything, "spreadsheets_export_everything"),
        ("export/<str:table>/<str:suffix>/", exports.export_list, "spreadsheets_export"),
    ]
    return [path(f"spreadsheets/{route}", admin_view(view), name=name) for route, view, name in views]
