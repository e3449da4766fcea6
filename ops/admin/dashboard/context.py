"""The console's first page: ``UNFOLD["DASHBOARD_CALLBACK"] = "ops.admin.dashboard.context.add_dashboard"``.

A project gives its own cards in OPS_DASHBOARD_CARDS: dotted paths of functions that take the request and return a
`Card`, or None where the person may not see it. It shows the page by a template ``admin/index.html`` of its own that
includes ``ops/console/dashboard.html``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse
from django.utils import timezone
from django.utils.module_loading import import_string
from django.utils.safestring import SafeString

from ops.admin.dashboard import backup_calendar, charts
from ops.admin.dashboard.model_counts import count_rows
from ops.admin.dashboard.relative_dates import ago, past_day
from ops.admin.dashboard.status import DashboardData, read_state
from ops.admin.dashboard.summary import Severity, summarize
from ops.conf import conf
from ops.models import Run
from ops.runs.authorization import may_start
from ops.utils.formatting import format_duration, format_size, pluralize, time_zone_name

ICONS = {Severity.GOOD: "verified_user", Severity.WARNING: "gpp_maybe", Severity.BAD: "gpp_bad"}


@dataclass(frozen=True, kw_only=True)
class Card:
    """A project's own card: a template and its context."""

    template: str
    context: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One number with what it is about; `notes` are lines beneath it; `url` leads to more; `percent` draws a bar."""

    title: str
    icon: str
    value: str
    notes: tuple[str, ...] = ()
    url: str = ""
    percent: int | None = None
    is_short: bool = False
    """The bar is nearly full."""


def add_dashboard(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """The page's context, each part for those who may see it."""
    cards = (import_string(path)(request) for path in conf.OPS_DASHBOARD_CARDS)
    context["title"] = "Dashboard"
    context["ops_rows"] = count_rows(admin.site, request)
    context["ops_cards"] = [card for card in cards if card is not None]
    context["ops_zone"] = time_zone_name()
    if request.user.has_perm("ops.view_backup"):
        context |= _of_backups(request, read_state())
    return context


def _of_backups(request: HttpRequest, state: DashboardData) -> dict[str, Any]:
    today = timezone.localdate(state.facts.now)
    sentence = summarize(state.facts)
    makes = may_start(request.user, Run.Kind.BACKUP) and not state.facts.is_running
    # The drawings escape what they are given.
    line = SafeString(charts.draw_sizes(state.history.sizes)) if state.history.sizes else ""
    return {
        "ops_sentence": sentence,
        "ops_icon": ICONS[sentence.severity],
        "ops_figures": figures(state, backups_url=page("ops_backup_changelist")),
        "ops_calendar": SafeString(backup_calendar.draw(state.history.days, today=today)),
        "ops_legend": legend(),
        "ops_sizes": line,
        "ops_make_url": page("ops_backup_make") if makes else "",
        "ops_backups_url": page("ops_backup_changelist"),
        "ops_runs_url": page("ops_run_changelist") if request.user.has_perm("ops.view_run") else "",
    }


def page(name: str) -> str:
    """The address of a page of the console; nothing where this project has no such page."""
    try:
        return reverse(f"admin:{name}")
    except NoReverseMatch:
        return ""


def legend() -> list[tuple[SafeString, str]]:
    """A square and the words for it."""
    states = (
        backup_calendar.State.VERIFIED,
        backup_calendar.State.MADE,
        backup_calendar.State.FAILED,
        backup_calendar.State.MISSED,
    )
    return [(SafeString(backup_calendar.draw_key(state)), str(state)) for state in states]


def figures(state: DashboardData, *, backups_url: str) -> list[Figure]:
    return [
        database_figure(state),
        backup_figure(state, backups_url),
        storage_figure(state),
        restoring_figure(state),
    ]


def database_figure(state: DashboardData) -> Figure:
    database = state.database
    pool = (
        f"{database.in_use} of {pluralize(database.places, 'pooled connection')} of this process in use"
        if database.places is not None
        else "No pool of connections"
    )
    return Figure(
        title="Database",
        icon="database",
        value=format_size(database.size),
        notes=(f"{database.kind} {database.version}, {database.name}", pool),
    )


def backup_figure(state: DashboardData, url: str) -> Figure:
    last, now = state.last, state.facts.now
    if last is None:
        return Figure(title="Last verified backup", icon="inventory_2", value="None", notes=("Nothing to go back to",))
    proof = "restore tested" if last.verified_level == "restored" else "read back in full"
    return Figure(
        title="Last verified backup",
        icon="inventory_2",
        value=ago(last.taken_at, now),
        notes=(f"{format_size(last.size)}, {pluralize(last.rows, 'row')}, {proof}", last.name),
        url=url and f"{url}{last.pk}/change/",
    )


def storage_figure(state: DashboardData) -> Figure:
    used, number = state.backups.size, state.backups.number
    notes = [f"{pluralize(number, 'backup')}"]
    if not state.storage_answers:
        notes.append("The storage does not answer")
    elif state.free is not None:
        notes.append(f"{format_size(state.free)} free")
    whole = used + state.free if state.free is not None else 0
    percent = round(100 * used / whole) if whole else None
    return Figure(
        title="Storage of backups",
        icon="hard_drive",
        value=f"{format_size(used)} used",
        notes=tuple(notes),
        percent=percent,
        is_short=percent is not None and percent > 90,
    )


def restoring_figure(state: DashboardData) -> Figure:
    restoring = state.restoring
    if restoring is None:
        return Figure(
            title="Restore time", icon="timer", value="Not measured", notes=("The first restore test measures it",)
        )
    what = "restore test" if restoring.is_drill else "restore"
    return Figure(
        title="Restore time",
        icon="timer",
        value=format_duration(restoring.seconds),
        notes=(f"Measured by a {what} {past_day(restoring.when, state.facts.now)}", restoring.backup),
    )
