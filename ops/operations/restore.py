"""Restore, beside or in place; undo; let the kept database go."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ops import maintenance
from ops.backups import restore as core
from ops.backups import sources
from ops.backups.configuration import catalogue_from_settings
from ops.backups.engines.base import LeftOut, Undo
from ops.backups.manifest import Origin
from ops.backups.repository import MANIFEST
from ops.backups.sources import RestoreSource
from ops.operations.backup import make_backup
from ops.operations.context import OpsContext
from ops.operations.results import Done, as_json
from ops.operations.rights import require_rights_stay
from ops.runs import executor
from ops.runs.recorder import Request, RunRecorder
from ops.utils.progress import ProgressCallback


def find_source(site: OpsContext, arguments: Mapping[str, Any]) -> RestoreSource:
    """What to restore: the backup `name` of the catalogue, or a `file`, which may have brought its manifest along."""
    if not arguments.get("file"):
        return sources.from_entry(site.catalogue, site.catalogue.get(arguments["name"]))
    path = Path(arguments["file"])
    if path.with_name(path.name + MANIFEST).is_file():
        elsewhere = catalogue_from_settings(path.parent)
        return sources.from_entry(elsewhere, elsewhere.get(path.name))
    return sources.from_file(path)


def restore(site: OpsContext, request: Request, report: ProgressCallback) -> Done[core.Restored]:
    """Replace the live database. Arguments: name or file, untrusted, pre_backup (True when absent)."""
    with executor.recorded(request, engine=site.engine, catalogue=site.catalogue, report=report) as recording:
        source = find_source(site, request.arguments)
        recording.set_backup(source.name)
        result = core.restore(
            engine=site.engine,
            source=source,
            untrusted=bool(request.arguments.get("untrusted")),
            run=recording.id,
            around=surroundings(site, request, recording, why=f"A backup is being restored ({source.name})."),
            report=recording.report,
        )
        recording.result.update(as_json(result))
    return Done(run=recording.id, found=recording.recovered, result=result)


def surroundings(site: OpsContext, request: Request, recording: RunRecorder, *, why: str) -> core.Surroundings:
    wanted = request.arguments.get("pre_backup", True)

    def back_up() -> str:
        return make_backup(site, request, recording, origin=Origin.PRE_RESTORE).name

    return core.Surroundings(
        closed=partial(maintenance.maintenance_mode, maintenance.sign_from_settings(), reason=why),
        permitted=partial(require_rights_stay, request),
        back_up=back_up if wanted else None,
        write_history=recording.write_history,
        no_way_back=recording.point_of_no_return,
        is_in_place=recording.mark_applied,
        log=recording.log,
        claims=recording,
    )


@dataclass(frozen=True, kw_only=True)
class Beside:
    """A backup that was loaded into a database of its own."""

    backup: str
    database: str
    rows: int
    tables: int
    compared: bool
    migrations: tuple[str, ...]
    left_out: tuple[LeftOut, ...]


def restore_beside(site: OpsContext, request: Request, report: ProgressCallback) -> Done[Beside]:
    """Load a backup into the new database `to`. Arguments: name or file, to, untrusted."""
    with executor.recorded(request, engine=site.engine, catalogue=site.catalogue, report=report) as recording:
        source = find_source(site, request.arguments)
        recording.set_backup(source.name)
        database = request.arguments["to"]
        untrusted = bool(request.arguments.get("untrusted"))
        filled = core.restore_beside(
            engine=site.engine,
            source=source,
            name=database,
            untrusted=untrusted,
            report=recording.report,
            claims=recording,
        )
        result = Beside(
            backup=source.name,
            database=database,
            rows=sum(filled.rows.values()),
            tables=len(filled.rows),
            compared=source.trusted and source.manifest is not None,
            migrations=filled.migrations,
            left_out=filled.left_out,
        )
        recording.result.update(as_json(result))
    return Done(run=recording.id, found=recording.recovered, result=result)


def undo_restore(site: OpsContext, request: Request, report: ProgressCallback) -> Done[core.Undone]:
    """Put the database back that the last restore (or undo) replaced."""
    with executor.recorded(request, engine=site.engine, catalogue=site.catalogue, report=report) as recording:
        result = core.undo(
            engine=site.engine,
            run=recording.id,
            around=surroundings(site, request, recording, why="A restore is being undone."),
            report=recording.report,
        )
        recording.set_backup(result.brought_back.backup)
        recording.result.update(as_json(result))
    return Done(run=recording.id, found=recording.recovered, result=result)


@dataclass(frozen=True, kw_only=True)
class LetGo:
    """The kept database that is gone; None when it is too young, or there was none."""

    undo: Undo | None


def drop_undo(site: OpsContext, request: Request, report: ProgressCallback) -> Done[LetGo]:
    """Let the kept database go. Raises PreconditionFailed when there is none."""
    with executor.recorded(request, engine=site.engine, catalogue=site.catalogue, report=report) as recording:
        result = LetGo(undo=core.require_undo(site.engine))
        site.engine.drop_undo()
        recording.result.update(as_json(result))
    return Done(run=recording.id, found=recording.recovered, result=result)


def undo_expired(site: OpsContext) -> bool:
    """Whether a database is kept that is older than UNDO_KEEP_DAYS."""
    undo = site.engine.undo_copy()
    return undo is not None and undo.when < dt.datetime.now(dt.UTC) - dt.timedelta(days=site.undo_days)


def drop_expired_undo(site: OpsContext, request: Request, report: ProgressCallback) -> Done[LetGo] | None:
    """Let the kept database go when it is old enough; otherwise there is not even a run."""
    return drop_undo(site, request, report) if undo_expired(site) else None
