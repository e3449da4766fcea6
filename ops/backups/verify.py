"""Verify a backup: read it back and count its rows, or load it into a scratch database and compare."""

import datetime as dt
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from ops.backups.engines.base import Engine, LeftOut, Scratch, Tables
from ops.backups.manifest import Level, Manifest, Verification
from ops.backups.record import LOCAL
from ops.backups.reports import CONTENTS, MIGRATIONS, ROWS, SHA256, Check, RestoreTest
from ops.backups.sources import Reading, RestoreSource
from ops.backups.untrusted.schema import build_schema
from ops.databases.leftovers import NO_CLAIMS, Claims
from ops.databases.migration_state import applied_migrations, require_known, run_migrations, state_of
from ops.databases.postgres.differences import NotKept
from ops.errors import ArtifactInvalid, OpsError, VerificationFailed
from ops.utils.formatting import join_names
from ops.utils.progress import Progress, ProgressCallback, Stage, StageTimer

MAX_NAMED = 5
RESTORE_STAGES = (Stage.LOAD, Stage.COMPARE, Stage.MIGRATE)
"""Those that a restore test measures, in their order."""
UNRELIABLE = "Do not rely on this backup; restore another one: manage.py list_backups"


class ContentsDiffer(VerificationFailed):
    """The numbers of rows are right, and their content is not."""


def read_back(*, engine: Engine, source: RestoreSource, on_progress: ProgressCallback) -> Verification:
    """Read the whole file: SHA-256, compression, end marker, and the rows of each table.

    A damaged file gives a verification with an `error`; other errors (no storage, no program) are raised.
    """
    started = time.monotonic()
    fault = ""
    try:
        counts = count_rows(engine, source, on_progress=on_progress)
        if source.manifest:
            fault = differences(with_excluded(counts, source.manifest), rows_of(source.manifest.tables), "rows")
    except ArtifactInvalid as error:
        fault = error.message
    return new_verification(Level.READ, fault, since=started)


def count_rows(engine: Engine, source: RestoreSource, *, on_progress: ProgressCallback) -> Mapping[str, int]:
    """Rows by table in the file, read to its end. Raises ArtifactInvalid when it is damaged."""
    if source.trusted:
        with source.open() as stream:
            return engine.count(stream, kind=source.kind, on_progress=on_progress)
    with engine.untrusted(source) as file:
        return file.rows


def restore_test(
    *, engine: Engine, source: RestoreSource, on_progress: ProgressCallback, claims: Claims = NO_CLAIMS
) -> RestoreTest:
    """Restore into a scratch database as a restore does, compare, and drop it. The live database is not touched.

    A damaged backup gives a result with an `error`; PreconditionFailed where the server takes no writes.
    """
    engine.require_writable()
    began_at, timer, reading = dt.datetime.now(dt.UTC), StageTimer(on_progress), Reading(source)
    error: OpsError | None = None
    not_kept: tuple[NotKept, ...] = ()
    try:
        with engine.swap_strategy(claims).scratch(for_swap=False, recorded=source.properties) as scratch:
            loaded = load_and_migrate(engine, scratch, source=reading.source, on_progress=timer.report)
            not_kept = loaded.not_kept
            timer.report(Progress(stage=Stage.CLEAN_UP))
    except (ArtifactInvalid, VerificationFailed) as raised:
        error = raised
    failed_in = timer.stage if error else ""
    timer.end_stage()
    seconds = {str(stage): round(timer.seconds[stage], 3) for stage in RESTORE_STAGES if stage in timer.seconds}
    return RestoreTest(
        backup=source.name,
        began_at=began_at,
        seconds=seconds,
        recovery_time=round(sum(seconds.values()), 3),
        reading=round(reading.seconds, 3),
        checks=tuple(checks_made(source.manifest, failed_in, error)) if source.manifest else (),
        error=error.message.rstrip(".") if error else "",
        not_kept=not_kept,
    )


def checks_made(manifest: Manifest, failed_in: str, error: OpsError | None) -> Iterator[Check]:
    """The checks up to the one that failed, which is the first of the stage `failed_in`."""
    tables = len(manifest.tables)
    for stage, name, number, unit in (
        (Stage.LOAD, SHA256, manifest.size, "byte"),
        (Stage.COMPARE, ROWS, tables, "table"),
        (Stage.COMPARE, CONTENTS, tables, "table"),
        (Stage.MIGRATE, MIGRATIONS, len(manifest.migrations), "migration"),
    ):
        failed = stage == failed_in and not (name == ROWS and isinstance(error, ContentsDiffer))
        yield Check(name=name, number=number, unit=unit, passed=not failed)
        if failed:
            return


def new_verification(level: Level, fault: str, *, since: float, location: str = LOCAL) -> Verification:
    """A verification of the copy in `location` that ends now; `since` is the monotonic time of its start."""
    duration = round(time.monotonic() - since, 3)
    now = dt.datetime.now(dt.UTC)
    return Verification(level=level, verified_at=now, duration=duration, error=fault.rstrip("."), location=location)


@dataclass(frozen=True, kw_only=True)
class LoadResult:
    """A loaded backup: rows by table, what was not copied from an untrusted file, and the migrations applied to it.

    `not_kept` are properties of the live database that it could not get.
    """

    rows: Mapping[str, int]
    left_out: tuple[LeftOut, ...] = ()
    migrations: tuple[str, ...]
    not_kept: tuple[NotKept, ...] = ()


def load_and_migrate(
    engine: Engine, scratch: Scratch, *, source: RestoreSource, on_progress: ProgressCallback
) -> LoadResult:
    """Load `source` into the scratch database, compare it with the manifest, and apply the code's newer migrations.

    Then give it the properties of the live database. Only the rows of an untrusted file are copied.

    Raises ArtifactInvalid for a damaged file, VerificationFailed when the loaded rows are not those of the snapshot.
    """
    if source.trusted:
        loaded = load_dump_and_migrate(scratch, source=source, on_progress=on_progress)
    else:
        loaded = load_rows_and_migrate(engine, scratch, source=source, on_progress=on_progress)
    return replace(loaded, not_kept=scratch.keep_properties())


def load_dump_and_migrate(scratch: Scratch, *, source: RestoreSource, on_progress: ProgressCallback) -> LoadResult:
    """All of a file that this installation has signed."""
    manifest = source.manifest
    on_progress(Progress(stage=Stage.LOAD, total=manifest.uncompressed_size if manifest else 0))
    with source.open() as stream:
        rows = scratch.load(stream, kind=source.kind, on_progress=on_progress)
    on_progress(Progress(stage=Stage.COMPARE, total=manifest.rows if manifest else 0))
    if manifest:
        rows = with_excluded(rows, manifest)
        compare(scratch.tables(on_progress), manifest)
    return LoadResult(rows=rows, migrations=migrate(scratch, source.name, on_progress=on_progress))


def load_rows_and_migrate(
    engine: Engine, scratch: Scratch, *, source: RestoreSource, on_progress: ProgressCallback
) -> LoadResult:
    """The project's migrations create the schema at the state of the file; then its rows are copied and checked."""
    on_progress(Progress(stage=Stage.LOAD))
    engine.require_ordinary_role()
    with engine.untrusted(source) as file:
        state = state_of(file.migrations, source.name)
        require_known(file.migrations, source.name)
        with scratch.as_default() as wrapper:
            build_schema(wrapper, state, on_progress=on_progress)
        loaded = file.copy_rows(scratch, on_progress=on_progress)
    scratch.analyze(on_progress)
    migrations = migrate(scratch, source.name, on_progress=on_progress)
    with scratch.as_default() as wrapper:
        wrapper.check_constraints()
    return LoadResult(rows=loaded.rows, left_out=loaded.left_out, migrations=migrations)


def migrate(scratch: Scratch, name: str, *, on_progress: ProgressCallback) -> tuple[str, ...]:
    """Apply the code's newer migrations, and return them. Raises PreconditionFailed when `name` is newer."""
    on_progress(Progress(stage=Stage.MIGRATE))
    with scratch.as_default() as wrapper:
        pending = require_known(applied_migrations(wrapper), name)
        if pending:
            run_migrations()
    return pending


def compare(found: Tables, manifest: Manifest) -> None:
    """Raises VerificationFailed naming the tables whose rows or content are not those of the snapshot."""
    if fault := differences(rows_of(found), rows_of(manifest.tables), "rows"):
        raise VerificationFailed(describe_difference(manifest, fault), UNRELIABLE)
    contents = {name: table.digest for name, table in found.items()}
    expected = {name: table.digest for name, table in manifest.tables.items()}
    if fault := differences(contents, expected, "content"):
        raise ContentsDiffer(describe_difference(manifest, fault), UNRELIABLE)


def describe_difference(manifest: Manifest, fault: str) -> str:
    return f"What was loaded from {manifest.name} is not what was backed up: {fault}. The live database is unchanged."


def with_excluded(rows: Mapping[str, int], manifest: Manifest) -> Mapping[str, int]:
    """A dump does not mention excluded tables: they count as empty, unless the dump has rows of theirs."""
    return {**{excluded.table: 0 for excluded in manifest.excluded}, **rows}


def rows_of(tables: Tables) -> Mapping[str, int]:
    return {name: table.rows for name, table in tables.items()}


def differences(found: Mapping[str, object], expected: Mapping[str, object], what: str) -> str:
    """A clause that names the tables in which the two differ, or ''."""
    faults = [
        f"{name} has {found[name]} {what} instead of {value}" if what == "rows" else f"the {what} of {name} differs"
        for name, value in expected.items()
        if name in found and found[name] != value
    ]
    faults += [f"{name} is missing" for name in expected if name not in found]
    faults += [f"{name} was not in the snapshot" for name in found if name not in expected]
    return join_names(faults, MAX_NAMED)
