"""The migration from PostgreSQL to a SQLite file: its preflight check, the file, its download and its deletion."""

import datetime as dt
import socket
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.db import connection
from django.http import FileResponse, HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.urls import reverse

from ops import operations, stored_settings
from ops.admin.base import (
    BACKUP_LIST,
    IndexAdmin,
    enqueue_run,
    equivalent_command,
    has_worker,
    new_run,
    require_administrator,
    require_start,
    show_error,
)
from ops.admin.migrate import last_preflight, skip_options
from ops.admin.run_detail import RunPresenter
from ops.conf import setting_name
from ops.errors import OpsError, PreconditionFailed
from ops.models import Backup, Run
from ops.operations.sqlite_files import SqliteFile, find_file, kept_until, name_of_file, would_be_seen
from ops.runs.authorization import may_start
from ops.runs.context import get_context
from ops.runs.descriptions import describe_snapshot
from ops.runs.results import SqliteMigrationResult, read_result
from ops.utils import clock
from ops.utils.formatting import format_duration, format_local, format_size

PAGE = "admin:ops_backup_migrate_to_sqlite"
RUNS = Run.Kind.MIGRATION_TO_SQLITE


def is_offered(request: HttpRequest) -> bool:
    """On PostgreSQL, and to administrators only: the file holds the whole database."""
    return connection.vendor == "postgresql" and may_start(request.user, RUNS)


# --- The page -------------------------------------------------------------------------------------------------------
def migrate(admin: IndexAdmin[Backup], request: HttpRequest) -> HttpResponse:
    """The page; a POST runs the preflight check."""
    require_start(request, Run.Kind.PREFLIGHT)
    if connection.vendor != "postgresql":
        return nothing_to_migrate(request)
    if request.method == "POST":
        return enqueue_run(request, Run.Kind.PREFLIGHT, back_to=reverse(PAGE))
    last = newest(last_preflight("SQLite"), last_migration())
    shown = RunPresenter(last) if last else None
    found = shown.findings if shown else None
    made = last_made()
    return admin.render(
        request,
        "ops/admin/migrate_to_sqlite.html",
        title="Migrate to SQLite",
        database=connection.settings_dict["NAME"],
        current=current_run(),
        last=shown,
        found=found,
        skip_tables=skip_options(found.unknown_tables if found else ()),
        made=FilePresenter(made) if made else None,
        seconds=duration(shown),
        days=stored_settings.undo_keep_days(),
        database_setting=setting_name("DATABASES"),
        command="" if has_worker() else equivalent_command(RUNS, {}),
    )


def make(_admin: IndexAdmin[Backup], request: HttpRequest) -> HttpResponse:
    """Queue the migration. Its file has a name that the run chooses, in BACKUP_DIR."""
    require_start(request, RUNS)
    if connection.vendor != "postgresql":
        return nothing_to_migrate(request)
    return enqueue_run(request, RUNS, back_to=reverse(PAGE))


def delete(_admin: IndexAdmin[Backup], request: HttpRequest) -> HttpResponse:
    """Queue the deletion: the worker has made the file, and sees it."""
    require_start(request, Run.Kind.SQLITE_DELETION)
    return enqueue_run(request, Run.Kind.SQLITE_DELETION, back_to=reverse(BACKUP_LIST))


def nothing_to_migrate(request: HttpRequest) -> HttpResponse:
    messages.info(request, "The database is a SQLite file already. There is nothing to migrate.")
    return HttpResponseRedirect(reverse(BACKUP_LIST))


def last_migration() -> Run | None:
    """The newest migration that has ended, however."""
    ended = Run.objects.filter(kind=RUNS, origin=Run.Origin.ADMIN, finished_at__isnull=False)
    return ended.exclude(status=Run.Status.CANCELLED).first()


def current_run() -> Run | None:
    """A migration or preflight that is queued or running."""
    unfinished = Run.objects.filter(status__in=(Run.Status.QUEUED, Run.Status.RUNNING))
    return unfinished.filter(kind__in=(RUNS, Run.Kind.PREFLIGHT)).first()


def last_made() -> Run | None:
    """The newest migration that has made a file."""
    return Run.objects.filter(kind=RUNS, origin=Run.Origin.ADMIN, status=Run.Status.SUCCEEDED).first()


def newest(*runs: Run | None) -> Run | None:
    return max(filter(None, runs), key=lambda run: run.requested_at, default=None)


def duration(shown: RunPresenter | None) -> str:
    """About how long a migration takes, if the last run shows it."""
    if shown is None:
        return ""
    if isinstance(shown.result, SqliteMigrationResult) and not shown.result.blocked_by:
        return format_duration(sum(shown.result.seconds.values()))
    return format_duration(shown.findings.estimate) if shown.findings and shown.findings.acceptable else ""


def context_of_run(request: HttpRequest, shown: RunPresenter) -> dict[str, Any]:
    """What the page of a run adds for administrators: findings, the file, and the way to the page of the migration.

    It is not in the part of the page that is polled, whose address needs no session. run-status.js fetches the whole
    page when the run ends.
    """
    if not (may_start(request.user, RUNS) and shown.run.kind in {RUNS, Run.Kind.PREFLIGHT}):
        return {}
    name = "Migrate to SQLite" if connection.vendor == "postgresql" else "Migrate to PostgreSQL"
    return {
        "found": shown.findings,
        "skip_tables": skip_options(shown.findings.unknown_tables if shown.findings else ()),
        "made": FilePresenter(shown.run) if name_of_file(shown.run) else None,
        "database_setting": setting_name("DATABASES"),
        "migration_page": {"label": name, "url": reverse(f"admin:ops_backup_{name.lower().replace(' ', '_')}")},
    }


# --- The file -------------------------------------------------------------------------------------------------------
class FilePresenter:
    """What templates show of the file that `run` has made."""

    def __init__(self, run: Run) -> None:
        result = read_result(run.kind, run.result)
        self.run, self.name = run, name_of_file(run)
        self.file: SqliteFile | None = find_file(self.name) if self.name else None
        self.path = result.target if isinstance(result, SqliteMigrationResult) else ""
        self.snapshot = describe_snapshot(result) if isinstance(result, SqliteMigrationResult) else ""

    @property
    def is_here(self) -> bool:
        return self.file is not None

    @property
    def exists(self) -> bool:
        return self.is_here or self.is_elsewhere

    @property
    def size(self) -> str:
        return format_size(self.file.size) if self.file else ""

    @property
    def until(self) -> str:
        return format_local(self.expires)

    @property
    def expires(self) -> dt.datetime:
        return kept_until(self.file.made_at if self.file else self.run.finished_at or self.run.requested_at)

    @property
    def is_elsewhere(self) -> bool:
        """Whether the worker has it, in a directory that this process does not see, or may not read."""
        is_same = self.run.host == socket.gethostname() and would_be_seen(self.path)
        if self.is_here or not self.name or is_same or self.expires < clock.now():
            return False
        later = Run.objects.filter(status=Run.Status.SUCCEEDED, requested_at__gt=self.run.requested_at)
        deletes = later.filter(kind=Run.Kind.SQLITE_DELETION) | later.filter(kind=RUNS, origin=Run.Origin.ADMIN)
        return not deletes.exists()


def download(admin: IndexAdmin[Run], request: HttpRequest, key: UUID) -> HttpResponseBase:
    """The file of this run. The download is recorded before the first byte is sent."""
    require_administrator(request)
    name = name_of_file(admin.get_row(request, str(key)))
    try:
        if not name:
            raise PreconditionFailed("This run has made no SQLite file.")
        file = operations.record_file_download(get_context(), new_run(request, Run.Kind.SQLITE_DOWNLOAD, file=name))
    except OpsError as error:
        show_error(request, error)
        return HttpResponseRedirect(reverse("admin:ops_run_change", args=[key]))
    return FileResponse(file, as_attachment=True, filename=name, content_type="application/vnd.sqlite3")
