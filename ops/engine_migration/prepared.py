"""What is ready to be migrated, with what the preflight, and a dry run, have found in it."""

import zoneinfo
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ops.databases.sqlite.files import sync
from ops.databases.sqlite.snapshot import Snapshot, Source
from ops.engine_migration.findings import FindingLog
from ops.engine_migration.plan import Plan
from ops.engine_migration.refusals import PreflightResult
from ops.errors import PreconditionFailed
from ops.utils.progress import Stage

FIX_THE_VALUES = (
    "Fix the values in the file, or add --quarantine DIR to migrate without these rows and the rows that refer to them."
)
FIX_THE_ROWS = (
    "Fix the values in PostgreSQL, or add --quarantine DIR to migrate without these rows and the rows that refer to"
    " them."
)
NO_COMMIT = (
    "The role may not create databases, so everything was tried in one transaction of the target, which was rolled"
    " back. Not tried: its commit."
)
NO_SERVER = (
    "Not tried: the schema, its constraints and the load in PostgreSQL, because POSTGRES_URL is not set. They are tried"
    " by manage.py migrate_to_postgres --dry-run."
)


@dataclass(frozen=True, kw_only=True)
class MigrationOptions:
    """The options of one migration."""

    keep_copy: bool = True
    strip_nul: bool = False
    quarantine: Path | None = None
    skip_tables: frozenset[str] = frozenset()
    zone: zoneinfo.ZoneInfo | None = None
    """The zone of times without an offset; None is the one in which Django reads them."""
    media_dir: Path | None = None
    """The files that rows of a legacy file name."""


class RowsRefused(PreconditionFailed):
    """The target refuses rows that the preflight did not find. They are among the findings. Nothing was changed."""


@dataclass(kw_only=True)
class PreparedMigration:
    """What has been read and checked in either direction; nothing was written to the target yet."""

    options: MigrationOptions
    plan: Plan
    preflight: PreflightResult
    """With the rows that the target refused when they were loaded, once that was tried."""
    log: FindingLog
    seconds: Mapping[str, float]
    rehearsed: bool = False
    """All of the migration but the cut-over was tried."""
    load_notes: tuple[str, ...] = ()
    missing: FindingLog
    """The rows that name missing files."""
    file_notes: tuple[str, ...]
    """What is said of the files that rows name."""
    not_tried: str = ""
    """What the dry run could not try."""

    @property
    def size(self) -> int:
        """Bytes of the source."""
        raise NotImplementedError

    @property
    def findings_file(self) -> Path | None:
        return self.log.path if self.log.count else None

    @property
    def notes(self) -> tuple[str, ...]:
        return (*self.plan.notes, *self.file_notes, *self.load_notes)

    @property
    def acceptable(self) -> bool:
        return not self.preflight.count and not self.plan.unknown

    @property
    def is_blocked(self) -> bool:
        """Whether findings block it: unknown tables, or refused values without a quarantine."""
        return not self.acceptable and (bool(self.plan.unknown) or not self.options.quarantine)

    @property
    def estimate(self) -> float:
        """Seconds that the migration will take: as long as it took without the cut-over, or a few times the reading."""
        return sum(self.seconds.values()) if self.rehearsed else 3 + 4 * self.seconds[Stage.PREFLIGHT]


@dataclass(kw_only=True)
class PreparedFile(PreparedMigration):
    """A SQLite file that is ready to be migrated to PostgreSQL."""

    source: Source
    snapshot: Snapshot
    copy: Path | None
    """Where the snapshot is kept after the cut-over, if it is."""

    @property
    def size(self) -> int:
        return self.snapshot.size

    def keep_copy(self) -> None:
        """Keep the snapshot. Until then it is in a working directory, which is deleted."""
        if self.copy:
            self.snapshot.path.rename(self.copy)
            sync(self.copy.parent)
