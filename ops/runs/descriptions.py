"""Results as sentences, for the terminal and the admin."""

import datetime as dt
from collections.abc import Iterator, Mapping
from functools import singledispatch

from django.utils import timezone
from msgspec import Struct

from ops.backups.engines.base import PreviousDatabase, describe_left_out
from ops.backups.event_files import REPORTS
from ops.backups.manifest import Level, Verification
from ops.backups.record import LOCAL
from ops.backups.recovery_kit import NAME_LENGTH
from ops.backups.reports import Check, RestoreTest
from ops.backups.suspicion import Suspicion
from ops.engine_migration.result import MigrationResult
from ops.runs.results import (
    UNDO,
    BackupResult,
    CopyResult,
    DecisionResult,
    DeletionResult,
    DownloadResult,
    DropResult,
    EditResult,
    FileDeletionResult,
    LocationResult,
    PreflightResult,
    PruneResult,
    RecoveryKitResult,
    RestoreResult,
    SettingsResult,
    SqliteMigrationResult,
    UndoResult,
    UploadResult,
    VerificationResult,
)
from ops.runs.setting_words import describe_change
from ops.utils.formatting import (
    format_datetime,
    format_duration,
    format_size,
    format_timespan,
    join_names,
    pluralize,
)
from ops.utils.progress import Stage

ENGINES = {"postgresql": "PostgreSQL", "sqlite": "SQLite"}
LEVELS = {Level.READ: "read back", Level.RESTORED: "restore tested"}
"""For lists."""
TESTS = {Level.READ: "Verification", Level.RESTORED: "Restore test"}
MATCHES = {Level.READ: "all row counts match", Level.RESTORED: "all tables match"}
"""What a verification that passed has shown; "the snapshot" may follow."""


@singledispatch
def describe(result: Struct) -> list[str]:
    """What the run did, in complete sentences."""
    raise TypeError(f"{type(result).__name__} is not the result of a run.")


@describe.register
def _(result: BackupResult) -> list[str]:
    is_compressed = result.size != result.uncompressed_size
    uncompressed = f" ({format_size(result.uncompressed_size)} uncompressed)" if is_compressed else ""
    size = f"{format_size(result.size)}{uncompressed}"
    return [
        f"{rows_and_tables(result)}. {size}. Took {format_duration(result.duration)}.",
        f"Verified by reading it back: {MATCHES[Level.READ]} the snapshot.",
        *(describe_suspicion(result.backup, result.suspicion) if result.suspicion else ()),
        *([f"The previous database was backed up as {result.pre_restore}."] if result.pre_restore else ()),
        *([f"The previous database was not backed up: {result.pre_restore_error}"] if result.pre_restore_error else ()),
        *describe_deleted(result.deleted),
    ]


@describe.register
def _(result: VerificationResult) -> list[str]:
    tests = {test.backup: test for test in result.tests}
    return [
        *(
            sentence
            for name, verification in result.verifications.items()
            for sentence in (
                describe_verification(name, verification),
                *(describe_test(tests[name]) if name in tests else ()),
                *map(str, verification.not_kept),
            )
        ),
        *describe_unread(result),
    ]


def describe_unread(result: VerificationResult) -> list[str]:
    return [f"{name} could not be read. {reason}" for name, reason in result.unread.items()]


def describe_test(test: RestoreTest) -> Iterator[str]:
    """What a restore test has measured and checked."""
    if test.note:
        yield test.note
    opened = f", and opened with the key {test.key}" if test.key else ""
    yield f"Read from {test.where}{opened}."
    if test.recovery_point_age is not None:
        age = format_timespan(dt.timedelta(seconds=test.recovery_point_age))
        yield f"Data loss if only {test.location} is left (RPO): {age}, the age of the newest good backup there."
    if test.passed:
        yield f"Time to restore from {test.location} (RTO): {format_duration(test.recovery_time)}."
    if test.seconds:
        yield f"Seconds of each stage: {', '.join(describe_stages(test))}."
    if test.checks:
        yield f"Checks: {', '.join(map(describe_check, test.checks))}."
    if test.report:
        yield f"Report: {REPORTS}/{test.report}"


def describe_stages(test: RestoreTest) -> Iterator[str]:
    """With three decimals, for comparisons. Download and decryption take place during the load."""
    for stage, seconds in test.seconds.items():
        read = f" (of which {test.reading:.3f} for download and decryption)" if stage == Stage.LOAD else ""
        yield f"{stage} {seconds:.3f}{read}"


def describe_check(check: Check) -> str:
    return f"{check.name} ({pluralize(check.number, check.unit)}) {'passed' if check.passed else 'FAILED'}"


@describe.register
def _(result: RestoreResult) -> list[str]:
    compared = "; contents match the manifest." if result.compared else "; there is no manifest to compare with."
    left_out = describe_left_out(result.left_out, is_done=True)
    read = [f"Read from {result.where}."] if result.where else []
    sentences = [rows_and_tables(result) + compared, *read, *left_out, *map(str, result.not_kept)]
    if result.database:
        return [*sentences, f"The rows are in {result.database}; the live database was not touched."]
    if result.recovered_from:
        return [*sentences, *describe_recovery(result)]
    return [*sentences, *describe_pre_backup(result), *describe_swap(result)]


def describe_pre_backup(result: RestoreResult) -> Iterator[str]:
    """The backup of the database that the restore replaced."""
    if result.pre_backup:
        yield f"The database as it was before the restore was backed up as {result.pre_backup}."
    elif result.pre_backup_error or (result.previous and result.previous.backup_due):
        why = f" {result.pre_backup_error}" if result.pre_backup_error else ""
        yield f"The restore is done, and the previous database was NOT backed up.{why}"
        yield (
            "Until it is, it is kept, and no other restore can start. Every backup run tries it again; to do that now:"
            " manage.py backup_database"
        )
    else:
        yield "The database was not backed up before the restore, as requested."


@describe.register
def _(result: UndoResult) -> list[str]:
    undone = "undo" if result.restored.backup == UNDO else "restore"
    when = format_datetime(result.restored.replaced_at)
    again = f"The database is again as it was before the {undone} ({when})."
    return [again, *map(str, result.not_kept), *describe_swap(result)]


@describe.register
def _(result: DropResult) -> list[str]:
    freed = "" if result.dropped.size is None else f", which freed {format_size(result.dropped.size)}"
    return [f"{result.dropped.name} was dropped{freed}."]


@describe.register
def _(result: PruneResult) -> list[str]:
    deleted = describe_deleted(result.deleted)
    return [f"{pluralize(len(result.kept), 'backup')} kept.", *deleted] if deleted else ["Nothing to prune."]


@describe.register
def _(result: CopyResult) -> list[str]:
    return [sentence for name, location in result.locations.items() for sentence in describe_location(name, location)]


def describe_location(name: str, result: LocationResult) -> list[str]:
    """What a run did in one storage location."""
    if result.error:
        return [f"{name}: {result.error.rstrip('.')}."]
    copied = f"{pluralize(len(result.copied), 'backup')} copied and read back ({format_size(result.size)})"
    done = [copied] if result.copied else []
    done += [f"{pluralize(len(result.deleted), 'backup')} deleted"] if result.deleted else []
    return [f"{name}: {'; '.join(done) or 'up to date'}."]


@describe.register
def _(result: UploadResult) -> list[str]:
    return [f"{rows_and_tables(result)}; {format_size(result.size)}. Its origin is unknown, so it is not trusted."]


@describe.register
def _(result: DownloadResult) -> list[str]:
    return [f"Read from {result.where}."]


@describe.register
def _(result: EditResult) -> list[str]:
    return [
        "The backup is pinned." if result.pinned else "The retention policy applies to the backup.",
        f"Its note is “{result.note}”." if result.note else "It has no note.",
    ]


@describe.register
def _(result: SettingsResult) -> list[str]:
    changed = [f"{describe_change(change)}." for change in result.changes]
    return changed or ["The settings were written again."]


@describe.register
def _(result: DecisionResult) -> list[str]:
    decided = pluralize(len(result.decided), "suspicious backup is", "suspicious backups are")
    if result.right:
        told = f"{decided} right. Later backups are compared with {max(result.decided)}."
    else:
        told = f"{decided} wrong. Later backups are compared with those before."
    restore = f"To restore the last good backup: manage.py restore_database {result.last_good}"
    undecided = f"Suspicious all the same, and undecided: {join_names(result.undecided)}."
    return [
        told,
        *([undecided] if result.undecided else ["The retention policy applies again to all backups."]),
        *([restore] if result.last_good and not result.right else []),
    ]


@describe.register
def _(result: DeletionResult) -> list[str]:
    return [f"{result.backup} was deleted, which freed {format_size(result.size)}."]


@describe.register
def _(result: PreflightResult) -> list[str]:
    if result.acceptable:
        found = [f"All {pluralize(result.rows, 'row')} can be migrated as they are."]
    else:
        found = list(describe_obstacles(result))
    return [*found, *([result.not_tried] if result.not_tried else [])]


def describe_obstacles(result: PreflightResult) -> Iterator[str]:
    tables, columns = result.unknown_tables, result.unknown_columns
    if result.findings:
        yield f"{result.reader} would refuse or change {pluralize(result.findings, 'value')}."
    if tables:
        number = pluralize(len(tables), f"table of the {result.source} has", f"tables of the {result.source} have")
        yield f"{number} no model: {join_names(tables)}."
    if columns:
        number = pluralize(len(columns), f"column of the {result.source} has", f"columns of the {result.source} have")
        yield f"{number} no field of a model: {join_names(columns)}."


@describe.register
def describe_migration(result: MigrationResult) -> list[str]:
    tables = pluralize(sum(table.rows > 0 for table in result.tables), "table")
    sentences = [f"{pluralize(result.rows, 'row')} in {tables} are in {result.target}, compared value by value."]
    if result.refused:
        sentences.append(f"{pluralize(result.refused, 'row')} were refused and are in quarantine.")
    return [*sentences, *map(str, result.not_kept)]


@describe.register
def _(result: SqliteMigrationResult) -> list[str]:
    if result.blocked_by:
        return describe(result.blocked_by)
    return [
        *describe_migration(result),
        f"Rows that were written after {describe_snapshot(result)} are only in PostgreSQL.",
    ]


@describe.register
def _(result: FileDeletionResult) -> list[str]:
    return [f"{join_names(result.files)} was deleted, which freed {format_size(result.size)}."]


@describe.register
def _(result: RecoveryKitResult) -> list[str]:
    return [f"The recovery kit {result.recipient[-NAME_LENGTH:]}, with the public key {result.recipient}."]


def describe_snapshot(result: SqliteMigrationResult) -> str:
    """The moment whose rows are in the file, to the second, in the site's zone."""
    return f"{timezone.localtime(result.taken_at):%Y-%m-%d %H:%M:%S %Z}"


def describe_verification(name: str, verification: Verification) -> str:
    where = "" if verification.location == LOCAL else f" in {verification.location}"
    test = f"{TESTS[verification.level]} of {name}{where}"
    if verification.error:
        return f"{test} failed: {verification.error}."
    took = format_duration(verification.duration)
    return f"{test} passed in {took}: {MATCHES[verification.level]} the snapshot."


def describe_recovery(result: RestoreResult) -> list[str]:
    damaged = [f"{name} is damaged and was not used: {fault}" for name, fault in result.skipped.items()]
    taken = [f"The data are from {format_datetime(result.taken_at)}."] if result.taken_at else []
    migrated = [f"{migrations_applied(result)}."] if result.migrations else []
    return [f"The database was lost, and recovered from {result.recovered_from}.", *taken, *damaged, *migrated]


def migrations_applied(result: RestoreResult | UndoResult) -> str:
    return f"{pluralize(len(result.migrations), 'migration was', 'migrations were')} applied"


def describe_swap(result: RestoreResult | UndoResult) -> list[str]:
    unavailable = f"the database was unavailable for {result.cut_over:.2f} s."
    kept = [describe_previous(result.previous)] if result.previous else []
    migrated = [f"{migrations_applied(result)}."] if result.migrations else []
    return [*migrated, f"Writes were blocked for {format_duration(result.writes_blocked)}; {unavailable}", *kept]


def describe_previous(previous: PreviousDatabase) -> str:
    return f"The previous database is kept as {previous.name} ({format_size(previous.size)}) for the undo."


def describe_replacement(previous: PreviousDatabase) -> str:
    """What replaced it: ``the restore of …`` or ``the undo``."""
    return "the undo" if previous.backup == UNDO else f"the restore of {previous.backup}"


def describe_suspicion(name: str, suspicion: Suspicion) -> list[str]:
    """What a suspicious backup has lost, and what to do."""
    return [
        f"The backup is suspicious: the database has lost much since {suspicion.compared_with}.",
        *suspicion.describe(),
        *suspicion.choices(name),
        "Until then, no backup that exists now is pruned.",
    ]


def describe_deleted(deleted: Mapping[str, str]) -> list[str]:
    return [f"Deleted {name}: {reason}." for name, reason in deleted.items()]


def rows_and_tables(result: BackupResult | RestoreResult | UploadResult) -> str:
    return f"{pluralize(result.rows, 'row')} in {pluralize(result.tables, 'table')}"
