"""Results as sentences, for the terminal and the admin."""

from collections.abc import Mapping
from functools import singledispatch

from msgspec import Struct

from ops.backups.engines.base import PreviousDatabase, describe_left_out
from ops.backups.manifest import Level, Verification
from ops.engine_migration.result import MigrationResult
from ops.runs.results import (
    BackupResult,
    DeletionResult,
    DropResult,
    EditResult,
    PreflightResult,
    PruneResult,
    RestoreResult,
    UndoResult,
    UploadResult,
    VerificationResult,
)
from ops.utils.formatting import format_datetime, format_duration, format_size, pluralize

ENGINES = {"postgresql": "PostgreSQL", "sqlite": "SQLite"}
VERIFIED_BY = {
    Level.READ: "by reading it back: the row counts of all tables match the snapshot",
    Level.RESTORED: "by restoring it: the contents of all tables match the snapshot",
}
"""Follows the word "verified"."""
LEVELS = {Level.READ: "read back", Level.RESTORED: "restore tested"}
"""For lists."""


@singledispatch
def describe(result: Struct) -> list[str]:
    """What the run did, in complete sentences."""
    raise TypeError(f"{type(result).__name__} is not the result of a run.")


@describe.register
def _(result: BackupResult) -> list[str]:
    percent = 100 * result.size / (result.uncompressed_size or 1)
    sizes = f"{format_size(result.size)}, {percent:.0f}% of {format_size(result.uncompressed_size)}"
    return [
        f"{rows_and_tables(result)}; {sizes}; {format_duration(result.duration)}.",
        f"Verified {VERIFIED_BY[Level.READ]}.",
        *describe_deleted(result.deleted),
    ]


@describe.register
def _(result: VerificationResult) -> list[str]:
    return [describe_verification(name, verification) for name, verification in result.verifications.items()]


@describe.register
def _(result: RestoreResult) -> list[str]:
    compared = "; contents match the manifest." if result.compared else "; there is no manifest to compare with."
    sentences = [rows_and_tables(result) + compared, *describe_left_out(result.left_out)]
    if result.database:
        return [*sentences, f"The rows are in {result.database}; the live database was not touched."]
    backed_up = f"backed up as {result.pre_backup}" if result.pre_backup else "not backed up, as requested"
    return [*sentences, f"The previous state was {backed_up}.", *describe_swap(result)]


@describe.register
def _(result: UndoResult) -> list[str]:
    rolled_back = f"The database was rolled back to {format_datetime(result.restored.replaced_at)}."
    return [rolled_back, *describe_swap(result)]


@describe.register
def _(result: DropResult) -> list[str]:
    return [f"{result.dropped.name} was dropped, which freed {format_size(result.dropped.size)}."]


@describe.register
def _(result: PruneResult) -> list[str]:
    deleted = describe_deleted(result.deleted)
    return [f"{pluralize(len(result.kept), 'backup')} kept.", *deleted] if deleted else ["Nothing to prune."]


@describe.register
def _(result: UploadResult) -> list[str]:
    return [f"{rows_and_tables(result)}; {format_size(result.size)}. Its origin is unknown, so it is not trusted."]


@describe.register
def _(result: EditResult) -> list[str]:
    return ["The backup is pinned." if result.pinned else "The backup is subject to the retention policy."]


@describe.register
def _(result: DeletionResult) -> list[str]:
    return [f"{result.backup} was deleted, which freed {format_size(result.size)}."]


@describe.register
def _(result: PreflightResult) -> list[str]:
    if result.acceptable:
        return [f"All {pluralize(result.rows, 'row')} can be migrated as they are."]
    return [f"PostgreSQL would refuse or change {pluralize(result.findings, 'value')}."]


@describe.register
def _(result: MigrationResult) -> list[str]:
    tables = pluralize(sum(table.rows > 0 for table in result.tables), "table")
    sentences = [f"{pluralize(result.rows, 'row')} in {tables} are in {result.target}, compared value by value."]
    if result.refused:
        sentences.append(f"{pluralize(result.refused, 'row')} were refused and are in quarantine.")
    return sentences


def describe_verification(name: str, verification: Verification) -> str:
    if verification.error:
        return f"{name} failed: {verification.error}."
    return f"{name} was verified {VERIFIED_BY[verification.level]}; {format_duration(verification.duration)}."


def describe_swap(result: RestoreResult | UndoResult) -> list[str]:
    applied = [f"{pluralize(len(result.migrations), 'migration')} applied on top."] if result.migrations else []
    unavailable = f"the database was unavailable for {result.cut_over:.2f} s."
    kept = [describe_previous(result.previous)] if result.previous else []
    return [*applied, f"Writes were blocked for {format_duration(result.writes_blocked)}; {unavailable}", *kept]


def describe_previous(previous: PreviousDatabase) -> str:
    return f"The previous database is kept as {previous.name} ({format_size(previous.size)})."


def describe_deleted(deleted: Mapping[str, str]) -> list[str]:
    return [f"Deleted {name}: {reason}." for name, reason in deleted.items()]


def rows_and_tables(result: BackupResult | RestoreResult | UploadResult) -> str:
    return f"{pluralize(result.rows, 'row')} in {pluralize(result.tables, 'table')}"
