"""The timeline of the lab, the page of a change set, and the history of one row."""

from collections.abc import Callable
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied, ValidationError
from django.core.paginator import Paginator
from django.db.models import Model, OuterRef, Q, QuerySet, Subquery, Value
from django.db.models.lookups import Exact
from django.forms.models import _get_foreign_key  # Django's own way to find what an inline refers to
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import NoReverseMatch, URLPattern, path, reverse
from django.utils.http import urlencode
from django.views.decorators.http import require_safe
from unfold.admin import ModelAdmin

from homerack.history.admin.access import fields_of, find_model, history_of, may_view, scope_of, viewable_models
from homerack.history.admin.filters import TimelineFilters
from homerack.history.admin.links import form_of, link_entries, link_rows
from homerack.history.admin.rendering import render
from homerack.history.admin.reverting import may_revert, revert_page, revert_row_page
from homerack.history.models import ChangeSet
from homerack.history.related import last_instances, name_of
from homerack.history.timeline import (
    Entry,
    Scope,
    count_rows,
    in_scope,
    read_page,
    rows_between,
)

ENTRIES = 25
"""Of a page of a timeline."""
ROWS = 50
"""Of a page of one change set."""
CURSORS = ("older", "newer")
"""Parameters of an address: the change set that a page begins after."""


@admin.register(ChangeSet)
class ChangeSetAdmin(ModelAdmin[ChangeSet]):
    """No form adds, changes or deletes what is recorded."""

    def get_urls(self) -> list[URLPattern]:
        views: tuple[tuple[str, str, Callable[..., HttpResponse]], ...] = (
            ("", "changelist", require_safe(self.timeline)),
            ("<int:key>/", "change", require_safe(self.change_set)),
            ("<int:key>/revert/", "revert", self.revert),
            ("row/<slug:kind>/<str:row_key>/", "row", require_safe(self.row)),
            ("row/<slug:kind>/<str:row_key>/revert/<int:change>/", "revert_row", self.revert_row),
        )
        return [
            path(address, self.admin_site.admin_view(view), name=f"history_changeset_{name}")
            for address, name, view in views
        ]

    def has_view_permission(self, request: HttpRequest, obj: ChangeSet | None = None) -> bool:  # noqa: ARG002
        """For users who may view rows that have a history."""
        return bool(viewable_models(request))

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    def has_add_permission(self, request: HttpRequest) -> bool:  # noqa: ARG002  # Django's interface
        return False

    def has_change_permission(self, request: HttpRequest, obj: ChangeSet | None = None) -> bool:  # noqa: ARG002
        return False

    def has_delete_permission(self, request: HttpRequest, obj: ChangeSet | None = None) -> bool:  # noqa: ARG002
        return False

    # --- Pages ----------------------------------------------------------------------------------------------------
    def timeline(self, request: HttpRequest) -> HttpResponse:
        """All that has happened, newest first, with filters."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        form = TimelineFilters(request)
        context: dict[str, Any] = {"form": form, "is_filtered": any(request.GET.get(name) for name in form.fields)}
        if form.is_valid():
            scope = form.scope
            context |= entries_context(request, form.change_sets(scope), scope)
        return render(request, "timeline", title="History", **context)

    def change_set(self, request: HttpRequest, key: int) -> HttpResponse:
        """One change set with all its rows, some to a page."""
        change_set = find_change_set(request, key)
        scope = scope_of(request, viewable_models(request))
        counts = count_rows([change_set], scope).get(key, [])
        pages = Paginator(range(sum(count.number for count in counts)), ROWS)
        page = pages.get_page(request.GET.get("page"))
        rows = rows_between(change_set, counts, scope, range(ROWS * (page.number - 1), ROWS * page.number))
        return render(
            request,
            "change_set",
            title=Entry(change_set=change_set, counts=tuple(counts)).heading,
            opts=self.opts,
            change_set=change_set,
            revert_page=address_of_revert(request, change_set),
            reverted_by=change_set.reverted_by.order_by("time", "pk"),
            counts=counts,
            rows=link_rows(request, rows),
            page=page,
            numbers=list(pages.get_elided_page_range(page.number)),
            ellipsis=pages.ELLIPSIS,
        )

    def row(self, request: HttpRequest, kind: str, row_key: str) -> HttpResponse:
        """The history of one row, which may have been deleted."""
        return row_page(request, find_model(request, kind), row_key)

    def revert(self, request: HttpRequest, key: int) -> HttpResponse:
        """Sets back one change set, after a confirmation."""
        return revert_page(request, find_change_set(request, key))

    def revert_row(self, request: HttpRequest, kind: str, row_key: str, change: int) -> HttpResponse:
        """Sets back one change of one row, after a confirmation."""
        return revert_row_page(request, find_model(request, kind), row_key, change)


def address_of_revert(request: HttpRequest, change_set: ChangeSet) -> str:
    """'' for users who may not revert it."""
    return reverse("admin:history_changeset_revert", args=(change_set.pk,)) if may_revert(request, change_set) else ""


def find_change_set(request: HttpRequest, key: int) -> ChangeSet:
    """Raises Http404; PermissionDenied if it has rows and the user may view none of them."""
    change_set = ChangeSet.objects.filter(pk=key).select_related("reverts").first()
    if change_set is None:
        raise Http404(f"The history has no entry {key}.")
    viewable = viewable_models(request)
    if not viewable or not any(history_of(model).filter(change_set=key).exists() for model in viewable):
        raise PermissionDenied
    return change_set


# --- One row --------------------------------------------------------------------------------------------------------
def row_page(request: HttpRequest, model: type[Model], text: str) -> HttpResponse:
    """The history of the row of `model` with the key `text`, and of the rows in the tables of its form.

    Raises Http404 if neither the table nor the history has it.
    """
    names = model._meta
    try:
        key = names.pk.to_python(text)
    except ValidationError as error:
        raise Http404(f"There is no {names.verbose_name} {text}.") from error
    row = model._base_manager.filter(pk=key).first()
    shown = row or next(iter(last_instances(model, {key})), None)
    if shown is None:
        raise Http404(f"There is no {names.verbose_name} {text}.")
    scope = scope_of_row(request, model, key)
    return render(
        request,
        "row",
        title="History" if row else f"History of {name_of(shown)}",
        opts=names,
        object=row,
        name=name_of(shown),
        kind=names.verbose_name,
        is_deleted=row is None,
        form_page=form_of(model, key) if row and admin.site.is_registered(model) else "",
        past_page=past_page_of(model, key),
        **entries_context(request, ChangeSet.objects.filter(in_scope(scope)), scope, shown=(model, key)),
    )


def past_page_of(model: type[Model], key: Any) -> str:
    """The page of the row as of a day; '' for models that have none."""
    try:
        return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_as_of", args=(key,))
    except NoReverseMatch:
        return ""


def scope_of_row(request: HttpRequest, model: type[Model], key: Any) -> Scope:
    """The history of a row, and of the rows that refer to it in its form: those that did before a change, too."""
    rows = {model: history_of(model).filter(**{model._meta.pk.attname: key})}
    for inline in getattr(admin.site._registry.get(model), "inlines", ()):  # noqa: SLF001
        if not may_view(request, inline.model) or not hasattr(inline.model, "history"):
            continue
        field: Any = _get_foreign_key(model, inline.model, fk_name=inline.fk_name)
        those = refers_to(inline.model, field.attname, key)
        rows[inline.model] = rows[inline.model] | those if inline.model in rows else those
    return Scope(rows=rows, fields={each: fields_of(request, each) for each in rows})


def refers_to(model: type[Model], name: str, key: Any) -> QuerySet[Any]:
    """Historical rows whose field `name` is `key`, and those that changed it to another value."""
    history = history_of(model)
    own = model._meta.pk.attname
    ever = history.filter(**{name: key}).values(own)
    earlier = history.filter(**{own: OuterRef(own)}, history_id__lt=OuterRef("history_id")).order_by("-history_id")
    before = Q(Exact(Subquery(earlier.values(name)[:1]), Value(key)))
    return history.filter(Q(**{f"{own}__in": ever}) & (Q(**{name: key}) | before))


# --- What they share ------------------------------------------------------------------------------------------------
def entries_context(
    request: HttpRequest,
    change_sets: QuerySet[ChangeSet],
    scope: Scope,
    *,
    shown: tuple[type[Model], Any] | None = None,
) -> dict[str, Any]:
    page = read_page(change_sets, scope, size=ENTRIES, **cursor_of(request))
    return {
        "entries": link_entries(request, page.entries, shown=shown),
        "newer": address_of(request, newer=page.newer),
        "older": address_of(request, older=page.older),
    }


def cursor_of(request: HttpRequest) -> dict[str, int]:
    """Where the page of a timeline begins. What is no number is no cursor."""
    for name in CURSORS:
        text = request.GET.get(name, "")
        if text.isascii() and text.isdecimal() and len(text) < 19:
            return {name: int(text)}
    return {}


def address_of(request: HttpRequest, **cursor: int | None) -> str:
    """The query of the page at `cursor` with the filters of this one; '' if there is no such page."""
    if None in cursor.values():
        return ""
    kept = {name: str(value) for name, value in request.GET.items() if name not in CURSORS and value}
    return f"?{urlencode(kept | {name: str(key) for name, key in cursor.items()})}"
