"""What the search of the sidebar finds: pages of the console, and rows of the lists that the user may open.

Rows are found by the same fields as in their lists (`SearchedAdmin`). Those whose name begins with the term come first.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.apps import apps
from django.conf import settings
from django.contrib.admin.utils import quote
from django.db.models.constants import LOOKUP_SEP
from django.http import HttpRequest
from django.urls import reverse
from django.utils.http import urlencode
from django.utils.text import capfirst

from homerack.ordering import Alphabetical, alphabetical_key

MOST = 6
"""Results of each list. The last one of a list with more leads to all of them."""
LONGEST = 200
"""Characters of a term."""
LAST = "\U0010ffff"
"""No text has a later character."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """`note` tells it from others of the same name."""

    title: str
    note: str
    url: str


@dataclass(frozen=True, kw_only=True)
class Group:
    """The results of one list, which is called `name`."""

    name: str
    results: tuple[Result, ...]


def find(site: Any, request: HttpRequest, term: str) -> list[Group]:
    """What the user may see of what `term` finds: first pages, then rows."""
    groups = [Group(name="Pages", results=tuple(find_pages(site, request, term)[:MOST]))]
    options: Any = settings.UNFOLD
    for label in options["COMMAND"]["search_models"]:
        model_admin: Any = site.get_model_admin(apps.get_model(label))
        if model_admin.has_view_or_change_permission(request):
            name = str(capfirst(model_admin.opts.verbose_name_plural))
            groups.append(Group(name=name, results=tuple(find_rows(model_admin, request, term))))
    return [group for group in groups if group.results]


def find_pages(site: Any, request: HttpRequest, term: str) -> list[Result]:
    """The entries of the sidebar that the user sees."""
    return [
        Result(title=str(entry["title"]), note=str(section["title"]), url=str(entry["link"]))
        for section in site.get_sidebar_list(request)
        for entry in section["items"]
        if entry["has_permission"] and term.casefold() in str(entry["title"]).casefold()
    ]


def find_rows(model_admin: Any, request: HttpRequest, term: str) -> Iterator[Result]:
    keys = find_keys(model_admin, request, term)
    view = f"admin:{model_admin.opts.app_label}_{model_admin.opts.model_name}"
    rows = model_admin.get_queryset(request).in_bulk(keys[:MOST])
    for key in keys[:MOST]:
        if row := rows.get(key):  # it may have been deleted since
            url = reverse(f"{view}_change", args=(quote(key),))
            yield Result(title=str(row), note=model_admin.describe_found(row), url=url)
    if len(keys) > MOST:
        plural = model_admin.opts.verbose_name_plural
        url = f"{reverse(f'{view}_changelist')}?{urlencode({'q': term})}"
        yield Result(title=f"All matching {plural}", note="", url=url)


def find_keys(model_admin: Any, request: HttpRequest, term: str) -> list[Any]:
    """The primary keys of the first rows, and of one more than `MOST` if there are more.

    The database reads the rows whose name begins with the term in an index, and all others only if these are few.
    """
    rows = model_admin.get_queryset(request).order_by(*model_admin.get_ordering(request)).values_list("pk", flat=True)
    name, keys = model_admin.get_search_fields(request)[0], []
    if LOOKUP_SEP not in name:
        prefix = alphabetical_key(term).decode()
        named = rows.alias(found_key=Alphabetical(name)).filter(found_key__gte=prefix, found_key__lt=prefix + LAST)
        keys = list(named[: MOST + 1])
    if len(keys) <= MOST:
        others, _ = model_admin.get_search_results(request, rows.exclude(pk__in=keys), term)
        keys += others[: MOST + 1 - len(keys)]
    return keys
