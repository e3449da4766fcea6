"""The database that a restore replaced: put it back, or let it go."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse

from ops import operations
from ops.admin.base import IndexAdmin, require_start
from ops.admin.forms import Confirmation
from ops.admin.kept import previous_on_page
from ops.admin.rights import require_confirmable, rights_on_page
from ops.admin.starting import command, enqueue_run, workers_are_set_up
from ops.models import Backup, Run
from ops.runs.context import get_context

LIST = "admin:ops_backup_changelist"


def undo(admin: IndexAdmin[Backup], request: HttpRequest) -> HttpResponse:
    return confirmed(admin, request, Run.Kind.UNDO, "Undo the restore")


def drop_previous_database(admin: IndexAdmin[Backup], request: HttpRequest) -> HttpResponse:
    return confirmed(admin, request, Run.Kind.DROP_PREVIOUS, "Drop the previous database")


def confirmed(admin: IndexAdmin[Backup], request: HttpRequest, kind: Run.Kind, title: str) -> HttpResponse:
    require_start(request, kind)
    kept = previous_on_page()
    if kept is None:
        messages.warning(request, "No previous database is kept.")
        return HttpResponseRedirect(reverse(LIST))
    context = get_context()
    rights = operations.rights_of_undo(context.engine) if kind == Run.Kind.UNDO else None
    require_confirmable(request, rights)
    form = Confirmation(request, context.engine.database)
    if request.method == "POST" and form.is_valid():
        return enqueue_run(request, kind, back_to=reverse(LIST))
    return admin.page(
        request,
        "ops/console/undo.html",
        title=title,
        brings_back=kind == Run.Kind.UNDO,
        kept=kept,
        site=context,
        form=form,
        command="" if workers_are_set_up() else command(kind, {}),
        **rights_on_page(request, rights),
    )
