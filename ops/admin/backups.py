"""Backups in the admin: the list, the page of one backup, and the URLs of everything that can be done with them."""

from collections.abc import Callable, Collection
from functools import partial
from typing import Any

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, QueryDict
from django.http.response import HttpResponseBase
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.views.decorators.csrf import csrf_exempt
from unfold.decorators import display

from ops.admin import (
    backup_actions,
    copies,
    decide,
    migrate,
    migrate_to_sqlite,
    notifications,
    recovery_kits,
    restore,
    settings,
    undo,
    upload,
)
from ops.admin.backup_actions import Button, buttons_for, is_administrator, may
from ops.admin.backup_detail import BackupPresenter
from ops.admin.base import BACKUP_LIST, IndexAdmin, context_of, missing_worker
from ops.admin.kept import describe_kept, stored_sizes
from ops.backups.retention import recommend
from ops.backups.sources import UNKNOWN_ORIGIN
from ops.errors import OpsError
from ops.models import Backup, Run
from ops.runs.authorization import may_start
from ops.utils import clock
from ops.utils.formatting import format_age, format_duration, format_local, format_size, time_zone_name

View = Callable[..., HttpResponseBase]
POST, BOTH = ("POST",), ("GET", "HEAD", "POST")
BADGES = {
    Backup.State.FILE_MISSING: "danger",
    Backup.State.TAMPERED: "danger",
    Backup.State.FAILED: "danger",
    Backup.State.UNTRUSTED: "warning",
    Backup.State.FOREIGN: "warning",
    Backup.State.SUSPICIOUS: "danger",
    Backup.State.WRONG: "warning",
    Backup.State.RESTORE_TESTED: "success",
    Backup.State.VERIFIED: "info",
    Backup.State.UNVERIFIED: "warning",
}
"""Colours, as django-unfold names them."""


class StateFilter(admin.SimpleListFilter):
    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:  # noqa: ARG002
        return Backup.State.choices

    def queryset(self, request: HttpRequest, queryset: QuerySet[Backup]) -> QuerySet[Backup]:  # noqa: ARG002
        return queryset.filter(Q(state=self.value())) if self.value() in Backup.State else queryset


@admin.register(Backup)
class BackupAdmin(IndexAdmin[Backup]):
    list_filter = (StateFilter, copies.CopiesFilter, ("origin", admin.AllValuesFieldListFilter), "pinned")
    search_fields = ("name", "note", "created_by")
    ordering = ("-taken_at",)
    list_before_template = "ops/admin/_backups_header.html"
    change_list_template = "ops/admin/backups.html"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Backup]:
        """With their states, and without manifests, which name every table."""
        rows = Backup.objects.with_state().order_by(*self.get_ordering(request))
        return rows.defer("manifest")

    # --- URLs --------------------------------------------------------------------------------------------------
    def get_urls(self) -> list[URLPattern]:
        one: dict[str, tuple[View, tuple[str, ...]]] = {
            "verify": (backup_actions.verify, POST),
            "restore-test": (partial(backup_actions.verify, kind=Run.Kind.RESTORE_TEST), POST),
            "download": (backup_actions.download, POST),
            "pin": (backup_actions.pin, POST),
            "note": (backup_actions.note, BOTH),
            "decide": (decide.decide, BOTH),
            "delete": (backup_actions.delete, BOTH),
            "restore": (restore.restore, BOTH),
        }
        all_backups = {
            "make": (backup_actions.back_up, POST),
            "copy": (copies.copy_now, POST),
            "upload": (upload.upload, BOTH),
            "recovery-kits": (recovery_kits.overview, BOTH[:2]),
            "create-recovery-kit": (recovery_kits.create, POST),
            "prove-recovery-kit": (recovery_kits.prove, POST),
            "withdraw-recovery-kit": (recovery_kits.withdraw, BOTH),
            "undo": (undo.undo, BOTH),
            "drop-previous-database": (undo.drop_previous_database, BOTH),
            "migrate-to-postgresql": (migrate.preflight, BOTH),
            "migrate-to-sqlite": (migrate_to_sqlite.migrate, BOTH),
            "make-sqlite-file": (migrate_to_sqlite.make, POST),
            "delete-sqlite-file": (migrate_to_sqlite.delete, POST),
        }
        about_all = {"notifications": notifications.page, "settings": settings.page}
        return [
            *(self._url(f"{name}/", name, view, BOTH, kind="ops") for name, view in about_all.items()),
            *(self._url(f"{name}/", name, *view) for name, view in all_backups.items()),
            *(self._url(f"<uuid:key>/{name}/", name, *view) for name, view in one.items()),
            *super().get_urls(),
        ]

    def _url(
        self, route: str, name: str, view: View, methods: tuple[str, ...], *, kind: str = "ops_backup"
    ) -> URLPattern:
        def checked(request: HttpRequest, **captured: Any) -> HttpResponseBase:
            if request.method not in methods:
                return HttpResponseNotAllowed(methods)
            return view(self, request, **captured)

        # An upload checks the token itself, after it has limited what is read.
        guarded = csrf_exempt(checked) if view is upload.upload else checked
        return path(route, self.admin_site.admin_view(guarded), name=f"{kind}_{name.replace('-', '_')}")

    # --- The list ----------------------------------------------------------------------------------------------
    def get_list_display(self, request: HttpRequest) -> list[Any]:
        """Buttons depend on the user, and one instance of the admin class serves all requests."""
        columns = self.get_sortable_by(request)
        buttons = column(partial(self.buttons, request, Backup.objects.undeletable_names()), "actions")
        has_buttons = any(may(request.user, name) for name in ("pin", "delete"))
        may_run = any(may_start(request.user, kind) for kind in (Run.Kind.VERIFICATION, Run.Kind.RESTORE))
        return [*columns, buttons] if has_buttons or may_run else columns

    def get_sortable_by(self, request: HttpRequest) -> list[Any]:  # noqa: ARG002  # Django's interface
        """All columns but the buttons, which Django would make once more."""
        where = [copies.locations] if copies.other_locations() else []
        return ["backup", "state_badge", "taken", "data", *where, "kept"]

    def get_changelist_instance(self, request: HttpRequest) -> ChangeList:
        """Until when the backups of this page are kept is evaluated for all of them at once."""
        changelist = super().get_changelist_instance(request)
        kept = describe_kept((backup.name for backup in changelist.result_list), partial(context_of, request))
        for backup in changelist.result_list:
            backup.kept = kept[backup.name]
        return changelist

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        shown = {
            "zone": time_zone_name(),
            "has_backups": Backup.objects.exists(),
            "previous": undo.find_previous(request),
            "may_make": may_start(request.user, Run.Kind.BACKUP),
            "may_copy": copies.may_copy(request.user),
            "may_restore": may_start(request.user, Run.Kind.UNDO),
            "may_upload": is_administrator(request.user),
            "may_migrate": migrate.is_offered(request),
            "may_migrate_to_sqlite": migrate_to_sqlite.is_offered(request),
            "missing_worker": missing_worker(),
            "suspicion": decide.first_undecided(),
            "may_decide": may(request.user, "pin"),
            "recommendation": recommendation(request) if is_administrator(request.user) else "",
        }
        return super().changelist_view(request, {**shown, **(extra_context or {})})

    @admin.display(description="backup", ordering="name")
    def backup(self, backup: Backup) -> SafeString:
        stem, dot, ending = backup.name.partition(".")
        about = f"{backup.origin}: {backup.note}" if backup.note else backup.origin
        name = '<span class="ops-name">{}<wbr>{}</span><span class="ops-quiet ops-remark">{}</span>'
        return format_html(name, stem, dot + ending, about)

    @display(description="state", ordering="state", label={state.label: badge for state, badge in BADGES.items()})
    def state_badge(self, backup: Backup) -> str:
        return str(Backup.State(backup.state).label)

    @admin.display(description="taken", ordering="taken_at")
    def taken(self, backup: Backup) -> SafeString:
        return two_lines(format_local(backup.taken_at), format_age(backup.taken_at))

    @admin.display(description="size", ordering="size")
    def data(self, backup: Backup) -> SafeString:
        taken = f" in {format_duration(backup.duration)}" if backup.duration else ""  # not for uploads
        return two_lines(format_size(backup.size), f"{backup.rows:,} rows{taken}")

    @admin.display(description="kept")
    def kept(self, backup: Backup) -> SafeString:
        described: str = backup.kept  # type: ignore[attr-defined]  # see `get_changelist_instance`
        # The command after the semicolon has a button of its own on the page of the backup.
        how_long, _, reason = described.partition(";")[0].partition(": ")
        kept = '<span class="ops-reason">{}<span class="ops-quiet">{}</span></span>'
        return format_html(kept, how_long, reason)

    def buttons(self, request: HttpRequest, undeletable: Collection[str], backup: Backup) -> SafeString:
        here = request.get_full_path()
        shown = buttons_for(request.user, backup, undeletable=undeletable, back_to=here, deleted_to=here)
        found = ((row_button(button),) for button in shown)
        return format_html('<span class="ops-row-buttons">{}</span>', format_html_join("", "{}", found))

    def filtered_list(self, request: HttpRequest) -> str:
        """The list from which the page was opened, with its filters; '' for the whole list."""
        filters = QueryDict(self.get_preserved_filters(request)).get("_changelist_filters", "")
        return f"{reverse(BACKUP_LIST)}?{filters}" if filters else ""

    # --- The page ----------------------------------------------------------------------------------------------
    def change_view(self, request: HttpRequest, object_id: str, *_args: Any, **_options: Any) -> HttpResponse:
        """Read-only: Django's form is replaced by a page."""
        if request.method not in {"GET", "HEAD"}:
            raise PermissionDenied
        backup = self.get_row(request, object_id)
        may_see_runs = request.user.has_perm("ops.view_run")
        return self.render(
            request,
            "ops/admin/backup.html",
            title=backup.name,
            backup=backup,
            shown=BackupPresenter(backup, kept=describe_kept([backup.name], partial(context_of, request))[backup.name]),
            badge=BADGES[Backup.State(backup.state)],
            unknown_origin=UNKNOWN_ORIGIN,
            copies=copies.copy_rows(request.user, backup),
            suspicion=decide.SuspicionPresenter.of(backup),
            may_decide=may(request.user, "pin"),
            may_restore=may_start(request.user, Run.Kind.RESTORE),
            buttons=list(
                buttons_for(
                    request.user,
                    backup,
                    undeletable=Backup.objects.undeletable_names(),
                    deleted_to=self.filtered_list(request),
                )
            ),
            runs=Run.objects.filter(backup=backup.name).defer("log", "arguments")[:50] if may_see_runs else [],
        )


def recommendation(request: HttpRequest) -> str:
    """What it would cost to keep weekly and monthly backups, where none are kept."""
    try:
        policy = context_of(request).policy
    except OpsError:
        # The settings of storage locations are not valid, which a system check reports.
        return ""
    used, newest = stored_sizes()
    return recommend(policy, now=clock.now(), used=used, newest=newest)


def two_lines(first: str, second: str) -> SafeString:
    return format_html('<span class="ops-nowrap">{}</span><span class="ops-quiet ops-nowrap">{}</span>', first, second)


def column(show: partial[SafeString], title: str) -> partial[SafeString]:
    """A column of the list that depends on the request."""
    show.short_description = title  # type: ignore[attr-defined]
    show.__name__ = title  # type: ignore[attr-defined]
    return show


def row_button(button: Button) -> SafeString:
    """In the list, buttons submit the list's own form, which carries the CSRF token."""
    icon = format_html('<span class="material-symbols-outlined" aria-hidden="true">{}</span>', button.icon)
    if not button.posts:
        link = '<a class="ops-icon-button" href="{}" title="{}" aria-label="{}">{}</a>'
        return format_html(link, button.url, button.label, button.label, icon)
    post = (
        '<button class="ops-icon-button" type="submit" formaction="{}" name="set" value="{}" title="{}"'
        ' aria-label="{}">{}</button>'
    )
    return format_html(post, button.url, button.value, button.label, button.label, icon)
