"""Restore in the admin: a preview of what changes, then the confirmation, then a run."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.text import capfirst

from ops import operations
from ops.admin.base import IndexAdmin, enqueue_run, equivalent_command, has_worker, require_start
from ops.admin.forms import RestoreConfirmation, require_confirmable, rights_context
from ops.admin.return_to import return_path
from ops.backups.engines.base import describe_left_out
from ops.backups.manifest import Level
from ops.backups.preview import RestorePreview, TableDiff, describe_emptied, describe_pending
from ops.backups.restore_checks import require_restorable
from ops.backups.sources import UNKNOWN_ORIGIN, RestoreSource
from ops.conf import conf
from ops.errors import OpsError
from ops.models import Backup, Run
from ops.runs.context import OpsContext, get_context
from ops.runs.descriptions import LEVELS, MATCHES
from ops.utils.formatting import format_size

MAX_PREVIEW_SIZE = 500_000_000
"""Bytes before compression. A smaller backup is read for its page, which takes seconds; a larger one is compared by the
numbers in its manifest."""
SPACE_FACTOR = 2.5
"""A second database with its indexes, and what is written meanwhile, in sizes of the uncompressed backup."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """One preflight check and its result."""

    passed: bool
    text: str


@dataclass(frozen=True, kw_only=True)
class CopyToRead:
    """A good copy that the restore can read. `where` is the name and the address of its location."""

    location: str
    where: str
    is_chosen: bool
    answers: bool
    """Whether the location answered the last run."""


def restore(admin: IndexAdmin[Backup], request: HttpRequest, key: UUID) -> HttpResponse:
    require_start(request, Run.Kind.RESTORE)
    backup = admin.get_row(request, str(key))
    untrusted = bool(backup.manifest.get("untrusted"))
    require_start(request, Run.Kind.RESTORE, untrusted=untrusted)
    context = get_context()
    location = request.GET.get("location", "")
    shown = preview_context(context, backup, location, untrusted=untrusted)
    preview: RestorePreview | None = shown.get("preview")
    rights = preview.rights if preview else None
    require_confirmable(request, rights)
    afterwards = operations.is_made_afterwards(context, backup_first=False)
    form = RestoreConfirmation(request, context.engine.database, may_choose_order=afterwards)
    back = return_path(request, reverse("admin:ops_backup_change", args=[backup.pk]))
    chosen: dict[str, Any] = {"location": location} if location else {}
    command = equivalent_command(Run.Kind.RESTORE, {"name": backup.name, "untrusted": untrusted, **chosen})
    if request.method == "POST" and form.is_valid() and "refusal" not in shown:
        arguments = {"name": backup.name, "untrusted": untrusted, "pre_backup": not form.cleaned_data["no_pre_backup"]}
        if form.cleaned_data.get("backup_first"):
            chosen["backup_first"] = True
        return enqueue_run(request, Run.Kind.RESTORE, back_to=back, **arguments, **chosen)
    return admin.render(
        request,
        "ops/admin/restore.html",
        title="Restore",
        backup=backup,
        back=back,
        live=context.engine.where,
        previous_days=context.previous_days,
        steps=list(operations.describe_steps(pre_backup=True, afterwards=afterwards)),
        untrusted=untrusted,
        form=form,
        command="" if has_worker() else command,
        preview_command=command,
        copies=copies_to_read(context, backup.name, location),
        **rights_context(request, rights),
        **shown,
    )


def copies_to_read(context: OpsContext, name: str, location: str) -> list[CopyToRead]:
    """The good copies, the nearest first. `location` is the chosen one; '' is the nearest."""
    try:
        record = context.repository.get(name)
    except OpsError:
        return []
    chosen = location or next(iter(record.locations), "")
    return [
        CopyToRead(
            location=found,
            where=context.repository.where(found),
            is_chosen=found == chosen,
            answers=found not in record.unreachable,
        )
        for found in record.locations
    ]


def preview_context(context: OpsContext, backup: Backup, location: str, *, untrusted: bool) -> dict[str, Any]:
    """The preview and the checks, or the `refusal` of a backup that cannot be restored."""
    try:
        source = operations.find_source(context, name=backup.name, location=location)
        require_restorable(source, engine=context.engine, untrusted=untrusted)
        context.engine.require_backed_up()
        preview = read_preview(context, source, backup)
    except OpsError as refusal:
        return {"refusal": refusal}
    return {
        "preview": preview,
        "left_out": sentences_on_missing_rows(preview) if preview else [],
        "changes": [table_row(diff) for diff in preview.changed] if preview else [],
        "unchanged": preview.describe_unchanged() if preview else [],
        "checks": list(preflight_checks(context, source, backup, preview)),
    }


def sentences_on_missing_rows(preview: RestorePreview) -> list[str]:
    """Rows of the live database that no backup includes, and rows of the file that are not copied."""
    emptied = [describe_emptied(label, rows) for label, rows in preview.emptied]
    return [*emptied, *describe_left_out(preview.not_taken, is_done=False)]


def read_preview(context: OpsContext, source: RestoreSource, backup: Backup) -> RestorePreview | None:
    """None for a large file without a manifest: only reading it would show its contents."""
    by_keys = backup.uncompressed_size <= MAX_PREVIEW_SIZE
    if not by_keys and source.manifest is None:
        return None
    return operations.preview(context, source, by_keys=by_keys)


def table_row(diff: TableDiff) -> dict[str, str]:
    about = "" if diff.exact else "about "
    return {
        "label": str(capfirst(diff.label)),
        "now": "?" if diff.now is None else f"{diff.now:,}",
        "then": f"{diff.then:,}",
        "gained": f"{about}{diff.gained:,}" if diff.gained else "",
        "lost": f"{about}{diff.lost:,}" if diff.lost else "",
    }


# --- Preflight checks ---------------------------------------------------------------------------------------------
def preflight_checks(
    context: OpsContext, source: RestoreSource, backup: Backup, preview: RestorePreview | None
) -> Iterator[Check]:
    if source.manifest is None:
        yield Check(passed=False, text=UNKNOWN_ORIGIN)
    else:
        yield Check(passed=True, text="The signature is valid: the backup was made here and has not changed.")
        yield check_version(backup)
    if preview and preview.pending:
        yield Check(passed=True, text=describe_pending(len(preview.pending)))
    elif source.manifest:
        yield Check(passed=True, text="The backup's migrations match the installed code.")
    yield check_verification(backup)
    yield check_space(context, backup)


def check_version(backup: Backup) -> Check:
    made_by, current = backup.manifest.get("app_version", ""), conf.OPS_VERSION
    if made_by == current:
        return Check(passed=True, text=f"Made by the installed version ({current}).")
    return Check(passed=True, text=f"Made by version {made_by}; the installed version is {current}.")


def check_verification(backup: Backup) -> Check:
    if backup.verification_error:
        return Check(passed=False, text=f"The last verification failed: {backup.verification_error}.")
    if not backup.verified_level:
        text = "Never verified. The restore reads the whole backup before it changes anything."
        return Check(passed=False, text=text)
    level = Level(backup.verified_level)
    return Check(passed=True, text=f"{capfirst(LEVELS[level])}: {MATCHES[level]} the snapshot.")


def check_space(context: OpsContext, backup: Backup) -> Check:
    """The free space of a database server is unknown here."""
    needed = int(backup.uncompressed_size * SPACE_FACTOR)
    if context.engine.kind != "sqlite":
        text = f"The database server needs about {format_size(needed)} of disk space during the restore."
        return Check(passed=True, text=text)
    free = shutil.disk_usage(Path(settings.DATABASES["default"]["NAME"]).parent).free
    text = f"The restore needs about {format_size(needed)} of disk space; {format_size(free)} is free."
    return Check(passed=free >= needed, text=text)
