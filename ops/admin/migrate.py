"""From SQLite to PostgreSQL: would it work, and what to type. The move itself is not for a web page to do."""

import shlex

from django.conf import settings
from django.contrib import messages
from django.db import connection
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse

from ops.admin.base import IndexAdmin, require_start
from ops.admin.run_detail import RunPresenter
from ops.admin.starting import command, enqueue_run, workers_are_set_up
from ops.models import Backup, Run
from ops.runs.authorization import may_start

LIST = "admin:ops_backup_changelist"


def is_offered(request: HttpRequest) -> bool:
    """What it shows are values of any table, so it is for administrators; and for SQLite only."""
    return connection.vendor == "sqlite" and may_start(request.user, Run.Kind.PREFLIGHT)


def preflight(admin: IndexAdmin[Backup], request: HttpRequest) -> HttpResponse:
    require_start(request, Run.Kind.PREFLIGHT)
    if connection.vendor != "sqlite":
        messages.info(request, "The database is PostgreSQL already. There is nothing to migrate.")
        return HttpResponseRedirect(reverse(LIST))
    here = reverse("admin:ops_backup_to_postgresql")
    if request.method == "POST":
        return enqueue_run(request, Run.Kind.PREFLIGHT, back_to=here)
    last = Run.objects.filter(kind=Run.Kind.PREFLIGHT, status=Run.Status.SUCCEEDED).first()
    path = str(settings.DATABASES["default"]["NAME"])
    return admin.page(
        request,
        "ops/console/to_postgresql.html",
        title="Migrate to PostgreSQL",
        path=path,
        last=last,
        shown=RunPresenter(last) if last else None,
        address="POSTGRES_URL=postgres://user:password@127.0.0.1:5432/homerack",
        command=f"manage.py migrate_to_postgres --sqlite-path {shlex.quote(path)}",
        dry_run="" if workers_are_set_up() else command(Run.Kind.PREFLIGHT, {}),
    )
