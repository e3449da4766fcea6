"""The pages that revert one change or one change set: what will be set back, then the revert.

What will be set back is found by doing it, in a transaction that is rolled back.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from django.contrib import admin, messages
from django.contrib.auth import get_user_model
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Model
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.html import format_html

from homerack.history.admin.access import history_of, may, may_revert_all, models_in_order, scope_of, viewable_models
from homerack.history.admin.links import LinkedRow, history_page_of, page_of
from homerack.history.admin.rendering import render
from homerack.history.models import ChangeSet
from homerack.history.revert import RevertRefused, revert, revert_change
from homerack.history.timeline import (
    STATES,
    ChangedRow,
    Counted,
    count_rows,
    describe_rows,
    entries_of,
    previous_rows,
    rows_between,
)

SHOWN = 200
"""Rows that a preview shows."""
PREVIEWED = 2000
"""Rows up to which a revert is previewed: a request has to end within seconds."""
CONFLICT = 409


@dataclass(frozen=True, kw_only=True)
class Preview:
    """What would change: its first rows, and how many there are. `conflicts` say why it cannot be done."""

    rows: Sequence[ChangedRow] = ()
    counts: Sequence[Counted] = ()
    conflicts: Sequence[str] = ()
    is_too_large: bool = False

    @property
    def further(self) -> int:
        return sum(count.number for count in self.counts) - len(self.rows)


# --- Who may ---------------------------------------------------------------------------------------------------------
def may_revert(request: HttpRequest, change_set: ChangeSet) -> bool:
    """Whether the user may set back all its rows, also those that the user may not view."""
    counts = count_rows([change_set], scope_of(request, models_in_order())).get(change_set.pk, [])
    states = {(count.model, count.state) for count in counts}
    users = history_of(get_user_model()).filter(change_set=change_set)
    return bool(states) and may_revert_all(request, states) and all(may_revert_user(request, row) for row in users)


def may_revert_change(request: HttpRequest, model: type[Model], row: Any) -> bool:
    """Whether the user may set back what the historical `row` says."""
    if not may_revert_all(request, {(model, STATES[row.history_type])}):
        return False
    return model is not get_user_model() or may_revert_user(request, row)


def may_revert_user(request: HttpRequest, row: Any) -> bool:
    """Whether the form of the user could set back this change: it gives nobody more permissions than they have.

    Groups, added users and deleted users are for administrators.
    """
    users: Any = get_user_model()
    if request.user.is_superuser:
        return True
    before = previous_rows(users, [row]).get(row.pk)
    current = users._base_manager.filter(pk=row.id).first()
    if before is None or current is None or not may(request, "change", users, current):
        return False
    own = admin.site._registry[users]  # noqa: SLF001  # Django's own pages of it have no other name either
    protected = {*own.get_readonly_fields(request, current), *users.extra_history_fields}
    return all(getattr(before, name) == getattr(row, name) for name in protected if hasattr(row, name))


# --- Pages ----------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A revert: `make` makes it, and raises RevertRefused. `number` rows of `change_set` are set back."""

    change_set: ChangeSet
    number: int
    make: Callable[[], None]
    back: str


def revert_page(request: HttpRequest, change_set: ChangeSet) -> HttpResponse:
    if not may_revert(request, change_set):
        raise PermissionDenied
    (entry,) = entries_of([change_set], scope_of(request, models_in_order()))
    description = f"Revert of: {entry.heading}"
    wanted = Wanted(
        change_set=change_set,
        number=entry.total,
        make=lambda: revert(change_set, user=request.user, description=description),
        back=page_of(change_set),
    )
    return respond(request, wanted)


def revert_row_page(request: HttpRequest, model: type[Model], key: str, number: int) -> HttpResponse:
    """Raises Http404 unless the row with this key has this change."""
    row = history_of(model).filter(pk=number, change_set__isnull=False).select_related("change_set").first()
    if row is None or str(getattr(row, model._meta.pk.attname)) != key:
        raise Http404(f"The history of the {model._meta.verbose_name} {key} has no change {number}.")
    if not may_revert_change(request, model, row):
        raise PermissionDenied
    changed = describe_rows([(model, row)], scope_of(request, [model]))[model, row.pk]
    description = f"Revert of: {changed.kind} {changed.name} {changed.state}"
    wanted = Wanted(
        change_set=row.change_set,
        number=1,
        make=lambda: revert_change(row, user=request.user, description=description),
        back=history_page_of(model, key),
    )
    return respond(request, wanted)


def respond(request: HttpRequest, wanted: Wanted) -> HttpResponse:
    """The preview; after a POST the revert, and its entry. What was changed since the preview refuses it."""
    if request.method != "POST":
        return show(request, wanted, preview_of(request, wanted))
    try:
        made = carry_out(wanted)
    except RevertRefused as error:
        return show(request, wanted, Preview(conflicts=error.reasons), status=CONFLICT)
    if made is None:
        messages.info(request, "Nothing was changed: the rows have the earlier values already.")
        return HttpResponseRedirect(wanted.back)
    link = '<a class="underlined" href="{}">See the entry of the history</a>.'
    messages.success(request, format_html("Reverted. " + link, page_of(made)))
    return HttpResponseRedirect(wanted.back)


def show(request: HttpRequest, wanted: Wanted, preview: Preview, *, status: int = 200) -> HttpResponse:
    rows = [LinkedRow(row=row, page="", history="", revert="") for row in preview.rows]
    return render(
        request,
        "revert",
        title="Revert",
        opts=ChangeSet._meta,
        status=status,
        wanted=wanted,
        preview=preview,
        rows=rows,
        most=PREVIEWED,
    )


def preview_of(request: HttpRequest, wanted: Wanted) -> Preview:
    """Makes the revert, reads what it has recorded, and rolls it back; not for more than `PREVIEWED` rows."""
    if wanted.number > PREVIEWED:
        return Preview(is_too_large=True)
    scope = scope_of(request, viewable_models(request))
    with transaction.atomic():
        try:
            made = carry_out(wanted)
            counts = count_rows([made], scope).get(made.pk, []) if made else []
            rows = rows_between(made, counts, scope, range(SHOWN)) if made else []
        except RevertRefused as error:
            return Preview(conflicts=error.reasons)
        finally:
            transaction.set_rollback(True)
    return Preview(counts=counts, rows=rows)


def carry_out(wanted: Wanted) -> ChangeSet | None:
    """The change set of the revert; None if nothing had to change."""
    reverts = wanted.change_set.reverted_by.order_by("-pk")
    last = reverts.first()
    wanted.make()
    made = reverts.all().first()
    return None if made == last else made
