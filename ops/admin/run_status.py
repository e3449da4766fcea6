"""The status page of a run. It works while the database is replaced, and after the user was signed out.

The page polls a fragment of HTML every second. Its URL is signed, so no session is needed, and shows one run only. It
needs no rows either: without a row it reads the events of the run, which are stored next to the backups.
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
from ops.admin.run_outcome import outcome_context
from ops.health.database import database_answers, with_health_deadline
from ops.models import Run
from ops.runs import event_log
from ops.runs.context import repository_from_settings

DATABASE_WITHIN = 1.0
"""Seconds. A frozen server answers no query, and keeps no timeout either."""
SALT = "ops.admin.run_status"
LINK_MAX_AGE = 24 * 3600
"""Seconds."""


def status_link(run: Run, *, may_undo: bool) -> str:
    """The token of the URL; `may_undo`: the page offers to undo a restore."""
    return signing.dumps({"run": str(run.pk), "may_undo": may_undo}, salt=SALT)


@dataclass(frozen=True, kw_only=True)
class Link:
    """What a signed URL gives access to."""

    run: UUID
    may_undo: bool


def read(token: str) -> Link:
    """Raises Http404 for a link that has expired or was not signed here."""
    try:
        content = signing.loads(token, salt=SALT, max_age=LINK_MAX_AGE)
    except signing.BadSignature as error:
        raise Http404("This link is no longer valid. Sign in to see the run.") from error
    return Link(run=UUID(content["run"]), may_undo=bool(content["may_undo"]))


@require_safe
@never_cache
def run_status(request: HttpRequest, token: str) -> HttpResponse:
    """The page, without the admin around it."""
    link = read(token)
    return render(request, "ops/admin/run_status.html", {"token": token, **_context(link, token)})


@require_safe
@never_cache
def run_status_fragment(request: HttpRequest, token: str) -> HttpResponse:
    """The fragment; 503 while the run cannot be read, after which the page asks again."""
    found = _context(read(token), token)
    return render(request, "ops/admin/_run_status.html", found, status=200 if found["run"] else 503)


def _context(link: Link, token: str) -> dict[str, Any]:
    answers = database_answers(within=DATABASE_WITHIN)
    run = find_run(link.run, answers=answers)
    page = RunPresenter(run) if run else None
    return {
        "run": page,
        **(outcome_context(page, may_undo=link.may_undo, answers=answers) if page else {}),
        "admin_url": reverse("admin:ops_run_change", args=[link.run]),
        "token": token,
    }


def find_run(key: UUID, *, answers: bool) -> Run | None:
    """The run from its row, or from the event of its end next to the backups.

    None while the database is unreachable or has no row of the run yet. `answers`: whether it did just now.
    """
    if answers and (row := read_row(key)):
        return row
    recorded = event_log.read_runs(repository_from_settings().events(str(key))).get(key)
    return recorded if recorded and recorded.is_finished else None


def read_row(key: UUID) -> Run | None:
    try:
        with with_health_deadline(connection):
            return Run.objects.filter(pk=key).first()
    except DatabaseError:
        connection.close()
        return None
