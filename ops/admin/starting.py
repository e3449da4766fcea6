"""From a person's click to a run in the queue."""

import shlex
from typing import Any

from django.contrib import messages
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse

from ops import tasks
from ops.admin.base import show_error
from ops.conf import conf
from ops.errors import PreconditionFailed
from ops.models import Run
from ops.runs import executor

NO_WORKER = "Nothing can be started from here: REDIS_URL is not set, so there is no queue for a worker. Type instead: "


def workers_are_set_up() -> bool:
    """Whether there is a queue that a worker may listen to."""
    return bool(conf.OPS_CELERY_APP)


def enqueue_run(request: HttpRequest, kind: Run.Kind, *, back_to: str, **arguments: Any) -> HttpResponse:
    """Queue a run of the user who asks, and lead to its page, or to that of the run of its kind that waits already.

    Without a queue: say what to type instead.
    """
    if not workers_are_set_up():
        messages.error(request, NO_WORKER + command(kind, arguments))
        return HttpResponseRedirect(back_to)
    try:
        tasks.require_redis()
    except PreconditionFailed as error:
        show_error(request, error)
        return HttpResponseRedirect(back_to)
    run, is_new = executor.queue(new_run(request, kind, **arguments))
    if is_new:
        transaction.on_commit(lambda: tasks.enqueue(run.pk))
    else:
        messages.warning(request, waits_already(run))
    return HttpResponseRedirect(reverse("admin:ops_run_change", args=[run.pk]))


def waits_already(run: Run) -> str:
    about = f" of {run.backup}" if run.backup else ""
    return (
        f"Nothing was queued: the {run.get_kind_display()}{about} that {run.requested_by} asked for has not begun yet,"
        " and one run of each kind waits at a time. Try again when it has begun, or cancel it."
    )


def new_run(request: HttpRequest, kind: Run.Kind, **arguments: Any) -> Run:
    return Run(kind=kind, requested_by=request.user.get_username(), origin=Run.Origin.CONSOLE, arguments=arguments)


def command(kind: Run.Kind, arguments: dict[str, Any]) -> str:
    """What a person at a terminal types for the same run."""
    name = shlex.quote(str(arguments.get("name") or next(iter(arguments.get("names", ())), "")))
    return "manage.py " + {
        Run.Kind.BACKUP: "backup_database",
        Run.Kind.VERIFICATION: f"verify_backup {name}",
        Run.Kind.RESTORE_TEST: f"verify_backup {name} --restore",
        Run.Kind.RESTORE: f"restore_database {name}",
        Run.Kind.UNDO: "undo_restore",
        Run.Kind.DROP_PREVIOUS: "drop_previous_database",
        Run.Kind.PREFLIGHT: "migrate_to_postgres --dry-run",
    }.get(kind, "help")
