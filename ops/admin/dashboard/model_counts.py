"""How many rows each model has, without a long wait for large ones."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.contrib.admin import AdminSite
from django.db import connection, models
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse

from ops.backups.preview import is_content

ENOUGH = 250_000
"""Counting stops here."""
LONGEST = 8
"""Models that are shown."""


@dataclass(frozen=True, kw_only=True)
class Counted:
    """`url` is that of the model's list; `percent` is the part of the largest number."""

    label: str
    rows: int
    url: str
    percent: int = 0

    @property
    def text(self) -> str:
        return f"over {ENOUGH:,}" if self.rows > ENOUGH else f"{self.rows:,}"


def count_rows(site: AdminSite, request: HttpRequest) -> list[Counted]:
    """Models of content that have rows, a page here, and that the person may look at, by size. One query for all."""
    pages = {
        model: admin
        for model, admin in site._registry.items()  # noqa: SLF001  # no other way to the models of a site
        if is_content(model) and model._meta.managed and admin.has_view_permission(request)
    }
    rows = dict(zip(pages, _count(pages), strict=True))
    largest = max(rows.values(), default=0) or 1
    counted = [
        Counted(label=_label(model), rows=number, url=_link(site, model), percent=round(100 * number / largest))
        for model, number in rows.items()
        if number
    ]
    return sorted(counted, key=lambda model: (-model.rows, model.label))[:LONGEST]


def _count(found: Iterable[type[models.Model]]) -> list[int]:
    quote = connection.ops.quote_name
    parts = [
        f"(SELECT count(*) FROM (SELECT 1 FROM {quote(model._meta.db_table)} LIMIT {ENOUGH + 1}) AS counted)"  # noqa: S608
        for model in found
    ]
    if not parts:
        return []
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {', '.join(parts)}")
        return list(cursor.fetchone())


def _label(model: type[models.Model]) -> str:
    label = str(model._meta.verbose_name_plural)
    return label[:1].upper() + label[1:]


def _link(site: AdminSite, model: Any) -> str:
    try:
        return reverse(f"{site.name}:{model._meta.app_label}_{model._meta.model_name}_changelist")
    except NoReverseMatch:
        return ""
