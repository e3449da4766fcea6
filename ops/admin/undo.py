"""The previous database, which the last restore replaced: undo the restore, or drop that database."""

import datetime as dt
from dataclasses import dataclass
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse

from ops import operations
from ops.admin.base import BACKUP_LIST, IndexAdmin, enqueue_run, equivalent_command, has_worker, require_start
from ops.admin.forms import Confirmation, require_confirmable, rights_context
from ops.backups.engines.base import PreviousDatabase
from ops.errors import OpsError
from ops.models import Backup, Run
from ops.runs.context import get_context
from ops.runs.results import UNDO
from ops.utils.formatting import format_size


@dataclass(frozen=True, kw_only=True)
class PreviousPresenter:
    """What templates show of it. `run` is the restore or undo that replaced it; None if its row is missing."""

    database: PreviousDatabase
    run: Run | None
    until: dt.datetime
    """When it is dropped automatically."""

    @property
    def size(self) -> str:
        return format_size(self.database.size)

    @property
    def undone(self) -> str:
        """What an undo undoes."""
        return "the last undo" if self.database.backup == UNDO else "the restore"

    @property
    def cause(self) -> str:
        """``ada@example.com restored …``: a clause that follows the time."""
        name = "a restore" if self.database.backup == UNDO else self.database.backup
        done = "undid" if self.database.backup == UNDO else "restored"
        if self.run:
            return f"{self.run.requested_by} {done} {name}"
        return f"{name} was {'undone' if done == 'undid' else done}"


def find_previous() -> PreviousPresenter | None:
    """None if no previous database is kept, and if the server does not answer."""
    try:
        context = get_context()
        previous = context.engine.swap_strategy().previous_database()
    except OpsError:
        return None
    if previous is None:
        return None
    until = previous.replaced_at + dt.timedelta(days=context.previous_days)
    return PreviousPresenter(database=previous, run=_find_run(previous), until=until)


def _find_run(previous: PreviousDatabase) -> Run | None:
    try:
        key = UUID(previous.run)
    except ValueError:
        return None
    return Run.objects.filter(pk=key).only("requested_by").first()


def undo(admin: IndexAdmin[Backup], request: HttpRequest) -> HttpResponse:
    return _confirm_and_enqueue(admin, request, Run.Kind.UNDO)


def drop_previous_database(admin: IndexAdmin[Backup], request: HttpRequest) -> HttpResponse:
    return _confirm_and_enqueue(admin, request, Run.Kind.DROP_PREVIOUS)


def _confirm_and_enqueue(admin: IndexAdmin[Backup], request: HttpRequest, kind: Run.Kind) -> HttpResponse:
    require_start(request, kind)
    previous = find_previous()
    if previous is None:
        messages.warning(request, "No previous database is kept.")
        return HttpResponseRedirect(reverse(BACKUP_LIST))
    context = get_context()
    rights = operations.rights_of_undo(context.engine) if kind == Run.Kind.UNDO else None
    require_confirmable(request, rights)
    form = Confirmation(request, context.engine.database)
    if request.method == "POST" and form.is_valid():
        return enqueue_run(request, kind, back_to=reverse(BACKUP_LIST))
    return admin.render(
        request,
        "ops/admin/undo.html",
        title=f"Undo {previous.undone}" if kind == Run.Kind.UNDO else "Drop the previous database",
        is_undo=kind == Run.Kind.UNDO,
        previous=previous,
        live=context.engine.where,
        form=form,
        command="" if has_worker() else equivalent_command(kind, {}),
        **rights_context(request, rights),
    )
