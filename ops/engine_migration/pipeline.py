"""The migration, step by step: snapshot, plan, preflight, copy, verification and cut-over."""

import contextlib
import datetime as dt
import secrets
import zoneinfo
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import psycopg2
from django.apps import apps
from django.contrib.auth.management import create_permissions
from django.contrib.contenttypes.management import create_contenttypes
from django.db import Error as DatabaseError
from django.db.backends.base.base import BaseDatabaseWrapper

from ops.conf import setting_name
from ops.databases.leftovers import Claims
from ops.databases.migration_state import applied_migrations, require_known
from ops.databases.override import override_database, sqlite_wrapper
from ops.databases.postgres import constraints
from ops.databases.postgres.connection import ConnectionInfo, server_detail, server_message
from ops.databases.sqlite.files import STOP_WRITERS, sync
from ops.databases.sqlite.snapshot import Snapshot, Source, take_snapshot
from ops.engine_migration.copying import copy_table, resolve_lookups
from ops.engine_migration.findings import FindingLog
from ops.engine_migration.legacy import LegacyFormat
from ops.engine_migration.orm_check import compare_through_django
from ops.engine_migration.plan import Plan, TablePlan
from ops.engine_migration.planner import Planner
from ops.engine_migration.preflight import PreflightResult, run_preflight
from ops.engine_migration.quarantine import write_quarantine
from ops.engine_migration.result import MigratedTable, MigrationResult
from ops.engine_migration.snapshot_directory import snapshot_directory
from ops.engine_migration.source import IF_FULL, open_source
from ops.engine_migration.source_sql import connect
from ops.engine_migration.target import StagingDatabase, Target, open_staging
from ops.engine_migration.types.datetimes import source_zone
from ops.engine_migration.verify import verify_tables
from ops.engine_migration.workers import for_each, suitable_processes
from ops.errors import OpsError, PreconditionFailed
from ops.utils.formatting import join_names
from ops.utils.identifiers import quoted
from ops.utils.progress import Progress, ProgressCallback, Stage, StageTimer


@dataclass(frozen=True, kw_only=True)
class MigrationOptions:
    """The options of one migration."""

    keep_copy: bool = True
    strip_nul: bool = False
    quarantine: Path | None = None
    skip_tables: frozenset[str] = frozenset()
    zone: zoneinfo.ZoneInfo | None = None
    """The zone of times without an offset; None is the one in which Django reads them."""


@dataclass(kw_only=True)
class PreparedMigration:
    """A file that has been read and checked; nothing was written to PostgreSQL yet."""

    options: MigrationOptions
    source: Source
    snapshot: Snapshot
    copy: Path | None
    """Where the snapshot is kept after the cut-over, if it is."""
    plan: Plan
    preflight: PreflightResult
    findings_file: Path | None
    seconds: Mapping[str, float]

    def keep_copy(self) -> None:
        """Keep the snapshot. Until then it is in a working directory, which is deleted."""
        if self.copy:
            self.snapshot.path.rename(self.copy)
            sync(self.copy.parent)

    @property
    def acceptable(self) -> bool:
        return not self.preflight.count and not self.plan.unknown

    @property
    def is_blocked(self) -> bool:
        """Whether findings block it: unknown tables, or refused values without a quarantine."""
        return not self.acceptable and (bool(self.plan.unknown) or not self.options.quarantine)

    @property
    def estimate(self) -> float:
        """Seconds that the rest will take: writing and verifying take a few times as long as reading."""
        return 3 + 4 * self.seconds[Stage.PREFLIGHT]


@contextlib.contextmanager
def prepare(
    *,
    path: Path,
    postgres: ConnectionInfo,
    legacy: LegacyFormat | None,
    options: MigrationOptions,
    keep_in: Path,
    on_progress: ProgressCallback,
) -> Iterator[PreparedMigration]:
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
        on_progress(Progress(stage=Stage.PREFLIGHT, total=plan.rows))
        log = FindingLog(path=directory.parent / f"{path.stem}_{stamp}_findings.csv")
        preflight = run_preflight(
            plan=plan,
            snapshot=snapshot,
            log=log,
            quarantine=bool(options.quarantine),
            processes=suitable_processes(plan.rows),
            on_progress=on_progress,
        )
        timer.end_stage()
        yield PreparedMigration(
            options=options,
            source=source,
            snapshot=snapshot,
            copy=keep_in / destination.name if options.keep_copy else None,
            plan=plan,
            preflight=preflight,
            findings_file=log.path if log.count else None,
            seconds=timer.seconds,
        )


def make_plan(
    snapshot: Snapshot, *, postgres: ConnectionInfo, legacy: LegacyFormat | None, options: MigrationOptions
) -> Plan:
    with (
        override_database(sqlite_wrapper(snapshot.uri)) as wrapper,
        contextlib.closing(connect(snapshot)) as connection,
    ):
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        is_own_format = "django_migrations" in tables
        if is_own_format:
            check_migrations(wrapper, snapshot.source)
        elif not legacy or not legacy.signature or not legacy.signature <= tables:
            raise unknown_format(snapshot.source, tables, legacy)
        return Planner(
            connection=connection,
            sqlite=wrapper,
            postgres=postgres.wrapper(),
            legacy=None if is_own_format else legacy,
            zone=source_zone(wrapper, options.zone),
            strip_nul=options.strip_nul,
            skip=options.skip_tables,
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
    prepared: PreparedMigration,
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
    plan, preflight, quarantine = prepared.plan, prepared.preflight, prepared.options.quarantine
    if quarantine and preflight.rows_refused:
        write_quarantine(directory=quarantine, plan=plan, snapshot=prepared.snapshot, preflight=preflight)
    timer.report(Progress(stage=Stage.SCHEMA))
    with translate_server_errors(target), open_staging(target, rows=plan.rows, claims=claims, locked=locked) as staging:
        tables, digests = copy_and_verify(staging, prepared, timer)
        add_missing_permissions(staging)
        if prepared.source.changed():
            raise PreconditionFailed(
                f"{prepared.source.path} was written to during the migration. The database {target.address} is"
                " unchanged.",
                STOP_WRITERS,
            )
        timer.report(Progress(stage=Stage.CUT_OVER))
    timer.end_stage()
    prepared.keep_copy()
    return MigrationResult(
        target=str(target.address),
        tables=tuple(
            MigratedTable(
                name=table.name,
                label=table.label,
                rows=preflight.rows_of(table),
                refused=len(preflight.refused.get(table.name, ())),
                sha256=digests[table.name],
            )
            for table in tables
        ),
        seconds={**prepared.seconds, **timer.seconds},
    )


@contextlib.contextmanager
def translate_server_errors(target: Target) -> Iterator[None]:
    """Raise errors of PostgreSQL and broken connections as OpsError."""
    try:
        yield
    except (psycopg2.Error, DatabaseError) as error:
        cause = error.__cause__ if isinstance(error.__cause__, psycopg2.Error) else error
        detail = server_detail(cause)
        raise OpsError(
            f"PostgreSQL ended the migration: {server_message(cause)}{f' ({detail})' if detail else ''}."
            f" The database {target.address} is unchanged.",
            "Run the command again. If it fails again, read the server's log.",
        ) from error


def copy_and_verify(
    staging: StagingDatabase, prepared: PreparedMigration, timer: StageTimer
) -> tuple[tuple[TablePlan, ...], Mapping[str, str]]:
    """Copy, build and verify all tables. Returns them with the digest of the content of each."""
    preflight, snapshot = prepared.preflight, prepared.snapshot
    with staging.session() as connection, connection.cursor() as cursor:
        tables = tuple(resolve_lookups(table, cursor) for table in prepared.plan.tables)
        parts = constraints.drop_indexes_and_keys(
            cursor, constraints.read_indexes_and_keys(cursor, [table.name for table in tables])
        )
    by_size = sorted(tables, key=lambda table: -table.rows * table.bytes_per_row)

    def copy(table: TablePlan, report: ProgressCallback) -> None:
        with staging.session() as connection:
            copy_table(table=table, snapshot=snapshot, target=connection, preflight=preflight, on_progress=report)

    timer.report(Progress(stage=Stage.COPY, total=prepared.plan.rows))
    for_each(by_size, copy, processes=staging.processes, on_progress=timer.report, on_exit=staging.close)
    build_indexes(staging, tables, parts, timer.report)
    timer.report(Progress(stage=Stage.VERIFY, total=prepared.plan.rows))
    digests = verify_tables(
        tables=tables, snapshot=snapshot, staging=staging, preflight=preflight, on_progress=timer.report
    )
    compare_through_django(
        tables=tables, snapshot=snapshot, staging=staging, preflight=preflight, chosen_zone=prepared.options.zone
    )
    return tables, digests


def build_indexes(
    staging: StagingDatabase,
    tables: tuple[TablePlan, ...],
    parts: constraints.IndexesAndKeys,
    on_progress: ProgressCallback,
) -> None:
    """Create indexes, then the keys that need them; then restart sequences and analyze."""
    rows = {table.name: table.rows for table in tables}
    steps = len(parts.indexes) + len(parts.keys)
    on_progress(Progress(stage=Stage.BUILD, total=steps))

    def build(part: constraints.DroppableObject, report: ProgressCallback) -> None:
        with staging.session() as connection, connection.cursor() as cursor:
            if part.others:
                constraints.lock_tables(cursor, part)
            cursor.execute(part.create)
        report(Progress(stage=Stage.BUILD, item=part.name, done=1, total=1))

    for group in (parts.indexes, parts.keys):
        by_size = sorted(group, key=lambda part: -rows.get(part.table, 0))
        for_each(by_size, build, processes=staging.processes, on_progress=on_progress, on_exit=staging.close)
    with staging.session() as connection, connection.cursor() as cursor:
        constraints.restart_sequences(cursor, {quoted(table.name): table.watermark for table in tables})
        # Without names, PostgreSQL would analyze its own tables too, which takes longer than those of a small file.
        cursor.execute(f"ANALYZE {', '.join(quoted(table.name) for table in tables)}")


def add_missing_permissions(staging: StagingDatabase) -> None:
    """Create content types and permissions that the file lacks: a model may gain one without a migration."""
    if staging.shared:
        create_all_permissions()
        return
    with override_database(staging.address.wrapper()):
        create_all_permissions()


def create_all_permissions() -> None:
    for config in apps.get_app_configs():
        create_contenttypes(config, verbosity=0, interactive=False)
        create_permissions(config, verbosity=0, interactive=False)
