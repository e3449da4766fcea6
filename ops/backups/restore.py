"""Putting a backup in the place of the live database, which is kept; and putting that back."""

import time
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager
from dataclasses import dataclass

from ops.backups.engines.base import NO_CLAIMS, Claims, Engine, LeftOut, Scratch, Undo
from ops.backups.signing import Trust
from ops.backups.sources import RestoreSource
from ops.backups.stages import Stage
from ops.backups.table_policy import kept_in_every_restore, kept_with_untrusted_files
from ops.backups.verify import LoadResult, load_and_migrate, migrate, require_known
from ops.errors import ArtifactInvalid, OpsError, PreconditionFailed
from ops.utils.progress import Progress, ProgressCallback

UNDO = "undo"
"""What replaced a database that an undo has replaced."""


class PreBackupFailed(OpsError):
    """The database that is to be replaced could not be backed up first. Nothing was changed."""


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What a restore needs beside the database.

    `closed` holds writers off while its block lasts. Within it `permitted` is called, which raises PreconditionFailed
    where the requester may not put the scratch database in place. `back_up` makes the pre-restore backup and returns
    its name; None when the person goes without. `rebuild_index` puts the history into the database that "default" is;
    `point_of_no_return` is called when it can not be cancelled any more, and `mark_applied` right after the cut-over.
    `log` keeps a sentence with the run; `claims` records the databases that are made for it.
    """

    closed: Callable[[], AbstractContextManager[None]]
    permitted: Callable[[Scratch], None]
    back_up: Callable[[], str] | None
    write_history: Callable[[], None]
    no_way_back: Callable[[], None]
    is_in_place: Callable[[], None]
    log: Callable[[str], None]
    claims: Claims = NO_CLAIMS


@dataclass(frozen=True, kw_only=True)
class Restored:
    """A restore that is in place. `compared`: rows and content equal those of the manifest, which there was.

    `writes_closed` and `cut_over` are seconds: how long writers were held off, and how long the database was away.
    """

    backup: str
    rows: int
    tables: int
    compared: bool
    migrations: tuple[str, ...]
    left_out: tuple[LeftOut, ...]
    """Rows of an untrusted file that were not taken."""
    pre_backup: str
    undo: Undo | None
    writes_closed: float
    cut_over: float


def require_trust(source: RestoreSource, *, untrusted: bool) -> None:
    """Raises ArtifactInvalid for a file that is not trusted, unless the user knows and it was not tampered with."""
    match source.trust:
        case Trust.SIGNED:
            return
        case Trust.TAMPERED:
            raise ArtifactInvalid(
                f"{source.name} was changed after it was made: its signature does not fit. Nothing was changed.",
                "Restore another backup. To load its rows all the same, copy the file elsewhere and name the copy:"
                " restore_database --backup-file FILE --untrusted",
            )
    if untrusted:
        return
    why = "is not signed" if source.trust is Trust.UNSIGNED else "was signed with a key that is not named here"
    raise ArtifactInvalid(
        f"{source.name} {why}, so its origin is unknown. Nothing was changed.",
        "If it was made here before the key was changed, name the old key in BACKUP_SIGNING_KEY_FALLBACKS. To take its"
        " rows all the same, add --untrusted: the project's migrations make the tables, and nothing of the file is"
        " executed.",
    )


def require_engine(source: RestoreSource, engine: Engine) -> None:
    """Raises ArtifactInvalid for the backup of another kind of database."""
    if source.kind not in engine.kinds():
        theirs = "SQLite" if source.kind.startswith("sqlite") else "PostgreSQL"
        hint = "Restore it beside: start HomeRack with a DATABASE_URL of that kind."
        if theirs == "SQLite":
            hint = "Unpack it (gunzip) and move it: manage.py migrate_to_postgres --sqlite-path FILE"
        raise ArtifactInvalid(
            f"{source.name} is a backup of {theirs}, and the database is not. Nothing was changed.", hint
        )


def check(source: RestoreSource, *, engine: Engine, untrusted: bool) -> None:
    """All that can be told without reading the file."""
    require_trust(source, untrusted=untrusted)
    require_engine(source, engine)
    if not source.trusted:
        engine.require_ordinary_role()
    if source.manifest:
        require_known(source.manifest.migrations, source.name)


def restore(
    *, engine: Engine, source: RestoreSource, untrusted: bool, run: str, around: Surroundings, report: ProgressCallback
) -> Restored:
    """Replace the live database by `source`, all or nothing; it is kept as the undo.

    Raises ArtifactInvalid, VerificationFailed, PreconditionFailed or PreBackupFailed; then the live one is as it was.
    """
    check(source, engine=engine, untrusted=untrusted)
    with engine.scratch(for_swap=True, claims=around.claims) as scratch:
        filled = load_and_migrate(engine, scratch, source=source, report=report)
        closed = time.monotonic()
        with around.closed():
            around.permitted(scratch)
            pre_backup = pre_restore_backup(around)
            cut_over = put_in_place(
                engine,
                scratch,
                source.name,
                kept_tables=kept_in_every_restore() if source.trusted else kept_with_untrusted_files(),
                run=run,
                around=around,
                report=report,
            )
    return Restored(
        backup=source.name,
        rows=sum(filled.rows.values()),
        tables=len(filled.rows),
        compared=source.trusted and source.manifest is not None,
        migrations=filled.migrations,
        left_out=filled.left_out,
        pre_backup=pre_backup,
        undo=engine.undo_copy(),
        writes_closed=round(time.monotonic() - closed, 3),
        cut_over=round(cut_over, 3),
    )


def pre_restore_backup(around: Surroundings) -> str:
    if not around.back_up:
        return ""
    try:
        return around.back_up()
    except OpsError as error:
        why = error.message.rstrip(".")
        raise PreBackupFailed(
            f"The database could not be backed up before the restore: {why}. Nothing was changed.",
            "If it is broken, go without: --no-pre-backup. The database is kept aside all the same, and undo_restore"
            " brings it back.",
        ) from error


def put_in_place(
    engine: Engine,
    scratch: Scratch,
    backup: str,
    *,
    kept_tables: Collection[str],
    run: str,
    around: Surroundings,
    report: ProgressCallback,
) -> float:
    """Rows of `kept_tables` and the history go into the new database before everybody sees it.

    Returns the seconds of the swap alone.
    """
    around.no_way_back()
    report(Progress(stage=Stage.HISTORY))
    for not_copied in scratch.copy_live_rows(kept_tables):
        around.log(not_copied)
    with scratch.as_default():
        around.write_history()
    report(Progress(stage=Stage.CUT_OVER))
    began = time.monotonic()
    engine.swap(scratch, run=run, backup=backup, claims=around.claims)
    around.is_in_place()
    return time.monotonic() - began


def restore_beside(
    *,
    engine: Engine,
    source: RestoreSource,
    name: str,
    untrusted: bool,
    report: ProgressCallback,
    claims: Claims = NO_CLAIMS,
) -> LoadResult:
    """Load `source` into the new database `name` and leave it there."""
    check(source, engine=engine, untrusted=untrusted)
    with engine.scratch(name=name, for_swap=False, claims=claims) as scratch:
        filled = load_and_migrate(engine, scratch, source=source, report=report)
        scratch.keep()
    return filled


@dataclass(frozen=True, kw_only=True)
class Undone:
    """An undo that is in place; seconds as in `Restored`. `undo` brings back what was live until now."""

    brought_back: Undo
    undo: Undo | None
    migrations: tuple[str, ...]
    writes_closed: float
    cut_over: float


def require_undo(engine: Engine) -> Undo:
    """Raises PreconditionFailed when no database is kept."""
    undo = engine.undo_copy()
    if undo is None:
        raise PreconditionFailed(
            "There is nothing to undo: no database is kept from a restore.",
            "A backup from before it may be there: list_backups",
        )
    return undo


def undo(*, engine: Engine, run: str, around: Surroundings, report: ProgressCallback) -> Undone:
    """Put the kept database back in one step. Raises PreconditionFailed or OpsError, and nothing was changed."""
    kept = require_undo(engine)
    with engine.undo_scratch() as scratch:
        migrations = migrate(scratch, kept.name, report=report)
        closed = time.monotonic()
        with around.closed():
            around.permitted(scratch)
            cut_over = put_in_place(
                engine,
                scratch,
                UNDO,
                kept_tables=kept_in_every_restore(),
                run=run,
                around=around,
                report=report,
            )
    return Undone(
        brought_back=kept,
        undo=engine.undo_copy(),
        migrations=migrations,
        writes_closed=round(time.monotonic() - closed, 3),
        cut_over=round(cut_over, 3),
    )
