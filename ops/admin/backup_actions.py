"""What a user can do with one backup: the buttons, and the views that they lead to.

Making and verifying a backup take time and are left to a worker. Pins, notes and deletions change one file and are done
in the request. The views of a restore and of an upload have modules of their own.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.utils.http import content_disposition_header

from ops import operations
from ops.admin.base import (
    BACKUP_LIST,
    IndexAdmin,
    enqueue_run,
    new_run,
    require,
    require_administrator,
    require_start,
    show_error,
)
from ops.admin.copies import deletion_note, may_restore, requested_location
from ops.admin.return_to import return_path, with_return
from ops.backups.record import LOCAL
from ops.errors import OpsError
from ops.models import Backup, Run
from ops.runs.authorization import User, may_start
from ops.runs.context import get_context

MAX_NOTE_LENGTH = 1000
DELETE = "Delete"


# --- Buttons ------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, kw_only=True)
class Button:
    """A form that posts `value` as ``set``, or a link. `icon` is a Material Symbol; `short` is one word of `label`."""

    short: str
    label: str
    icon: str
    url: str
    posts: bool = True
    value: str = ""


def buttons_for(
    user: User, backup: Backup, *, undeletable: Collection[str], back_to: str = "", deleted_to: str = ""
) -> Iterator[Button]:
    """The buttons for what `user` may do and what is possible with `backup`. `undeletable` are names of backups.

    They lead back to the path `back_to`, or to the page of the backup; the deletion to `deleted_to`, or to the list.
    """
    for button in _buttons_for(user, backup, undeletable):
        page = deleted_to if button.short == DELETE else back_to
        yield replace(button, url=with_return(button.url, page)) if page else button


def _buttons_for(user: User, backup: Backup, undeletable: Collection[str]) -> Iterator[Button]:
    if may(user, "pin") and backup.suspicion == "undecided":
        yield _button(backup, "decide", "Decide", "Decide whether it is right", "rule", posts=False)
    if backup.state != Backup.State.FILE_MISSING:
        yield from _buttons_for_file(user, backup)
    if may(user, "pin"):
        if backup.pinned:
            label = "Unpin: let the retention policy decide"
            yield _button(backup, "pin", "Unpin", label, "bookmark_remove", value="no")
        else:
            label = "Pin: keep it whatever the retention policy says"
            yield _button(backup, "pin", "Pin", label, "bookmark_add", value="yes")
        yield _button(backup, "note", "Note", "Note", "edit_note", posts=False)
    if may(user, "delete") and backup.name not in undeletable:
        yield _button(backup, "delete", DELETE, DELETE, "delete", posts=False)


def _buttons_for_file(user: User, backup: Backup) -> Iterator[Button]:
    if may_restore(user, backup):
        yield _button(backup, "restore", "Restore", "Restore", "settings_backup_restore", posts=False)
    if may_start(user, Run.Kind.VERIFICATION):
        yield _button(backup, "verify", "Verify", "Verify: read it back and count its rows", "task_alt")
    if may_start(user, Run.Kind.RESTORE_TEST):
        label = "Restore test: load it into a scratch database and compare it with the manifest"
        yield _button(backup, "restore-test", "Restore test", label, "experiment")
    if is_administrator(user):
        yield _button(backup, "download", "Download", "Download", "download")


def _button(
    backup: Backup, name: str, short: str, label: str, icon: str, *, posts: bool = True, value: str = ""
) -> Button:
    url = reverse(f"admin:ops_backup_{name.replace('-', '_')}", args=[backup.pk])
    return Button(short=short, label=label, icon=icon, url=url, posts=posts, value=value)


def may(user: User, action: str) -> bool:
    return user.has_perm(f"ops.{action}_backup")


def is_administrator(user: User) -> bool:
    """Whether `user` may download and upload backups. Groups may not: a backup contains the whole database."""
    return user.is_active and user.is_superuser


# --- Views --------------------------------------------------------------------------------------------------------
def back_up(_admin: IndexAdmin[Backup], request: HttpRequest) -> HttpResponse:
    require_start(request, Run.Kind.BACKUP)
    return enqueue_run(request, Run.Kind.BACKUP, back_to=return_path(request, reverse(BACKUP_LIST)))


def verify(
    admin: IndexAdmin[Backup], request: HttpRequest, key: UUID, kind: Run.Kind = Run.Kind.VERIFICATION
) -> HttpResponse:
    """Read the backup back, or restore it in a run of the kind RESTORE_TEST; ``set`` names the location of the copy."""
    require_start(request, kind)
    backup = admin.get_row(request, str(key))
    location = requested_location(request)
    back_to = return_path(request, page_of(backup))
    return enqueue_run(request, kind, back_to=back_to, names=[backup.name], **location)


def download(admin: IndexAdmin[Backup], request: HttpRequest, key: UUID) -> HttpResponseBase:
    """The stored file, of the nearest location that gives it, as it was before it was encrypted.

    The download is recorded before the first byte is sent, so an aborted one is recorded too.
    """
    require_administrator(request)
    backup = admin.get_row(request, str(key))
    try:
        found = operations.start_download(get_context(), new_run(request, Run.Kind.DOWNLOAD, name=backup.name))
    except OpsError as error:
        show_error(request, error)
        return HttpResponseRedirect(return_path(request, page_of(backup)))
    if found.location != LOCAL:
        messages.info(request, f"The download of {found.name} was read from {found.where}.")
    headers = {
        "Content-Disposition": str(content_disposition_header(as_attachment=True, filename=found.name)),
        "Content-Length": str(found.size),
    }
    return StreamingHttpResponse(found.blocks, content_type="application/octet-stream", headers=headers)


def pin(admin: IndexAdmin[Backup], request: HttpRequest, key: UUID) -> HttpResponse:
    require(request, "ops.pin_backup")
    backup = admin.get_row(request, str(key))
    pinned = request.POST.get("set") == "yes"
    done = f"{backup.name} is pinned." if pinned else f"{backup.name} was unpinned. The retention policy applies again."
    edit(request, backup, done, pinned=pinned)
    return HttpResponseRedirect(return_path(request, page_of(backup)))


def note(admin: IndexAdmin[Backup], request: HttpRequest, key: UUID) -> HttpResponse:
    require(request, "ops.pin_backup")
    backup = admin.get_row(request, str(key))
    back = return_path(request, page_of(backup))
    if request.method != "POST":
        return admin.render(
            request,
            "ops/admin/note.html",
            title=f"Note on {backup.name}",
            backup=backup,
            max_length=MAX_NOTE_LENGTH,
            back=back,
        )
    edit(request, backup, "The note was saved.", note=request.POST.get("note", "").strip()[:MAX_NOTE_LENGTH])
    return HttpResponseRedirect(back)


def delete(admin: IndexAdmin[Backup], request: HttpRequest, key: UUID) -> HttpResponse:
    require(request, "ops.delete_backup")
    backup = admin.get_row(request, str(key))
    if request.method != "POST":
        title = f"Delete {backup.name}?"
        is_last = backup.name in Backup.objects.undeletable_names()
        return admin.render(
            request,
            "ops/admin/delete.html",
            title=title,
            backup=backup,
            is_last=is_last,
            suspicion=Backup.objects.filter(suspicion__in=("undecided", "wrong")).exists(),
            elsewhere=deletion_note(backup),
            back=page_of(backup),
        )
    try:
        operations.delete_backup(get_context(), new_run(request, Run.Kind.DELETION, name=backup.name))
    except OpsError as error:
        show_error(request, error)
        return HttpResponseRedirect(page_of(backup))
    messages.success(request, f"{backup.name} was deleted.")
    return HttpResponseRedirect(return_path(request, reverse(BACKUP_LIST)))


def edit(request: HttpRequest, backup: Backup, done: str, **values: Any) -> None:
    """Write `values` into the manifest, and show the message `done` or the error."""
    try:
        operations.change_backup(get_context(), new_run(request, Run.Kind.CHANGE, name=backup.name, **values))
    except OpsError as error:
        show_error(request, error)
    else:
        messages.success(request, done)


def page_of(backup: Backup) -> str:
    return reverse("admin:ops_backup_change", args=[backup.pk])
