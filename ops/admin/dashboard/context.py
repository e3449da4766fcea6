"""The admin's first page: ``UNFOLD["DASHBOARD_CALLBACK"] = "ops.admin.dashboard.context.add_dashboard"``.

A project adds its own cards in OPS_DASHBOARD_CARDS: dotted paths of functions that take the request and return a
`Card`, or None where the user may not see it. It shows the page by a template ``admin/index.html`` of its own that
includes ``ops/admin/dashboard.html``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.contrib import admin
from django.db import connection
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.module_loading import import_string
from django.utils.safestring import SafeString
from django.utils.text import capfirst

from ops.admin.backup_actions import is_administrator, may
from ops.admin.base import BACKUP_LIST
from ops.admin.copies import may_copy
from ops.admin.dashboard import backup_calendar, charts, recovery
from ops.admin.dashboard.locations import location_cards
from ops.admin.dashboard.status import DashboardData, read_dashboard_data
from ops.admin.dashboard.summary import Severity, summarize
from ops.admin.decide import first_undecided
from ops.admin.return_to import with_return
from ops.admin.run_detail import duration_of
from ops.backups.preview import is_content
from ops.conf import conf
from ops.models import Run
from ops.runs.authorization import may_start
from ops.utils.formatting import format_age, format_duration, format_past_day, format_size, pluralize, time_zone_name

ICONS = {Severity.GOOD: "verified_user", Severity.WARNING: "gpp_maybe", Severity.BAD: "gpp_bad"}
MAX_COUNT = 250_000
"""Counting the rows of a model stops here."""
MAX_MODELS = 8


@dataclass(frozen=True, kw_only=True)
class Card:
    """A project's own card: a template and its context. One that `comes_first` is above all others."""

    template: str
    context: Mapping[str, Any]
    comes_first: bool = False


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One number and its title. `notes` are lines below it, `url` is a link, `percent` draws a bar."""

    title: str
    icon: str
    value: str
    notes: tuple[str, ...] = ()
    url: str = ""
    percent: int | None = None
    is_short: bool = False
    """The bar is nearly full."""


@dataclass(frozen=True, kw_only=True)
class ModelCount:
    """The rows of a model. `url` is its list; `percent` is relative to the largest model."""

    label: str
    rows: int
    url: str
    percent: int

    @property
    def text(self) -> str:
        return f"over {MAX_COUNT:,}" if self.rows > MAX_COUNT else f"{self.rows:,}"


def add_dashboard(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """The page's context, each part for users who may see it."""
    cards = (import_string(path)(request) for path in conf.OPS_DASHBOARD_CARDS)
    context["title"] = "Dashboard"
    context["ops_rows"] = count_rows(request)
    context["ops_cards"] = [card for card in cards if card is not None]
    context["ops_zone"] = time_zone_name()
    if request.user.has_perm("ops.view_backup"):
        context |= _backup_context(request, read_dashboard_data())
    return context


def _backup_context(request: HttpRequest, data: DashboardData) -> dict[str, Any]:
    today = timezone.localdate(data.status.now)
    summary = summarize(data.status)
    may_make = may_start(request.user, Run.Kind.BACKUP) and not data.status.is_running
    home = reverse("admin:index")
    # The drawings escape what they are given.
    chart = SafeString(charts.draw_sizes(data.history.sizes)) if data.history.sizes else ""
    return {
        "ops_summary": summary,
        "ops_icon": ICONS[summary.severity],
        "ops_figures": [
            database_figure(data),
            backup_figure(data),
            storage_figure(data),
            restore_figure(data),
        ],
        "ops_locations": location_cards(data, with_commands=is_administrator(request.user)),
        "ops_location_commands": is_administrator(request.user),
        "ops_copy_url": with_return(reverse("admin:ops_backup_copy"), home) if may_copy(request.user) else "",
        "ops_calendar": SafeString(backup_calendar.draw(data.history.days, today=today)),
        "ops_legend": legend(),
        "ops_sizes": chart,
        "ops_trends": recovery.trends(recovery.read_measured()),
        "ops_make_url": with_return(reverse("admin:ops_backup_make"), home) if may_make else "",
        "ops_backups_url": reverse(BACKUP_LIST),
        "ops_suspicion": first_undecided() if data.status.suspicious else None,
        "ops_may_decide": may(request.user, "pin"),
        "ops_may_restore": may_start(request.user, Run.Kind.RESTORE),
        "ops_runs_url": reverse("admin:ops_run_changelist") if request.user.has_perm("ops.view_run") else "",
    }


def legend() -> list[tuple[SafeString, str]]:
    """A square of the calendar and its meaning."""
    states = (
        backup_calendar.State.RESTORE_TESTED,
        backup_calendar.State.MADE,
        backup_calendar.State.FAILED,
        backup_calendar.State.MISSED,
    )
    return [(SafeString(backup_calendar.draw_key(state)), str(state)) for state in states]


# --- Figures ------------------------------------------------------------------------------------------------------
def database_figure(data: DashboardData) -> Figure:
    database = data.database
    pool = "No connection pool"
    if database.pool:
        used, size = database.pool["checked_out"], database.pool["pool_size"]
        pool = f"{used} of {pluralize(size, 'pooled connection')} of this process in use"
    return Figure(
        title="Database",
        icon="database",
        value=format_size(database.size),
        notes=(f"{database.kind} {database.version}, {database.name}", pool),
    )


def backup_figure(data: DashboardData) -> Figure:
    title, icon, backup = "Last verified backup", "inventory_2", data.last_verified
    if backup is None:
        return Figure(title=title, icon=icon, value="None", notes=("There is no verified backup",))
    verified = "restore tested" if backup.verified_level == "restored" else "read back in full"
    if backup.suspicion == "undecided":
        verified += ", suspicious"
    return Figure(
        title=title,
        icon=icon,
        value=format_age(backup.taken_at, data.status.now),
        notes=(f"{format_size(backup.size)}, {pluralize(backup.rows, 'row')}, {verified}", backup.name),
        url=reverse("admin:ops_backup_change", args=[backup.pk]),
    )


def storage_figure(data: DashboardData) -> Figure:
    used = data.local.size
    notes = [pluralize(data.local.number, "backup")]
    if not data.storage_answers:
        notes.append("The storage does not answer")
    elif data.free is not None:
        notes.append(f"{format_size(data.free)} free")
    capacity = used + data.free if data.free is not None else 0
    percent = round(100 * used / capacity) if capacity else None
    return Figure(
        title="Backup storage",
        icon="hard_drive",
        value=f"{format_size(used)} used",
        notes=tuple(notes),
        percent=percent,
        is_short=percent is not None and percent > 90,
    )


def restore_figure(data: DashboardData) -> Figure:
    title, icon, run = "Restore time", "timer", data.restored
    if run is None:
        return Figure(title=title, icon=icon, value="Not measured", notes=("Known after the first restore test",))
    when = format_past_day(run.finished_at or data.status.now, data.status.now)
    notes = (f"Measured {when} in a {run.get_kind_display()}", run.backup)
    measured: float | None = getattr(run, "recovery_time", None)
    seconds = duration_of(run) if measured is None else measured
    return Figure(title=title, icon=icon, value=format_duration(seconds), notes=notes)


# --- Rows of each model -------------------------------------------------------------------------------------------
def count_rows(request: HttpRequest) -> list[ModelCount]:
    """The content models that have rows and that the user may view, the largest first. One query for all."""
    listed = [
        entry
        for app in admin.site.get_app_list(request)
        for entry in app["models"]
        if entry["perms"]["view"] and is_content(entry["model"]) and entry["model"]._meta.managed
    ]
    counts = _count([entry["model"]._meta.db_table for entry in listed])
    largest = max(counts, default=0)
    models = [
        ModelCount(
            label=str(capfirst(entry["name"])),
            rows=rows,
            url=entry.get("admin_url") or "",
            percent=round(100 * rows / largest),
        )
        for entry, rows in zip(listed, counts, strict=True)
        if rows
    ]
    return sorted(models, key=lambda model: (-model.rows, model.label))[:MAX_MODELS]


def _count(tables: list[str]) -> list[int]:
    if not tables:
        return []
    quote = connection.ops.quote_name
    counts = (
        f"(SELECT count(*) FROM (SELECT 1 FROM {quote(table)} LIMIT {MAX_COUNT + 1}) AS counted)"  # noqa: S608
        for table in tables
    )
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {', '.join(counts)}")
        return list(cursor.fetchone())
