"""Copies of backups in the admin: a column and a filter of the list, a table on a backup's page, and "Copy now"."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import urlencode

from django.contrib import admin
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from ops.admin.base import BACKUP_LIST, IndexAdmin, enqueue_run, require_start
from ops.admin.return_to import return_path
from ops.backups.locations.coverage import CopyState, KnownCopy, read_copies
from ops.backups.locations.location import DIRECTORY, S3, SFTP, LocationSettings, read_settings
from ops.backups.manifest import Origin
from ops.backups.record import LOCAL
from ops.conf import conf
from ops.errors import OpsError
from ops.models import Backup, BackupQuerySet, Run
from ops.runs.authorization import User, may_start
from ops.utils.formatting import format_age, format_local, format_size, join_names

TYPES = {DIRECTORY: "directory", SFTP: "SFTP", S3: "S3"}
ICONS = {CopyState.GOOD: "check", CopyState.DAMAGED: "error", CopyState.UNREACHABLE: "cloud_off"}
MEANINGS = {CopyState.DAMAGED: "damaged", CopyState.UNREACHABLE: "did not answer the last run"}
ENOUGH, TOO_FEW, IN = "enough", "too-few", "in-"


def other_locations() -> tuple[LocationSettings, ...]:
    """Those of BACKUP_LOCATIONS; none while that setting is not valid, which a system check and `/health/` report."""
    try:
        return read_settings(conf.BACKUP_LOCATIONS)
    except OpsError:
        return ()


def location_names() -> tuple[str, ...]:
    return (LOCAL, *(settings.name for settings in other_locations()))


def may_copy(user: User) -> bool:
    return bool(conf.BACKUP_LOCATIONS) and may_start(user, Run.Kind.COPY)


# --- The list -----------------------------------------------------------------------------------------------------


class CopiesFilter(admin.SimpleListFilter):
    """Shown where there are other storage locations."""

    title = "copies"
    parameter_name = "copies"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:  # noqa: ARG002
        names = location_names()
        if len(names) == 1:
            return []
        places = [(f"{IN}{name}", f"in {name}") for name in names]
        return [(ENOUGH, "enough copies"), (TOO_FEW, "too few copies"), *places]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Backup]) -> QuerySet[Backup]:  # noqa: ARG002
        value = self.value() or ""
        required = conf.BACKUP_MIN_COPIES or len(location_names())
        if value == ENOUGH:
            return queryset.filter(copy_count__gte=required)
        if value == TOO_FEW:
            return queryset.filter(copy_count__lt=required)
        name = value.removeprefix(IN)
        return cast("BackupQuerySet", queryset).in_location(name) if name in location_names() else queryset


@admin.display(description="locations", ordering="copy_count")
def locations(backup: Backup) -> SafeString:
    """The locations of the backup; those whose copies do not count with the reason."""
    copies = read_copies(backup.copies)
    marks = ((copy.state, copy.state, ICONS[copy.state], copy.location, meaning(copy)) for copy in copies)
    icon = '<span class="material-symbols-outlined" aria-hidden="true">{}</span>'
    mark = (
        f'<span class="ops-copy ops-copy-{{}}" title="{{}}">{icon}{{}}<span class="ops-copy-state">{{}}</span></span>'
    )
    return format_html('<span class="ops-copies">{}</span>', format_html_join("", mark, marks) or "none")


def meaning(copy: KnownCopy) -> str:
    return "" if copy.state is CopyState.GOOD else f" {copy.state}"


# --- The page -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class CopyRow:
    """A copy in a storage location, or that there is none. `buttons` are labels and URLs of forms that check it."""

    location: str
    about: str
    state: str
    error: str = ""
    size: str = "–"
    read: str = "–"
    """When it was last read back in full, and how long ago that is."""
    age: str = ""
    buttons: tuple[tuple[str, str], ...] = ()
    restore: str = ""
    """The URL of the page that restores this copy."""


def copy_rows(user: User, backup: Backup) -> list[CopyRow]:
    """A row for each storage location, configured or not, in the order of the settings."""
    copies = {copy.location: copy for copy in read_copies(backup.copies)}
    about = {LOCAL: "BACKUP_DIR", **{settings.name: describe_settings(settings) for settings in other_locations()}}
    names = [*about, *(name for name in copies if name not in about)]
    if names == [LOCAL]:
        return []
    return [copy_row(name, about.get(name, "not in the settings"), copies.get(name), user, backup) for name in names]


def copy_row(name: str, about: str, copy: KnownCopy | None, user: User, backup: Backup) -> CopyRow:
    if copy is None:
        return CopyRow(location=name, about=about, state="no copy")
    return CopyRow(
        location=name,
        about=about,
        state=str(copy.state),
        error=copy.error or MEANINGS.get(copy.state, ""),
        size=format_size(copy.size),
        read=format_local(copy.verified_at) if copy.verified_at else "never",
        age=format_age(copy.verified_at) if copy.verified_at else "",
        buttons=tuple(verify_buttons(user, backup)),
        restore=restore_url(user, backup, name),
    )


def verify_buttons(user: User, backup: Backup) -> Iterator[tuple[str, str]]:
    for kind, name, label in (
        (Run.Kind.VERIFICATION, "verify", "Verify"),
        (Run.Kind.RESTORE_TEST, "restore_test", "Restore test"),
    ):
        if may_start(user, kind):
            yield label, reverse(f"admin:ops_backup_{name}", args=[backup.pk])


def may_restore(user: User, backup: Backup) -> bool:
    """Whether the page of its restore is for this user: only administrators restore uploads."""
    if backup.state == Backup.State.TAMPERED:
        return False
    return may_start(user, Run.Kind.RESTORE, {"untrusted": backup.origin == Origin.UPLOAD})


def restore_url(user: User, backup: Backup, location: str) -> str:
    """'' for users who may not restore it."""
    if not may_restore(user, backup):
        return ""
    return f"{reverse('admin:ops_backup_restore', args=[backup.pk])}?{urlencode({'location': location})}"


def describe_settings(settings: LocationSettings) -> str:
    """``SFTP, encrypted, off-site``."""
    return describe_kind(settings.type, encrypted=settings.encrypted, off_site=settings.is_off_site)


def describe_kind(kind: str, *, encrypted: bool, off_site: bool) -> str:
    return ", ".join([TYPES[kind], "encrypted" if encrypted else "not encrypted", *(["off-site"] if off_site else [])])


def deletion_note(backup: Backup) -> str:
    """What a deletion does in other locations, in sentences; '' if the backup is in BACKUP_DIR alone."""
    names = [copy.location for copy in read_copies(backup.copies) if copy.location != LOCAL]
    if not names:
        return ""
    locked = [each.name for each in other_locations() if each.name in names and each.lock_days]
    lock = f" In {join_names(locked)}, files stay until their lock ends." if locked else ""
    return f"Its copies in {join_names(names)} are deleted by the next run that copies backups.{lock}"


# --- Views --------------------------------------------------------------------------------------------------------


def copy_now(_admin: IndexAdmin[Backup], request: HttpRequest) -> HttpResponse:
    require_start(request, Run.Kind.COPY)
    return enqueue_run(request, Run.Kind.COPY, back_to=return_path(request, reverse(BACKUP_LIST)))


def requested_location(request: HttpRequest) -> dict[str, str]:
    """The argument `location` of a run, if the form names one as ``set``. Raises Http404 for an unknown one."""
    name = request.POST.get("set", "")
    if name and name not in location_names():
        raise Http404(f"There is no storage location {name!r}.")
    return {"location": name} if name else {}
