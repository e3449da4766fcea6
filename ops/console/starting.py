"""From a person's click to a run in the queue."""

import shlex
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse

from ops import runs, tasks
from ops.models import Run
from ops.recording import Request

NO_WORKER = "Nothing can be started from here: REDIS_URL is not set, so there is no queue for a worker. Type instead: "


def workers_are_set_up() -> bool:
    """Whether there is a queue that a worker may listen to."""
    return bool(getattr(settings, "OPS_CELERY_APP", ""))


def start(request: HttpRequest, kind: Run.Kind, *, back_to: str, **arguments: Any) -> HttpResponse:
    """Queue a run of the person who asks, and lead to its page. Without a queue: say what to type instead."""
    if not workers_are_set_up():
        messages.error(request, NO_WORKER + command(kind, arguments))
        return HttpResponseRedirect(back_to)
    run = runs.queue(asked_for(request, kind, **arguments))
    transaction.on_commit(lambda: tasks.enqueue(run.pk))
    return HttpResponseRedirect(reverse("admin:ops_run_change", args=[run.pk]))


def asked_for(request: HttpRequest, kind: Run.Kind, **arguments: Any) -> Request:
    return Request(kind=kind, who=request.user.get_username(), origin=Run.Origin.CONSOLE, arguments=arguments)


def command(kind: Run.Kind, arguments: dict[str, Any]) -> str:
    """What a person at a terminal types for the same run."""
    name = shlex.quote(str(arguments.get("name") or next(iter(arguments.get("names", ())), "")))
    return "manage.py " + {
        Run.Kind.BACKUP: "backup_database",
        Run.Kind.VERIFICATION: f"verify_backup {name}",
        Run.Kind.DRILL: f"verify_backup {name} --restore",
        Run.Kind.RESTORE: f"restore_database {name}",
        Run.Kind.UNDO: "undo_restore",
        Run.Kind.DROP_UNDO: "drop_undo",
        Run.Kind.PREFLIGHT: "migrate_to_postgres --dry-run",
    }.get(kind, "help")
