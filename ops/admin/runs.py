"""Runs in the admin: a read-only list, and a page that shows the status and can cancel the run."""

from collections.abc import Callable
from functools import partial
from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Case, F, JSONField, QuerySet, When
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.text import capfirst
from django.views.decorators.http import require_http_methods
from unfold.decorators import display

from ops.admin import schedules
from ops.admin.base import IndexAdmin
from ops.admin.migrate_to_sqlite import context_of_run, download
from ops.admin.restore_report import show_reports
from ops.admin.run_detail import BADGES, RunPresenter, duration_of
from ops.admin.run_outcome import outcome_context
from ops.admin.run_status import status_link
from ops.admin.waiting import describe_silence
from ops.maintenance import maintenance_exempt
from ops.models import Run
from ops.runs import executor
from ops.runs.authorization import may_start
from ops.runs.results import SettingsResult, read_result
from ops.runs.setting_words import describe_change
from ops.utils.formatting import format_duration, format_local, time_zone_name


@admin.register(Run)
class RunAdmin(IndexAdmin[Run]):
    list_before_template = "ops/admin/_runs_header.html"
    list_display = ("operation", "outcome", "requested_by", "requested", "duration", "backup_name")
    list_filter = ("kind", "status", "origin")
    search_fields = ("requested_by", "backup", "error")
    ordering = ("-requested_at",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Run]:
        """Without logs and results, which may be long; `changed` is the result of a change of settings."""
        rows = super().get_queryset(request)
        result = When(kind=Run.Kind.SETTINGS, then=F("result"))
        changed = Case(result, default=None, output_field=JSONField())
        return rows.defer("log", "result", "arguments", "stages").annotate(changed=changed)

    def get_urls(self) -> list[URLPattern]:
        cancel = maintenance_exempt(self.admin_site.admin_view(self.cancel_view))
        return [
            path("<uuid:key>/cancel/", cancel, name="ops_run_cancel"),
            path("<uuid:key>/report/", self.admin_site.admin_view(self.report_view), name="ops_run_report"),
            path(
                "<uuid:key>/sqlite-file/",
                self.admin_site.admin_view(self.download_view),
                name="ops_run_download_sqlite_file",
            ),
            path("schedules/", self._page(schedules.overview, "GET", "HEAD", "POST"), name="ops_schedules"),
            path("schedules/run-now/", self._page(schedules.run_now, "POST"), name="ops_schedules_run_now"),
            *super().get_urls(),
        ]

    def _page(self, view: Callable[..., HttpResponse], *methods: str) -> Callable[..., Any]:
        """A page that shows no single run."""
        return self.admin_site.admin_view(require_http_methods(methods)(partial(view, self)))

    # --- The list ----------------------------------------------------------------------------------------------
    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        return super().changelist_view(request, {"zone": time_zone_name(), **(extra_context or {})})

    @admin.display(description="operation", ordering="kind")
    def operation(self, run: Run) -> SafeString | str:
        name = str(capfirst(run.get_kind_display()))
        if not (silence := describe_silence(run)):
            return name
        return format_html('{}<span class="ops-quiet">{}</span>', name, silence)

    @display(description="result", ordering="status", label={status.label: badge for status, badge in BADGES.items()})
    def outcome(self, run: Run) -> str:
        return str(run.get_status_display())

    @admin.display(description="requested", ordering="requested_at")
    def requested(self, run: Run) -> SafeString:
        return format_html('<span class="ops-nowrap">{}</span>', format_local(run.requested_at))

    @admin.display(description="duration")
    def duration(self, run: Run) -> SafeString | str:
        if not run.started_at:
            return "–"
        return format_html('<span class="ops-nowrap">{}</span>', format_duration(duration_of(run)))

    @admin.display(description="backup", ordering="backup")
    def backup_name(self, run: Run) -> SafeString | str:
        if not run.backup:
            change = first_change(run)
            return format_html('<span class="ops-quiet ops-remark">{}</span>', change) if change else "–"
        # A narrow screen may break the name after its parts.
        parts = format_html_join(SafeString("_<wbr>"), "{}", ((part,) for part in run.backup.split("_")))
        return format_html('<span class="ops-name">{}</span>', parts)

    # --- The page ----------------------------------------------------------------------------------------------
    def change_view(self, request: HttpRequest, object_id: str, *_args: Any, **_options: Any) -> HttpResponse:
        """Read-only: Django's form is replaced by a page."""
        if request.method not in {"GET", "HEAD"}:
            raise PermissionDenied
        run = self.get_row(request, object_id)
        shown = RunPresenter(run)
        may_undo = may_start(request.user, Run.Kind.UNDO)
        return self.render(
            request,
            "ops/admin/run.html",
            title=capfirst(run.get_kind_display()),
            run=shown,
            token=(token := status_link(run, may_undo=may_undo)),
            may_cancel=may_cancel(request, run) and shown.may_be_cancelled,
            public_url=reverse("ops-run-status", args=[token]),
            **outcome_context(shown, may_undo=may_undo),
            **context_of_run(request, shown),
        )

    def report_view(self, request: HttpRequest, key: UUID) -> HttpResponse:
        return show_reports(self, request, key)

    def download_view(self, request: HttpRequest, key: UUID) -> HttpResponseBase:
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        return download(self, request, key)

    def cancel_view(self, request: HttpRequest, key: str) -> HttpResponse:
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        run = self.get_row(request, key)
        if not may_cancel(request, run):
            raise PermissionDenied
        if not RunPresenter(run).may_be_cancelled or not executor.cancel(run, by=request.user.get_username()):
            messages.warning(request, "This run can no longer be cancelled.")
        return HttpResponseRedirect(reverse("admin:ops_run_change", args=[run.pk]))


def first_change(run: Run) -> str:
    """The first setting that `run`, a row of the list, has changed, and how many others; '' for other runs."""
    result = read_result(run.kind, getattr(run, "changed", None) or {})
    if not isinstance(result, SettingsResult) or not result.changes:
        return ""
    first, *others = result.changes
    return f"{describe_change(first)}{f', and {len(others)} more' if others else ''}"


def may_cancel(request: HttpRequest, run: Run) -> bool:
    """Users may cancel the runs that they may start."""
    return may_start(request.user, run.kind, run.arguments)
