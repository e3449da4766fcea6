"""Runs in the console: what was done, by whom and how it ended; nothing here can be changed, but a run be cancelled."""

from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import capfirst
from unfold.decorators import display

from ops.admin.base import IndexAdmin
from ops.admin.run_detail import RunPresenter, seconds_of
from ops.admin.run_status import status_link
from ops.maintenance import maintenance_exempt
from ops.models import Backup, Run
from ops.runs import executor
from ops.runs.authorization import may_start
from ops.utils.formatting import format_duration, format_local, time_zone_name

BADGES = {"succeeded": "success", "failed": "danger", "interrupted": "warning", "queued": "info", "running": "primary"}


@admin.register(Run)
class RunAdmin(IndexAdmin[Run]):
    list_before_template = "ops/console/runs_before.html"
    list_display = ("what", "outcome", "requested_by", "moment_requested", "took", "about")
    list_filter = ("kind", "status", "origin")
    search_fields = ("requested_by", "backup", "error")
    ordering = ("-requested_at",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Run]:
        """Lists need neither logs nor results, which may be long."""
        rows = super().get_queryset(request)
        return rows.defer("log", "result", "arguments", "stages")

    def get_urls(self) -> list[URLPattern]:
        cancel = maintenance_exempt(self.admin_site.admin_view(self.cancel_view))
        return [path("<uuid:key>/cancel/", cancel, name="ops_run_cancel"), *super().get_urls()]

    # --- The list ----------------------------------------------------------------------------------------------
    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        return super().changelist_view(request, {"zone": time_zone_name(), **(extra_context or {})})

    @admin.display(description="what", ordering="kind")
    def what(self, run: Run) -> str:
        return str(capfirst(run.get_kind_display()))

    @display(description="result", ordering="status", label=BADGES)
    def outcome(self, run: Run) -> str:
        return str(run.get_status_display())

    @admin.display(description="requested", ordering="requested_at")
    def moment_requested(self, run: Run) -> SafeString:
        return format_html('<span class="ops-nowrap">{}</span>', format_local(run.requested_at))

    @admin.display(description="duration")
    def took(self, run: Run) -> str:
        return format_duration(seconds_of(run)) if run.started_at else "–"

    @admin.display(description="backup", ordering="backup")
    def about(self, run: Run) -> SafeString | str:
        return format_html('<span class="ops-name">{}</span>', run.backup) if run.backup else "–"

    # --- The page ----------------------------------------------------------------------------------------------
    def change_view(self, request: HttpRequest, object_id: str, *_args: Any, **_options: Any) -> HttpResponse:
        """A page to read: there is no form."""
        if request.method not in {"GET", "HEAD"}:
            raise PermissionDenied
        run = self.shown(request, object_id)
        shown = RunPresenter(run)
        may_undo = may_start(request.user, Run.Kind.UNDO)
        return self.page(
            request,
            "ops/console/run.html",
            title=capfirst(run.get_kind_display()),
            run=shown,
            token=(token := status_link(run, may_undo=may_undo)),
            undo_url=reverse("admin:ops_backup_undo") if may_undo and shown.may_be_undone else "",
            may_cancel=may_cancel(request, run) and shown.may_be_cancelled,
            watch_url=reverse("ops-watch", args=[token]),
            backup=Backup.objects.filter(name=run.backup).first() if run.backup else None,
        )

    def cancel_view(self, request: HttpRequest, key: str) -> HttpResponse:
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        run = self.shown(request, key)
        if not may_cancel(request, run):
            raise PermissionDenied
        if not RunPresenter(run).may_be_cancelled or not executor.cancel(run):
            messages.warning(request, "It cannot be cancelled any more.")
        return HttpResponseRedirect(reverse("admin:ops_run_change", args=[run.pk]))


def may_cancel(request: HttpRequest, run: Run) -> bool:
    """Who may start a run may end it."""
    return may_start(request.user, run.kind, run.arguments)
