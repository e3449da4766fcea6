"""Restore in the console: first what it will change, then the confirmation, then a run."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.urls import reverse

from ops import operations
from ops.admin.base import IndexAdmin, require_start
from ops.admin.forms import RestoreConfirmation
from ops.admin.rights import require_confirmable, rights_on_page
from ops.admin.starting import command, enqueue_run, workers_are_set_up
from ops.backups.engines.base import describe_left_out
from ops.backups.preview import RestorePreview, TableDiff, preview_restore
from ops.backups.restore_checks import require_restorable
from ops.backups.sources import RestoreSource
from ops.conf import conf
from ops.errors import OpsError
from ops.models import Backup, Run
from ops.runs.context import OpsContext, get_context
from ops.utils.formatting import format_size, pluralize

READ_UP_TO = 500_000_000
"""Bytes before compression of a backup that is read for its page, which takes seconds; larger ones are compared by
the numbers in their manifests alone."""
ROOM = 2.5
"""A new database, with its indexes and what is written meanwhile, beside the size of the backup before compression."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """One thing that was looked at beforehand."""

    fine: bool
    words: str


def restore(admin: IndexAdmin[Backup], request: HttpRequest, key: UUID) -> HttpResponse:
    require_start(request, Run.Kind.RESTORE)
    backup = admin.shown(request, str(key))
    untrusted = bool(backup.manifest.get("untrusted"))
    require_start(request, Run.Kind.RESTORE, untrusted=untrusted)
    site = get_context()
    found = what_would_happen(site, backup, untrusted=untrusted)
    impact: RestorePreview | None = found.get("impact")
    rights = impact.rights if impact else None
    require_confirmable(request, rights)
    form = RestoreConfirmation(request, site.engine.database)
    if request.method == "POST" and form.is_valid() and "refusal" not in found:
        wanted = {"name": backup.name, "untrusted": untrusted, "pre_backup": not form.cleaned_data["no_pre_backup"]}
        back_to = reverse("admin:ops_backup_change", args=[backup.pk])
        return enqueue_run(request, Run.Kind.RESTORE, back_to=back_to, **wanted)
    return admin.page(
        request,
        "ops/console/restore.html",
        title="Restore",
        backup=backup,
        site=site,
        untrusted=untrusted,
        form=form,
        command="" if workers_are_set_up() else command(Run.Kind.RESTORE, {"name": backup.name}),
        **rights_on_page(request, rights),
        **found,
    )


def what_would_happen(site: OpsContext, backup: Backup, *, untrusted: bool) -> dict[str, Any]:
    """The impact and the checks, or the `refusal` of a backup that cannot be restored."""
    try:
        source = operations.find_source(site, name=backup.name)
        require_restorable(source, engine=site.engine, untrusted=untrusted)
        impact = measure(site, source, backup)
    except OpsError as refusal:
        return {"refusal": refusal}
    return {
        "impact": impact,
        "not_taken": describe_left_out(impact.not_taken) if impact else [],
        "changes": [row(change) for change in impact.changes if is_change(change)] if impact else [],
        "same": sum(not is_change(change) for change in impact.changes) if impact else 0,
        "checks": list(checks(site, source, backup, impact)),
    }


def measure(site: OpsContext, source: RestoreSource, backup: Backup) -> RestorePreview | None:
    """None for a large file of which nothing is known but what reading it would tell."""
    by_keys = backup.uncompressed_size <= READ_UP_TO
    if not by_keys and source.manifest is None:
        return None
    return preview_restore(engine=site.engine, source=source, by_keys=by_keys)


def is_change(change: TableDiff) -> bool:
    return bool(change.gained or change.lost or change.now != change.then)


def row(change: TableDiff) -> dict[str, str]:
    about = "" if change.exact else "about "
    return {
        "label": change.label[:1].upper() + change.label[1:],
        "now": "?" if change.now is None else f"{change.now:,}",
        "then": f"{change.then:,}",
        "gained": f"{about}{change.gained:,}" if change.gained else "",
        "lost": f"{about}{change.lost:,}" if change.lost else "",
    }


# --- Checks -------------------------------------------------------------------------------------------------------
def checks(site: OpsContext, source: RestoreSource, backup: Backup, impact: RestorePreview | None) -> Iterator[Check]:
    if source.manifest is None:
        yield Check(
            fine=False, words="The origin of this file is unknown. Only rows of the project's own tables are taken."
        )
    else:
        yield Check(fine=True, words="Signed here, and not changed since.")
        yield versions(backup)
    if impact and impact.pending:
        applied = f"{pluralize(len(impact.pending), 'migration')} will be applied to it."
        yield Check(fine=True, words=f"Older than the code: {applied}")
    elif source.manifest:
        yield Check(fine=True, words="Its migrations are those of the code.")
    yield proof(backup)
    yield from room(site, backup)


def versions(backup: Backup) -> Check:
    made = backup.manifest.get("app_version", "")
    ours = conf.OPS_VERSION
    if made == ours:
        return Check(fine=True, words=f"Made by this version, {ours}.")
    return Check(fine=True, words=f"Made by version {made}; this is {ours}.")


def proof(backup: Backup) -> Check:
    if backup.verification_error:
        return Check(fine=False, words=f"Its last verification failed: {backup.verification_error}.")
    if not backup.verified_level:
        return Check(fine=False, words="It was never verified. The restore reads all of it before anything changes.")
    how = {"read": "read back in full and counted", "restored": "restored and compared"}[backup.verified_level]
    return Check(fine=True, words=f"Verified: {how}.")


def room(site: OpsContext, backup: Backup) -> Iterator[Check]:
    """A server of its own does not tell how full its disk is."""
    needed = int(backup.uncompressed_size * ROOM)
    if site.engine.kind != "sqlite":
        yield Check(
            fine=True, words=f"The database server needs about {format_size(needed)} for the time of the restore."
        )
        return
    free = shutil.disk_usage(Path(settings.DATABASES["default"]["NAME"]).parent).free
    if free < needed:
        yield Check(
            fine=False, words=f"It needs about {format_size(needed)} of disk, and {format_size(free)} are free."
        )
    else:
        yield Check(fine=True, words=f"It needs about {format_size(needed)} of disk; {format_size(free)} are free.")
