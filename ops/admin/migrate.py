"""The migration from SQLite to PostgreSQL: its preflight check, and the commands. The migration itself is a command."""

import shlex
from collections.abc import Sequence

from django.conf import settings
from django.contrib import messages
from django.db import connection
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse

from ops.admin.base import BACKUP_LIST, IndexAdmin, enqueue_run, equivalent_command, has_worker, require_start
from ops.admin.run_detail import RunPresenter
from ops.conf import conf, setting_name
from ops.databases.postgres.url import EXAMPLE
from ops.models import Backup, Run
from ops.runs.authorization import may_start


def is_offered(request: HttpRequest) -> bool:
    """On SQLite, and to administrators only: the page shows values of any table."""
    return connection.vendor == "sqlite" and may_start(request.user, Run.Kind.PREFLIGHT)


def preflight(admin: IndexAdmin[Backup], request: HttpRequest) -> HttpResponse:
    require_start(request, Run.Kind.PREFLIGHT)
    if connection.vendor != "sqlite":
        messages.info(request, "The database is PostgreSQL already. There is nothing to migrate.")
        return HttpResponseRedirect(reverse(BACKUP_LIST))
    here = reverse("admin:ops_backup_migrate_to_postgresql")
    if request.method == "POST":
        return enqueue_run(request, Run.Kind.PREFLIGHT, back_to=here)
    last = last_preflight("PostgreSQL")
    shown = RunPresenter(last) if last else None
    path = str(settings.DATABASES["default"]["NAME"])
    return admin.render(
        request,
        "ops/admin/migrate.html",
        title="Migrate to PostgreSQL",
        path=path,
        last=last,
        shown=shown,
        found=shown.findings if shown else None,
        target=bool(conf.POSTGRES_URL),
        skip_tables=skip_options(shown.findings.unknown_tables if shown and shown.findings else ()),
        url=f"POSTGRES_URL={EXAMPLE}",
        database_setting=setting_name("DATABASES"),
        command=f"manage.py migrate_to_postgres --sqlite-path {shlex.quote(path)}",
        dry_run="" if has_worker() else equivalent_command(Run.Kind.PREFLIGHT, {}),
    )


def last_preflight(reader: str) -> Run | None:
    """The newest preflight of the live database in the direction of `reader`. A command may check another database."""
    succeeded = Run.objects.filter(kind=Run.Kind.PREFLIGHT, status=Run.Status.SUCCEEDED, origin=Run.Origin.ADMIN)
    return succeeded.filter(result__reader=reader).first()


def skip_options(tables: Sequence[str]) -> str:
    """The options with which the commands skip these tables."""
    return " ".join(f"--skip-table {shlex.quote(name)}" for name in tables)
