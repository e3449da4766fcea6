"""What is done with one backup by one click: make, verify, drill, download, keep, note, delete.

Making and proving take time and are left to a worker. Notes and deletions, a moment's work on one file, are done at
once.
"""

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import FileResponse, HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.urls import reverse

from ops import operations
from ops.admin.base import IndexAdmin, require, require_administrator, require_start, show_error
from ops.admin.buttons import last_verified
from ops.admin.starting import enqueue_run, new_run
from ops.errors import OpsError
from ops.models import Backup, Run
from ops.runs.context import get_context

LIST = "admin:ops_backup_changelist"
LONGEST_NOTE = 1000
"""Characters."""


def back_up(_admin: IndexAdmin[Backup], request: HttpRequest) -> HttpResponse:
    require_start(request, Run.Kind.BACKUP)
    return enqueue_run(request, Run.Kind.BACKUP, back_to=reverse(LIST))


def verify(admin: IndexAdmin[Backup], request: HttpRequest, key: UUID) -> HttpResponse:
    require_start(request, Run.Kind.VERIFICATION)
    name = admin.shown(request, str(key)).name
    return enqueue_run(request, Run.Kind.VERIFICATION, back_to=reverse(LIST), names=[name])


def restore_test(admin: IndexAdmin[Backup], request: HttpRequest, key: UUID) -> HttpResponse:
    require_start(request, Run.Kind.RESTORE_TEST)
    name = admin.shown(request, str(key)).name
    return enqueue_run(request, Run.Kind.RESTORE_TEST, back_to=reverse(LIST), names=[name])


def download(admin: IndexAdmin[Backup], request: HttpRequest, key: UUID) -> HttpResponseBase:
    """The stored file, as it is. That somebody took it is recorded first, whether or not they read to the end."""
    require_administrator(request)
    backup = admin.shown(request, str(key))
    try:
        context = get_context()
        entry = operations.record_download(context, new_run(request, Run.Kind.DOWNLOAD, name=backup.name))
    except OpsError as error:
        show_error(request, error)
        return to_page(backup)
    file = context.repository.open(entry)
    answer = FileResponse(file, as_attachment=True, filename=backup.name, content_type="application/octet-stream")
    answer.headers["Content-Length"] = str(backup.size)
    return answer


def pin(admin: IndexAdmin[Backup], request: HttpRequest, key: UUID) -> HttpResponse:
    require(request, "ops.pin_backup")
    backup = admin.shown(request, str(key))
    pinned = request.POST.get("set") == "yes"
    done = f"{backup.name} is pinned." if pinned else f"{backup.name} is subject to the retention policy."
    change(request, backup, done, pinned=pinned)
    return HttpResponseRedirect(reverse(LIST))


def note(admin: IndexAdmin[Backup], request: HttpRequest, key: UUID) -> HttpResponse:
    require(request, "ops.pin_backup")
    backup = admin.shown(request, str(key))
    if request.method != "POST":
        title = f"Note on {backup.name}"
        return admin.page(request, "ops/console/note.html", title=title, backup=backup, longest=LONGEST_NOTE)
    change(request, backup, "The note is written.", note=request.POST.get("note", "").strip()[:LONGEST_NOTE])
    return to_page(backup)


def delete(admin: IndexAdmin[Backup], request: HttpRequest, key: UUID) -> HttpResponse:
    require(request, "ops.delete_backup")
    backup = admin.shown(request, str(key))
    if request.method != "POST":
        title = f"Delete {backup.name}?"
        is_last = backup.name == last_verified()
        return admin.page(request, "ops/console/delete.html", title=title, backup=backup, is_last=is_last)
    try:
        operations.delete_backup(get_context(), new_run(request, Run.Kind.DELETION, name=backup.name))
    except OpsError as error:
        show_error(request, error)
        return to_page(backup)
    messages.success(request, f"{backup.name} is deleted.")
    return HttpResponseRedirect(reverse(LIST))


def change(request: HttpRequest, backup: Backup, done: str, **values: Any) -> None:
    """Write into its manifest at once, and tell how that went."""
    try:
        operations.change_backup(get_context(), new_run(request, Run.Kind.CHANGE, name=backup.name, **values))
    except OpsError as error:
        show_error(request, error)
    else:
        messages.success(request, done)


def to_page(backup: Backup) -> HttpResponse:
    return HttpResponseRedirect(reverse("admin:ops_backup_change", args=[backup.pk]))
