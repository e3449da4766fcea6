"""The results of runs, by kind. A run stores its result as JSON, which `read_result` reads."""

from collections.abc import Mapping
from typing import Literal, Self

import msgspec
from msgspec import Struct

from ops.backups.engines.base import LeftOut, PreviousDatabase
from ops.backups.manifest import Verification
from ops.backups.reports import RestoreTest
from ops.backups.suspicion import Suspicion
from ops.databases.postgres.differences import NotKept
from ops.engine_migration.plan import Skipped
from ops.engine_migration.result import MigrationResult
from ops.errors import ArtifactInvalid
from ops.models import Run
from ops.utils import schema
from ops.utils.schema import Count, Line, Moment, Seconds, Text

UNDO = "undo"
"""Stands for the name of the backup in the record of a database that an undo replaced."""


class BackupResult(Struct, frozen=True, kw_only=True):
    """A verified backup. `deleted` maps the names of the backups that were pruned afterwards to the reasons.

    `suspicion` is what it has lost since the backups before it. `pre_restore` is the backup of the previous database
    that was due and was made as well, or '' with the reason why that failed.
    """

    backup: Line
    rows: Count
    tables: Count
    size: Count
    uncompressed_size: Count
    duration: Seconds
    suspicion: Suspicion | None = None
    pre_restore: Line = ""
    pre_restore_error: Text = ""
    deleted: dict[Line, Text]


class VerificationResult(Struct, frozen=True, kw_only=True):
    """Verifications by the name of the backup; some may have failed."""

    verifications: dict[Line, Verification]
    unread: dict[Line, Text] = {}
    """Backups of which no copy could be read, because no location with a good copy answered; each with the reason."""
    tests: tuple[RestoreTest, ...] = ()
    """What each restore test has shown."""

    @property
    def passed(self) -> bool:
        return not self.unread and all(verification.passed for verification in self.verifications.values())


class RestoreResult(Struct, frozen=True, kw_only=True):
    """A restore. `compared`: there was a manifest, and the rows and contents match it.

    `database` is the new database of ``--to``, or '' if the live one was replaced. `writes_blocked` and
    `cut_over` are seconds: how long writes were blocked, and how long the database was unavailable.
    """

    backup: Line
    rows: Count
    tables: Count
    compared: bool
    location: Line = ""
    """The storage location from which the backup was read; '' for a file that is in none."""
    where: Line = ""
    """Name and address of that location."""
    migrations: tuple[Line, ...]
    left_out: tuple[LeftOut, ...]
    """Rows of an untrusted file that were not taken."""
    not_kept: tuple[NotKept, ...] = ()
    """Owners, privileges and settings of the live database that the restored one does not have."""
    database: Line = ""
    pre_backup: Line = ""
    pre_backup_error: Text = ""
    """Why the previous database could not be backed up after the swap. The restore is done all the same."""
    previous: PreviousDatabase | None = None
    writes_blocked: Seconds = 0
    cut_over: Seconds = 0
    recovered_from: Line = ""
    """The storage location, if the database was lost."""
    taken_at: Moment | None = None
    """The time of the data, if they were recovered."""
    skipped: dict[Line, Text] = {}
    """Newer backups that were damaged there: the fault of each."""


class UndoResult(Struct, frozen=True, kw_only=True):
    """An undo: `restored` is live again, `previous` was live until then. Seconds as in `RestoreResult`."""

    restored: PreviousDatabase
    previous: PreviousDatabase | None
    migrations: tuple[Line, ...]
    writes_blocked: Seconds
    cut_over: Seconds
    not_kept: tuple[NotKept, ...] = ()


class DropResult(Struct, frozen=True, kw_only=True):
    """The previous database that was dropped."""

    dropped: PreviousDatabase


class PruneResult(Struct, frozen=True, kw_only=True):
    """Backups by name, each with the reason."""

    deleted: dict[Line, Text]
    kept: dict[Line, Text]


class LocationResult(Struct, frozen=True, kw_only=True):
    """One storage location. `size` is the bytes that were copied; `deleted` maps names of backups to reasons.

    `error` says what kept it from having all copies.
    """

    copied: tuple[Line, ...] = ()
    size: Count = 0
    deleted: dict[Line, Text] = {}
    error: Text = ""

    def followed_by(self, other: Self) -> Self:
        """Both, as one."""
        return msgspec.structs.replace(
            other,
            copied=(*self.copied, *other.copied),
            size=self.size + other.size,
            deleted={**self.deleted, **other.deleted},
        )


class CopyResult(Struct, frozen=True, kw_only=True):
    """Copying to storage locations, by name."""

    locations: dict[Line, LocationResult]


class DownloadResult(Struct, frozen=True, kw_only=True):
    """A download of a backup, read from the storage location `location`; `where` is its name and address."""

    backup: Line
    location: Line
    where: Line


class UploadResult(Struct, frozen=True, kw_only=True):
    """A file that was added to the backups, untrusted."""

    backup: Line
    rows: Count
    tables: Count
    size: Count


class EditResult(Struct, frozen=True, kw_only=True):
    """The changed fields of a manifest."""

    backup: Line
    pinned: bool
    note: Text


class DecisionResult(Struct, frozen=True, kw_only=True):
    """A decision on a suspicious backup, and the names of all that it applies to.

    `undecided` are those that are suspicious all the same. `last_good` is the newest good backup of before, or ''.
    """

    backup: Line
    right: bool
    decided: tuple[Line, ...]
    undecided: tuple[Line, ...]
    last_good: Line


class DeletionResult(Struct, frozen=True, kw_only=True):
    """A backup that was deleted; `size` is bytes, 0 if its manifest cannot be read."""

    backup: Line
    size: Count


class FileDeletionResult(Struct, frozen=True, kw_only=True):
    """SQLite files of migrations that were deleted; `size` is the bytes of all of them."""

    files: tuple[Line, ...]
    size: Count


class TableRows(Struct, frozen=True, kw_only=True):
    """A table that can be migrated."""

    table: Line
    rows: Count
    label: Line


class FindingGroup(Struct, frozen=True, kw_only=True):
    """Cells of one column that the reader would refuse or change for the same reason; `keys` are examples of rows."""

    table: Line
    column: Line
    reason: Text
    count: Count
    keys: tuple[Text, ...]


class PreflightResult(Struct, frozen=True, kw_only=True):
    """Whether a database can be migrated to the other engine as it is. `estimate` is seconds for the migration.

    `reader` is that engine, which may refuse values. `not_tried` is a sentence about what could not be tried without a
    server, or without the right to create databases.
    """

    reader: Literal["PostgreSQL", "SQLite"]
    acceptable: bool
    rows: Count
    size: Count
    estimate: Seconds
    tables: tuple[TableRows, ...]
    skipped: tuple[Skipped, ...]
    unknown: tuple[Skipped, ...]
    notes: tuple[Text, ...]
    findings: Count
    groups: tuple[FindingGroup, ...]
    findings_file: Text
    not_tried: Text = ""

    @property
    def source(self) -> str:
        """What was read, as sentences name it."""
        return "file" if self.reader == "PostgreSQL" else "database"

    @property
    def unknown_tables(self) -> list[str]:
        return [unknown.table for unknown in self.unknown if "." not in unknown.table]

    @property
    def unknown_columns(self) -> list[str]:
        return [unknown.table for unknown in self.unknown if "." in unknown.table]


class SqliteMigrationResult(MigrationResult, frozen=True, kw_only=True):
    """The migration of a snapshot, taken at `taken_at`, to the new file `target`.

    With `blocked_by`, findings prevented it: there is no file.
    """

    taken_at: Moment
    blocked_by: PreflightResult | None = None


class RecoveryKitResult(Struct, frozen=True, kw_only=True):
    """A recovery kit that was made, proven or withdrawn: its public key."""

    recipient: Line


class SettingChange(Struct, frozen=True, kw_only=True):
    """The values of a setting as users read them. A secret that was replaced may have the same label."""

    name: Line
    before: Text
    after: Text


class SettingsResult(Struct, frozen=True, kw_only=True):
    """Settings that were changed in the admin."""

    changes: tuple[SettingChange, ...]


RESULTS: Mapping[str, type[Struct]] = {
    Run.Kind.BACKUP: BackupResult,
    Run.Kind.VERIFICATION: VerificationResult,
    Run.Kind.RESTORE_TEST: VerificationResult,
    Run.Kind.RESTORE: RestoreResult,
    Run.Kind.UNDO: UndoResult,
    Run.Kind.DROP_PREVIOUS: DropResult,
    Run.Kind.PRUNE: PruneResult,
    Run.Kind.COPY: CopyResult,
    Run.Kind.UPLOAD: UploadResult,
    Run.Kind.DOWNLOAD: DownloadResult,
    Run.Kind.CHANGE: EditResult,
    Run.Kind.DECISION: DecisionResult,
    Run.Kind.DELETION: DeletionResult,
    Run.Kind.PREFLIGHT: PreflightResult,
    Run.Kind.MIGRATION: MigrationResult,
    Run.Kind.MIGRATION_TO_SQLITE: SqliteMigrationResult,
    Run.Kind.SQLITE_DELETION: FileDeletionResult,
    Run.Kind.RECOVERY_KIT: RecoveryKitResult,
    Run.Kind.KIT_PROOF: RecoveryKitResult,
    Run.Kind.KIT_WITHDRAWAL: RecoveryKitResult,
    Run.Kind.SETTINGS: SettingsResult,
}


def read_result(kind: str, document: object) -> Struct | None:
    """The result of a run of that kind; None if there is none or it is malformed."""
    if kind not in RESULTS or not document:
        return None
    try:
        return schema.read_document(document, RESULTS[kind], what="The result of a run")
    except ArtifactInvalid:
        return None
