"""How far a run is, on a page that goes on while the database is being replaced and after its reader was signed out.

The page asks for a small piece of HTML every second. Its address is signed instead of guarded by a session, shows this
run only, and needs no rows: where there are none, the run's events beside the backups tell how it ended.
"""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.core import signing
from django.db import Error as DatabaseError
from django.db import connection
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from ops.admin.run_detail import RunPresenter
from ops.health.database import with_health_deadline
from ops.models import Run
from ops.runs import event_log
from ops.runs.context import repository_from_settings

SALT = "ops.admin.run_status"
LONGEST = 24 * 3600
"""Seconds that a link works."""


def status_link(run: Run, *, may_undo: bool) -> str:
    """The part of the address that stands for `run`; `may_undo`: its reader may take a restore back."""
    return signing.dumps({"run": str(run.pk), "may_undo": may_undo}, salt=SALT)


@dataclass(frozen=True, kw_only=True)
class Link:
    """What a signed address allows to see."""

    run: UUID
    may_undo: bool


def read(token: str) -> Link:
    """Raises Http404 for a link that is too old, or not ours."""
    try:
        said = signing.loads(token, salt=SALT, max_age=LONGEST)
    except signing.BadSignature as error:
        raise Http404("This link is not valid any more. Sign in to see the run.") from error
    return Link(run=UUID(said["run"]), may_undo=bool(said["may_undo"]))


@require_safe
@never_cache
def run_status(request: HttpRequest, token: str) -> HttpResponse:
    """A page of its own about one run, without the console around it."""
    link = read(token)
    return render(request, "ops/console/watch.html", {"token": token, **state(link, token)})


@require_safe
@never_cache
def run_status_fragment(request: HttpRequest, token: str) -> HttpResponse:
    """The piece of HTML; 503 while nothing is known, which does not last."""
    found = state(read(token), token)
    return render(request, "ops/console/run_state.html", found, status=200 if found["run"] else 503)


def state(link: Link, token: str) -> dict[str, Any]:
    run = find_run(link.run)
    page = RunPresenter(run) if run else None
    undo = reverse("admin:ops_backup_undo") if link.may_undo and page and page.may_be_undone else ""
    return {"run": page, "undo_url": undo, "own_url": reverse("admin:ops_run_change", args=[link.run]), "token": token}


def find_run(key: UUID) -> Run | None:
    """The run as its row has it, or as its end is recorded beside the backups.

    None while the database is away, or has not heard of the run yet. Raises Http404 for a run that nobody knows.
    """
    try:
        with with_health_deadline(connection):
            row = Run.objects.filter(pk=key).first()
    except DatabaseError:
        connection.close()
        row = None
    if row:
        return row
    recorded = event_log.read_runs(repository_from_settings().events(str(key))).get(key)
    return recorded if recorded and recorded.is_finished else None
