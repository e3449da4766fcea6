"""What the admin's pages share: an admin class for rows that no form edits, permissions, and queueing a run."""

import shlex
from typing import Any, TypeVar

from django.contrib import messages
from django.core.exceptions import BadRequest, PermissionDenied
from django.db import connection, models, transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from unfold.admin import ModelAdmin

from ops import tasks
from ops.admin.waiting import describe_running, is_silent
from ops.backups.engines.configured import engine_of
from ops.conf import conf, setting_name
from ops.errors import OpsError, PreconditionFailed
from ops.health.queue_watch import Fault, queue_watch
from ops.models import Run
from ops.runs import authorization, executor
from ops.runs.context import OpsContext, get_context
from ops.utils.formatting import time_zone_name
from ops.utils.shell_commands import show_commands

Row = TypeVar("Row", bound=models.Model)

BACKUP_LIST = "admin:ops_backup_changelist"
NEW_FILE = "new.db"
"""The name of a SQLite file in examples of commands."""
PAGE_LOAD = 1.0
"""Seconds that a browser has to load the run's page before a restore ends its session."""


class IndexAdmin(ModelAdmin[Row]):
    """Rows that are an index of what is in the storage: no form adds, changes or deletes them."""

    actions = None
    list_per_page = 50
    list_filter_sheet = False
    empty_value_display = "–"

    def has_add_permission(self, request: HttpRequest) -> bool:  # noqa: ARG002  # Django's interface
        return False

    def has_change_permission(self, request: HttpRequest, obj: Row | None = None) -> bool:  # noqa: ARG002
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Row | None = None) -> bool:  # noqa: ARG002
        return False

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """400 for a null character, which PostgreSQL refuses in a query: filters pass on what the address says."""
        if any("\0" in value for values in request.GET.lists() for value in (values[0], *values[1])):
            raise BadRequest("A null character in the address.")
        response: HttpResponse = super().changelist_view(request, extra_context)
        return response

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Row | None:
        row: Row | None = None if "\0" in str(object_id) else super().get_object(request, object_id, from_field)
        return row

    def get_row(self, request: HttpRequest, key: str) -> Row:
        """The row of a page. Raises Http404, and PermissionDenied for users who may not view it."""
        row = self.get_object(request, key)
        if row is None:
            raise Http404(f"There is no {self.opts.verbose_name} {key}.")
        if not self.has_view_permission(request, row):
            raise PermissionDenied
        return row

    def render(
        self, request: HttpRequest, template: str, *, title: str, status: int = 200, **context: Any
    ) -> HttpResponse:
        """A page with the admin's navigation and header around it."""
        frame = self.admin_site.each_context(request)
        shared = {
            "opts": self.opts,
            "title": title,
            "zone": time_zone_name(),
            "show_back_button": True,
            "missing_worker": missing_worker(),
        }
        return TemplateResponse(request, template, {**frame, **shared, **context}, status=status)


def context_of(request: HttpRequest) -> OpsContext:
    """The context of the settings as they were when the request asked for it first."""
    context: OpsContext | None = getattr(request, "ops_context", None)
    if context is None:
        context = request.ops_context = get_context()  # type: ignore[attr-defined]
    return context


# --- Permissions --------------------------------------------------------------------------------------------------
def require(request: HttpRequest, permission: str) -> None:
    """Raises PermissionDenied for users without `permission`."""
    if not request.user.has_perm(permission):
        raise PermissionDenied


def require_administrator(request: HttpRequest) -> None:
    """Raises PermissionDenied for all users but superusers."""
    if not request.user.is_superuser:
        raise PermissionDenied


def require_start(request: HttpRequest, kind: Run.Kind, **arguments: Any) -> None:
    """Raises PermissionDenied for users who may not start such a run."""
    if not authorization.may_start(request.user, kind, arguments):
        raise PermissionDenied


# --- From a click to a run in the queue ---------------------------------------------------------------------------
def new_run(request: HttpRequest, kind: Run.Kind, **arguments: Any) -> Run:
    return Run(kind=kind, requested_by=request.user.get_username(), origin=Run.Origin.ADMIN, arguments=arguments)


def enqueue_run(request: HttpRequest, kind: Run.Kind, *, back_to: str, **arguments: Any) -> HttpResponse:
    """Queue a run and redirect to its page, or to the page of the run of its kind that is queued already.

    Without a queue: redirect to `back_to`, with the command to run instead.
    """
    if not has_worker():
        command = equivalent_command(kind, arguments)
        messages.error(request, show_commands(f"{missing_worker()}, or run: {command}"))
        return HttpResponseRedirect(back_to)
    try:
        tasks.require_redis()
        database = engine_of("default").database
    except PreconditionFailed as error:
        show_error(request, error)
        return HttpResponseRedirect(back_to)
    new = new_run(request, kind, **arguments)
    same = executor.find_same(new, database=database)
    if same and is_awaited(same):
        messages.warning(request, f"Already running: {describe_running(same)}. Nothing else was queued.")
        return HttpResponseRedirect(reverse("admin:ops_run_change", args=[same.pk]))
    run, is_new = executor.queue(new)
    if is_new:
        delay = PAGE_LOAD if kind in {Run.Kind.RESTORE, Run.Kind.UNDO} else 0
        transaction.on_commit(lambda: tasks.enqueue(run.pk, delay=delay))
    else:
        # Redis may have lost the message of the first time. A second one does no harm.
        transaction.on_commit(lambda: tasks.resend(run.pk))
        messages.warning(request, queued_already(run))
    return HttpResponseRedirect(reverse("admin:ops_run_change", args=[run.pk]))


def is_awaited(running: Run) -> bool:
    """Whether it makes no sense to queue the same as `running`.

    It does where that one does not report although a worker answers, who will close it if it was killed.
    """
    if not is_silent(running):
        return True
    state = queue_watch.read()
    return state is None or state.fault is not Fault.NONE


def has_worker() -> bool:
    """Whether a queue is configured, from which a worker may take runs."""
    return bool(conf.OPS_CELERY_APP)


def missing_worker() -> str:
    """Why nothing can be queued, and the setting to change; or an empty string. A command may follow as well."""
    return "" if has_worker() else f"The site has no worker. Set {setting_name('OPS_CELERY_APP')}"


def queued_already(run: Run) -> str:
    about = f" of {run.backup}" if run.backup else ""
    return f"Already queued by {run.requested_by}: {run.get_kind_display()}{about}. Nothing else was queued."


def equivalent_command(kind: Run.Kind, arguments: dict[str, Any]) -> str:
    """The management command that does the same. Without a name, a verification is of the newest backup."""
    named = str(arguments.get("name") or next(iter(arguments.get("names", ())), ""))
    name = shlex.quote(named) if named else "--latest"
    location = f" --location {shlex.quote(str(arguments['location']))}" if arguments.get("location") else ""
    return "manage.py " + {
        Run.Kind.BACKUP: "backup_database",
        Run.Kind.COPY: "copy_backups",
        Run.Kind.PRUNE: "prune_backups",
        Run.Kind.VERIFICATION: f"verify_backup {name}{location}",
        Run.Kind.RESTORE_TEST: f"verify_backup {name} --restore{location}",
        Run.Kind.RESTORE: f"restore_database {name}{location}{' --untrusted' if arguments.get('untrusted') else ''}",
        Run.Kind.UNDO: "undo_restore",
        Run.Kind.DROP_PREVIOUS: "drop_previous_database",
        Run.Kind.PREFLIGHT: preflight_command(),
        Run.Kind.MIGRATION_TO_SQLITE: f"migrate_to_sqlite --sqlite-path {NEW_FILE}",
    }.get(kind, "help")


def preflight_command() -> str:
    """The dry run of the migration to the other engine."""
    if connection.vendor == "postgresql":
        return f"migrate_to_sqlite --sqlite-path {NEW_FILE} --dry-run"
    path = shlex.quote(str(connection.settings_dict["NAME"]))
    return f"migrate_to_postgres --sqlite-path {path} --dry-run"


def show_error(request: HttpRequest, error: OpsError) -> None:
    """Show the error and its hint as a message on the next page."""
    messages.error(request, show_commands(error.text))
