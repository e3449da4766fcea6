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
from ops.operations.restore import UNDO
from ops.runs.context import get_context
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
    def replaced_by(self) -> str:
        """``the restore of … by ada@example.com``."""
        cause = "an undo" if self.database.backup == UNDO else f"the restore of {self.database.backup}"
        return f"{cause} by {self.run.requested_by}" if self.run else cause


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
    return _confirm_and_enqueue(admin, request, Run.Kind.UNDO, "Undo the restore")


def drop_previous_database(admin: IndexAdmin[Backup], request: HttpRequest) -> HttpResponse:
    return _confirm_and_enqueue(admin, request, Run.Kind.DROP_PREVIOUS, "Drop the previous database")


def _confirm_and_enqueue(admin: IndexAdmin[Backup], request: HttpRequest, kind: Run.Kind, title: str) -> HttpResponse:
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
        title=title,
        is_undo=kind == Run.Kind.UNDO,
        previous=previous,
        live=context.engine.where,
        form=form,
        command="" if has_worker() else equivalent_command(kind, {}),
        **rights_context(request, rights),
    )
