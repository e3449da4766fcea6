"""The previous database, which the last restore replaced: undo the restore, or drop that database."""

import datetime as dt
from dataclasses import dataclass
from uuid import UUID

import psycopg2
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse

from ops import operations
from ops.admin.base import (
    BACKUP_LIST,
    IndexAdmin,
    context_of,
    enqueue_run,
    equivalent_command,
    has_worker,
    require_start,
)
from ops.admin.forms import Confirmation, require_confirmable, rights_context
from ops.backups.engines.base import PreviousDatabase
from ops.errors import OpsError
from ops.models import Backup, Run
from ops.runs.results import UNDO
from ops.utils import clock
from ops.utils.formatting import format_local, format_size

LONGEST_CHAIN = 100
"""Undos after one restore."""
UNKNOWN = (
    "The database server does not answer, so it is not known whether a previous database is kept. Try again later."
)


@dataclass(frozen=True, kw_only=True)
class PreviousPresenter:
    """What templates show of it. `run` is the restore or undo that replaced it; None if its row is missing."""

    database: PreviousDatabase
    run: Run | None
    until: dt.datetime
    """When it is dropped automatically."""
    restore: Run | None = None
    """The restore before the undo that replaced it; None if a restore replaced it, and if its row is missing."""
    undos: int = 0
    """How many undos followed that restore."""

    @property
    def size(self) -> str:
        return format_size(self.database.size)

    @property
    def replaced_at(self) -> str:
        return format_local(self.database.replaced_at)

    @property
    def is_restored(self) -> bool:
        """Whether it is the database that a restore has made, so that an undo repeats the restore."""
        return self.undos % 2 == 1

    @property
    def undone(self) -> str:
        """What an undo undoes now."""
        return "the undo" if self.database.backup == UNDO else "the restore"

    @property
    def cause(self) -> str:
        """``ada@example.com restored …``: a clause that follows the time."""
        if self.database.backup != UNDO:
            name, done = self.database.backup, "restored"
        else:
            restored = f"the restore of {self.restore.backup}" if self.restore else "a restore"
            name, done = restored if self.is_restored or not self.restore else "an undo", "undid"
        if self.run:
            return f"{self.run.requested_by} {done} {name}"
        return f"{name} was {'undone' if done == 'undid' else done}"

    @property
    def content(self) -> str:
        """What an undo brings back: ``the database as it was before … was restored``."""
        if self.database.backup != UNDO:
            return f"the database as it was before {self.database.backup} was restored"
        if self.restore is None:
            return f"the database as it was until {self.replaced_at}"
        backup = self.restore.backup
        if self.is_restored:
            return f"the database that was restored from {backup}, as it was until {self.replaced_at}"
        return f"the database as it was before {backup} was restored, with its changes until {self.replaced_at}"


def find_previous(request: HttpRequest) -> PreviousPresenter | None:
    """None if no previous database is kept, and if the server does not answer."""
    try:
        return read_previous(request)
    except (OpsError, psycopg2.Error):
        return None


def read_previous(request: HttpRequest) -> PreviousPresenter | None:
    """None if no previous database is kept. Raises OpsError and psycopg2.Error if that is not known."""
    context = context_of(request)
    previous = context.engine.previous_database()
    if previous is None:
        return None
    until = previous.replaced_at + dt.timedelta(days=context.previous_days)
    run = _find_run(previous)
    restore, undos = _find_restore(run) if run and previous.backup == UNDO else (None, 0)
    return PreviousPresenter(database=previous, run=run, until=until, restore=restore, undos=undos)


def _find_run(previous: PreviousDatabase) -> Run | None:
    try:
        key = UUID(previous.run)
    except ValueError:
        return None
    return Run.objects.filter(pk=key).only("requested_by", "finished_at").first()


def _find_restore(undo: Run) -> tuple[Run | None, int]:
    """The last restore before this undo, and the number of undos after it, this one included."""
    replacing = Run.objects.filter(kind__in=(Run.Kind.RESTORE, Run.Kind.UNDO), status=Run.Status.SUCCEEDED)
    before = replacing.exclude(pk=undo.pk).filter(finished_at__lte=undo.finished_at or clock.now())
    swaps = before.order_by("-finished_at").defer("log", "result")[:LONGEST_CHAIN]
    for undos, run in enumerate((run for run in swaps if not run.arguments.get("to")), start=1):
        if run.kind == Run.Kind.RESTORE:
            return run, undos
    return None, 0


def undo(admin: IndexAdmin[Backup], request: HttpRequest) -> HttpResponse:
    return _confirm_and_enqueue(admin, request, Run.Kind.UNDO)


def drop_previous_database(admin: IndexAdmin[Backup], request: HttpRequest) -> HttpResponse:
    return _confirm_and_enqueue(admin, request, Run.Kind.DROP_PREVIOUS)


def _confirm_and_enqueue(admin: IndexAdmin[Backup], request: HttpRequest, kind: Run.Kind) -> HttpResponse:
    require_start(request, kind)
    try:
        previous, warning = read_previous(request), "No previous database is kept."
    except (OpsError, psycopg2.Error):
        previous, warning = None, UNKNOWN
    if previous is None:
        messages.warning(request, warning)
        return HttpResponseRedirect(reverse(BACKUP_LIST))
    context = context_of(request)
    rights = operations.rights_of_undo(context.engine) if kind == Run.Kind.UNDO else None
    require_confirmable(request, rights)
    form = Confirmation(request, context.engine.database)
    if request.method == "POST" and form.is_valid():
        # That of the page, which another restore may have replaced since.
        replaced_by = request.POST.get("replaced_by", previous.database.run)
        return enqueue_run(request, kind, back_to=reverse(BACKUP_LIST), replaced_by=replaced_by)
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
