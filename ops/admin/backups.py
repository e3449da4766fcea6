"""Backups in the console: the list, and the addresses of all that can be done with them."""

from collections.abc import Callable
from functools import partial
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.http.response import HttpResponseBase
from django.urls import URLPattern, path
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.views.decorators.csrf import csrf_exempt
from unfold.decorators import display

from ops.admin import backup_actions, restore, undo, upload
from ops.admin import migrate as moves
from ops.admin.backup_detail import BackupPresenter
from ops.admin.base import IndexAdmin
from ops.admin.buttons import Button, buttons_for, is_administrator, last_verified, may
from ops.admin.kept import previous_on_page
from ops.admin.starting import workers_are_set_up
from ops.admin.states import State, rows_in, state_of
from ops.models import Backup, Run
from ops.runs.authorization import may_start
from ops.utils.formatting import (
    format_age,
    format_duration,
    format_local,
    format_size,
    strip_kept,
    time_zone_name,
)

POST, BOTH = ("POST",), ("GET", "HEAD", "POST")


class StateFilter(admin.SimpleListFilter):
    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:  # noqa: ARG002
        return [(state.name.lower(), state.words) for state in State]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Backup]) -> QuerySet[Backup]:  # noqa: ARG002
        chosen = (self.value() or "").upper()
        return queryset.filter(rows_in(State[chosen])) if chosen in State.__members__ else queryset


class OriginFilter(admin.SimpleListFilter):
    title = "origin"
    parameter_name = "origin"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:  # noqa: ARG002
        return [(origin, origin) for origin in ("manual", "scheduled", "pre-restore", "upload")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Backup]) -> QuerySet[Backup]:  # noqa: ARG002
        return queryset.filter(origin=self.value()) if self.value() else queryset


@admin.register(Backup)
class BackupAdmin(IndexAdmin[Backup]):
    list_filter = (StateFilter, OriginFilter, "pinned")
    search_fields = ("name", "note", "created_by")
    ordering = ("-taken_at",)
    list_before_template = "ops/console/backups_before.html"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Backup]:
        """A manifest names every table; the list needs none of that."""
        return super().get_queryset(request).defer("manifest")

    # --- Addresses ---------------------------------------------------------------------------------------------
    def get_urls(self) -> list[URLPattern]:
        of_one = {
            "verify": (backup_actions.verify, POST),
            "restore-test": (backup_actions.restore_test, POST),
            "download": (backup_actions.download, POST),
            "pin": (backup_actions.pin, POST),
            "note": (backup_actions.note, BOTH),
            "delete": (backup_actions.delete, BOTH),
            "restore": (restore.restore, BOTH),
        }
        of_all = {
            "make": (backup_actions.back_up, POST),
            "upload": (upload.upload, BOTH),
            "undo": (undo.undo, BOTH),
            "drop-previous": (undo.drop_previous_database, BOTH),
            "to-postgresql": (moves.preflight, BOTH),
        }
        return [
            *(self.address(f"{name}/", name, *view) for name, view in of_all.items()),
            *(self.address(f"<uuid:key>/{name}/", name, *view) for name, view in of_one.items()),
            *super().get_urls(),
        ]

    def address(
        self, route: str, name: str, view: Callable[..., HttpResponseBase], methods: tuple[str, ...]
    ) -> URLPattern:
        def only(request: HttpRequest, **captured: Any) -> HttpResponseBase:
            if request.method not in methods:
                return HttpResponseNotAllowed(methods)
            return view(self, request, **captured)

        # An upload checks the token itself, after it has set a limit to what it reads.
        guarded = csrf_exempt(only) if view is upload.upload else only
        return path(route, self.admin_site.admin_view(guarded), name=f"ops_backup_{name.replace('-', '_')}")

    # --- The list ----------------------------------------------------------------------------------------------
    def get_list_display(self, request: HttpRequest) -> list[Any]:
        """Buttons depend on who asks, and an admin class is shared by all requests."""
        columns: list[Any] = ["backup", "state", "made", "data", "kept"]
        buttons = partial(self.buttons, request, last_verified())
        buttons.short_description = "actions"  # type: ignore[attr-defined]
        buttons.__name__ = "buttons"  # type: ignore[attr-defined]
        has_buttons = any(may(request.user, name) for name in ("pin", "delete"))
        may_run = any(may_start(request.user, kind) for kind in (Run.Kind.VERIFICATION, Run.Kind.RESTORE))
        return [*columns, buttons] if has_buttons or may_run else columns

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        shown = {
            "zone": time_zone_name(),
            "kept": previous_on_page(),
            "may_make": may_start(request.user, Run.Kind.BACKUP),
            "may_restore": may_start(request.user, Run.Kind.UNDO),
            "may_upload": is_administrator(request.user),
            "may_move": moves.is_offered(request),
            "no_worker": not workers_are_set_up(),
        }
        return super().changelist_view(request, {**shown, **(extra_context or {})})

    @admin.display(description="backup", ordering="name")
    def backup(self, backup: Backup) -> SafeString:
        stem, dot, ending = backup.name.partition(".")
        about = f"{backup.origin}: {backup.note}" if backup.note else backup.origin
        name = '<span class="ops-name">{}<wbr>{}</span><span class="ops-quiet ops-remark">{}</span>'
        return format_html(name, stem, dot + ending, about)

    @display(description="state", label={state.words: state.badge for state in State})
    def state(self, backup: Backup) -> str:
        return state_of(backup).words

    @admin.display(description="made", ordering="taken_at")
    def made(self, backup: Backup) -> SafeString:
        return two_lines(format_local(backup.taken_at), format_age(backup.taken_at))

    @admin.display(description="size", ordering="size")
    def data(self, backup: Backup) -> SafeString:
        return two_lines(format_size(backup.size), f"{backup.rows:,} rows, {format_duration(backup.duration)}")

    @admin.display(description="kept", ordering="retained_until")
    def kept(self, backup: Backup) -> SafeString:
        how_long, _, because = kept_in_words(backup).partition(": ")
        kept = '<span class="ops-because">{}<span class="ops-quiet">{}</span></span>'
        return format_html(kept, how_long, because)

    def buttons(self, request: HttpRequest, last: str, backup: Backup) -> SafeString:
        found = ((row_button(button),) for button in buttons_for(request.user, backup, last=last))
        return format_html('<span class="ops-row-buttons">{}</span>', format_html_join("", "{}", found))

    # --- The page ----------------------------------------------------------------------------------------------
    def change_view(self, request: HttpRequest, object_id: str, *_args: Any, **_options: Any) -> HttpResponse:
        """A page to read: there is no form."""
        if request.method not in {"GET", "HEAD"}:
            raise PermissionDenied
        backup = self.shown(request, object_id)
        may_see_runs = request.user.has_perm("ops.view_run")
        return self.page(
            request,
            "ops/console/backup.html",
            title=backup.name,
            backup=backup,
            shown=BackupPresenter(backup, kept=kept_in_words(backup)),
            buttons=list(buttons_for(request.user, backup, last=last_verified())),
            runs=Run.objects.filter(backup=backup.name).defer("log", "arguments")[:50] if may_see_runs else [],
        )


def two_lines(first: str, second: str) -> SafeString:
    return format_html('<span class="ops-nowrap">{}</span><span class="ops-quiet ops-nowrap">{}</span>', first, second)


def kept_in_words(backup: Backup) -> str:
    """Until when, and why; before the retention has judged it, what is known at once."""
    if backup.pinned:
        return "marked to be kept"
    return strip_kept(backup.retention_reason) or "until the next pruning"


def row_button(button: Button) -> SafeString:
    """In the list all buttons share the form of the list, which brings the token along."""
    icon = format_html('<span class="material-symbols-outlined" aria-hidden="true">{}</span>', button.icon)
    if not button.posts:
        link = '<a class="ops-icon-button" href="{}" title="{}" aria-label="{}">{}</a>'
        return format_html(link, button.url, button.label, button.label, icon)
    post = (
        '<button class="ops-icon-button" type="submit" formaction="{}" name="set" value="{}" title="{}"'
        ' aria-label="{}">{}</button>'
    )
    return format_html(post, button.url, button.value, button.label, button.label, icon)
