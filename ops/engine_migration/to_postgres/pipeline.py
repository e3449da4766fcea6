"""The migration, step by step: snapshot, plan, preflight, copy, verification and cut-over."""

import contextlib
import datetime as dt
import secrets
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

from django.apps import apps
from django.contrib.auth.management import create_permissions
from django.contrib.contenttypes.management import create_contenttypes
from django.db.backends.base.base import BaseDatabaseWrapper

from ops.conf import setting_name
from ops.databases.leftovers import Claims
from ops.databases.migration_state import applied_migrations, require_known
from ops.databases.override import override_database, sqlite_wrapper
from ops.databases.postgres import triggers
from ops.databases.postgres.connection import ConnectionInfo
from ops.databases.sqlite.files import STOP_WRITERS
from ops.databases.sqlite.snapshot import Snapshot, take_snapshot
from ops.engine_migration.catalog import match_catalog
from ops.engine_migration.findings import FindingLog
from ops.engine_migration.generic import text_columns
from ops.engine_migration.legacy import LegacyFormat
from ops.engine_migration.missing_files import check_media_dir, find_missing_files
from ops.engine_migration.orm_check import compare_through_django
from ops.engine_migration.plan import Plan, TablePlan
from ops.engine_migration.planner import Planner
from ops.engine_migration.prepared import (
    FIX_THE_VALUES,
    NO_COMMIT,
    MigrationOptions,
    PreparedFile,
    RowsRefused,
)
from ops.engine_migration.prepared_tables import prepare_tables
from ops.engine_migration.quarantine import rows_of_file, write_quarantine
from ops.engine_migration.refusals import with_refused
from ops.engine_migration.result import MigratedTable, MigrationResult
from ops.engine_migration.sessions import translate_server_errors
from ops.engine_migration.source_sql import connect
from ops.engine_migration.to_postgres.copying import resolve_lookups
from ops.engine_migration.to_postgres.loading import Loader
from ops.engine_migration.to_postgres.preflight import read_names, run_preflight
from ops.engine_migration.to_postgres.snapshot_directory import snapshot_directory
from ops.engine_migration.to_postgres.source import IF_FULL, open_source
from ops.engine_migration.to_postgres.target import StagingDatabase, Target, open_staging
from ops.engine_migration.types.datetimes import source_zone
from ops.engine_migration.verify import verify_tables
from ops.engine_migration.workers import suitable_processes
from ops.errors import PreconditionFailed
from ops.utils.formatting import join_names, pluralize
from ops.utils.progress import Progress, ProgressCallback, Stage, StageTimer


@contextlib.contextmanager
def prepare(
    *,
    path: Path,
    postgres: ConnectionInfo,
    legacy: LegacyFormat | None,
    options: MigrationOptions,
    keep_in: Path,
    on_progress: ProgressCallback,
) -> Iterator[PreparedFile]:
    """Snapshot, plan and check the file at `path`. The snapshot is deleted when the block ends, unless it is kept.

    Raises PreconditionFailed or ArtifactInvalid when the file cannot be migrated at all, whatever its cells contain.
    """
    timer = StageTimer(on_progress)
    with (
        open_source(path) as source,
        snapshot_directory(keep_in, keep=options.keep_copy) as directory,
    ):
        stamp = f"{dt.datetime.now(dt.UTC):%Y%m%d_%H%M%S}_{secrets.token_hex(2)}"
        timer.report(Progress(stage=Stage.SNAPSHOT))
        destination = directory / f"{path.stem}_{stamp}.sqlite3"
        snapshot = take_snapshot(source=source, destination=destination, on_progress=on_progress, if_full=IF_FULL)
        timer.report(Progress(stage=Stage.PREFLIGHT))
        plan = make_plan(snapshot, postgres=postgres, legacy=legacy, options=options)
        check_media_dir(options.media_dir, plan.tables)
        on_progress(Progress(stage=Stage.PREFLIGHT, total=plan.rows))
        log = FindingLog(path=directory.parent / f"{path.stem}_{stamp}_findings.csv")
        preflight = run_preflight(
            plan=plan,
            snapshot=snapshot,
            log=log,
            processes=suitable_processes(plan.rows),
            on_progress=on_progress,
        )
        missing = FindingLog(path=directory.parent / f"{path.stem}_{stamp}_missing_files.csv")
        with contextlib.closing(connect(snapshot)) as connection:
            file_notes = find_missing_files(
                tables=plan.tables,
                read=partial(read_names, connection),
                log=missing,
                program=plan.format,
                media_dir=options.media_dir,
            )
        timer.end_stage()
        yield PreparedFile(
            options=options,
            source=source,
            snapshot=snapshot,
            copy=keep_in / destination.name if options.keep_copy else None,
            plan=plan,
            preflight=preflight,
            log=log,
            missing=missing,
            file_notes=file_notes,
            seconds=timer.seconds,
        )


def make_plan(
    snapshot: Snapshot, *, postgres: ConnectionInfo, legacy: LegacyFormat | None, options: MigrationOptions
) -> Plan:
    with override_database(sqlite_wrapper(snapshot.uri)) as wrapper:
        with contextlib.closing(connect(snapshot)) as connection:
            tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        is_own_format = "django_migrations" in tables
        if is_own_format:
            legacy = None
            check_migrations(wrapper, snapshot.source)
        elif not legacy or not legacy.signature or not legacy.signature <= tables:
            raise unknown_format(snapshot.source, tables, legacy)
        reads = prepare_tables(snapshot, legacy, if_full=IF_FULL) if legacy else {}
        with contextlib.closing(connect(snapshot)) as connection:
            return Planner(
                connection=connection,
                sqlite=wrapper,
                postgres=postgres.wrapper(),
                legacy=legacy,
                zone=source_zone(wrapper, options.zone),
                strip_nul=options.strip_nul,
                skip=options.skip_tables,
                reads=reads,
            ).build()


def unknown_format(path: Path, tables: set[str], legacy: LegacyFormat | None) -> PreconditionFailed:
    found = (
        f"its tables are {', '.join(sorted(tables)[:8])}{' …' if len(tables) > 8 else ''}"
        if tables
        else "it has no tables"
    )
    missing = f" A {legacy.name} file also has {', '.join(sorted(legacy.signature - tables))}." if legacy else ""
    return PreconditionFailed(
        f"{path} is not a file of this project: it has no django_migrations; {found}.",
        f"Specify the application's data file.{missing}",
    )


def check_migrations(wrapper: BaseDatabaseWrapper, path: Path) -> None:
    """Raises PreconditionFailed with the difference unless the file has exactly the migrations of the code."""
    pending = require_known(applied_migrations(wrapper), str(path))
    if pending:
        raise PreconditionFailed(
            f"{path} was written by an older version: it lacks {join_names(pending, 1)}.",
            f"Set {setting_name('DATABASES')} to this file, and run manage.py migrate first.",
        )


def migrate(
    *,
    prepared: PreparedFile,
    target: Target,
    claims: Claims,
    locked: bool,
    on_progress: ProgressCallback,
) -> MigrationResult:
    """Fill `target` with what was prepared, verify it, and swap it in; or leave the target unchanged.

    `claims` records the databases that are created, so that the next migration drops what a killed one leaves.
    Raises PreconditionFailed, VerificationFailed or OpsError.
    """
    timer = StageTimer(on_progress)
    quarantine = prepared.options.quarantine
    with staging_database(prepared, target, claims, timer, locked=locked, rehearsal=False) as staging:
        tables, digests = copy_and_verify(staging, prepared, timer)
        if prepared.is_blocked:
            raise RowsRefused(
                f"PostgreSQL refuses {pluralize(prepared.preflight.count, 'value')}. The database {target.address} is"
                f" unchanged. All findings: {prepared.findings_file}",
                FIX_THE_VALUES,
            )
        if quarantine and prepared.preflight.rows_refused:
            rows = partial(rows_of_file, prepared.snapshot, prepared.preflight)
            write_quarantine(quarantine, prepared.plan, prepared.preflight, rows)
        add_missing_permissions()
        if prepared.source.changed():
            raise PreconditionFailed(
                f"{prepared.source.path} was written to during the migration. The database {target.address} is"
                " unchanged.",
                STOP_WRITERS,
            )
        claims.mark_staging(target.address.database)
        timer.report(Progress(stage=Stage.CUT_OVER))
    timer.end_stage()
    prepared.keep_copy()
    return MigrationResult(
        target=str(target.address),
        tables=tuple(
            MigratedTable(
                name=table.name,
                label=table.label,
                rows=prepared.preflight.rows_of(table),
                refused=len(prepared.preflight.refused.get(table.name, ())),
                sha256=digests[table.name],
            )
            for table in tables
        ),
        seconds={**prepared.seconds, **timer.seconds},
        not_kept=tuple(staging.not_kept),
    )


def rehearse(
    *,
    prepared: PreparedFile,
    target: Target,
    claims: Claims,
    locked: bool,
    on_progress: ProgressCallback,
) -> None:
    """Do all that `migrate` does but the cut-over, so that `prepared` has all findings. The target stays as it is.

    Raises what `migrate` raises.
    """
    timer = StageTimer(on_progress)
    with staging_database(prepared, target, claims, timer, locked=locked, rehearsal=True) as staging:
        copy_and_verify(staging, prepared, timer)
        add_missing_permissions()
    timer.end_stage()
    prepared.load_notes += tuple(map(str, staging.not_kept))
    prepared.seconds = {**prepared.seconds, **timer.seconds}
    prepared.rehearsed = True
    if not target.renamed:
        prepared.not_tried = NO_COMMIT


@contextlib.contextmanager
def staging_database(
    prepared: PreparedFile, target: Target, claims: Claims, timer: StageTimer, *, locked: bool, rehearsal: bool
) -> Iterator[StagingDatabase]:
    timer.report(Progress(stage=Stage.SCHEMA))
    rows = prepared.plan.rows
    with (
        translate_server_errors(f"The database {target.address} is unchanged."),
        open_staging(target, rows=rows, claims=claims, locked=locked, rehearsal=rehearsal) as staging,
    ):
        yield staging


def copy_and_verify(
    staging: StagingDatabase, prepared: PreparedFile, timer: StageTimer
) -> tuple[tuple[TablePlan, ...], Mapping[str, str]]:
    """Load and verify all tables. Returns them with the digest of the content of each.

    Rows that PostgreSQL refuses become findings of `prepared`, and all others are loaded and verified, unless there are
    too many to find them all.
    """
    snapshot, quarantine = prepared.snapshot, bool(prepared.options.quarantine)
    with staging.session() as connection, connection.cursor() as cursor:
        tables = match_catalog(cursor, (resolve_lookups(table, cursor) for table in prepared.plan.tables))
        disabled = triggers.disable(cursor)
    digests: Mapping[str, str] = {}
    with text_columns(
        tables=tables,
        snapshot=snapshot,
        preflight=prepared.preflight,
        log=prepared.log,
        on_progress=timer.report,
    ) as (tables, preflight):
        loader = Loader(
            staging=staging,
            snapshot=snapshot,
            tables=tables,
            preflight=preflight,
            log=prepared.log,
            quarantine=quarantine,
            on_progress=timer.report,
        )
        try:
            loader.load()
        finally:
            prepared.preflight = with_refused(prepared.preflight, loader.refused, prepared.log)
            prepared.load_notes = (*disabled.sentences, *loader.notes)
        if not loader.unfinished:
            finished = loader.finish()
            timer.report(Progress(stage=Stage.VERIFY, total=prepared.plan.rows))
            digests = verify_tables(
                tables=tables, snapshot=snapshot, postgres=staging, preflight=loader.preflight, on_progress=timer.report
            )
            differing = compare_through_django(
                tables=tables,
                snapshot=snapshot,
                postgres=staging,
                preflight=loader.preflight,
                chosen_zone=prepared.options.zone,
            )
            prepared.load_notes = (*prepared.load_notes, *finished, *differing)
    with staging.session() as connection, connection.cursor() as cursor:
        triggers.enable(cursor, disabled)
    return tables, digests


def add_missing_permissions() -> None:
    """Create content types and permissions that the file lacks: a model may gain one without a migration."""
    for config in apps.get_app_configs():
        create_contenttypes(config, verbosity=0, interactive=False)
        create_permissions(config, verbosity=0, interactive=False)
