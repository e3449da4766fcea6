"""Entries and rows of the history with the links that a user may follow."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from django.contrib import admin
from django.contrib.admin.utils import quote
from django.db.models import Model
from django.http import HttpRequest
from django.urls import reverse

from homerack.history.admin.access import may_revert_all, may_view
from homerack.history.models import ChangeSet
from homerack.history.timeline import ChangedRow, Entry


@dataclass(frozen=True, kw_only=True)
class LinkedRow:
    """Addresses; '' where there is no link.

    `page` is the row's form, `history` its history, `revert` the page that reverts this change.
    """

    row: ChangedRow
    page: str
    history: str
    revert: str


@dataclass(frozen=True, kw_only=True)
class LinkedEntry:
    entry: Entry
    rows: tuple[LinkedRow, ...]
    page: str


def link_entries(
    request: HttpRequest, entries: Iterable[Entry], *, shown: tuple[type[Model], Any] | None = None
) -> list[LinkedEntry]:
    """`shown` are the model and the key of the row whose history the page is; changes can be reverted there."""
    entries = list(entries)
    linked = link_rows(request, [row for entry in entries for row in entry.rows], with_reverts=shown is not None)
    if shown:
        linked = [
            replace(each, page="", history="") if (each.row.model, each.row.key) == shown else each for each in linked
        ]
    by_row = {(each.row.model, each.row.pk): each for each in linked}
    return [
        LinkedEntry(
            entry=entry,
            rows=tuple(by_row[row.model, row.pk] for row in entry.rows),
            page=page_of(entry.change_set),
        )
        for entry in entries
    ]


def link_rows(request: HttpRequest, rows: Sequence[ChangedRow], *, with_reverts: bool = True) -> list[LinkedRow]:
    """One query for each model that has pages."""
    keys: dict[type[Model], set[Any]] = {}
    for row in rows:
        keys.setdefault(row.model, set()).add(row.key)
    there = {
        model: set(model._base_manager.filter(pk__in=those).values_list("pk", flat=True))
        for model, those in keys.items()
        if admin.site.is_registered(model) and may_view(request, model)
    }
    return [
        LinkedRow(
            row=row,
            page=form_of(row.model, row.key) if row.key in there.get(row.model, ()) else "",
            history=history_page_of(row.model, row.key),
            revert=revert_page_of(row) if with_reverts and may_revert_all(request, {(row.model, row.state)}) else "",
        )
        for row in rows
    ]


def form_of(model: type[Model], key: Any) -> str:
    names = model._meta
    return reverse(f"admin:{names.app_label}_{names.model_name}_change", args=(quote(key),))


def history_page_of(model: type[Model], key: Any) -> str:
    return reverse("admin:history_changeset_row", args=(model._meta.model_name, key))


def page_of(change_set: ChangeSet) -> str:
    return reverse("admin:history_changeset_change", args=(change_set.pk,))


def revert_page_of(row: ChangedRow) -> str:
    return reverse("admin:history_changeset_revert_row", args=(row.model._meta.model_name, row.key, row.pk))
