"""A database that is ready to be migrated to SQLite."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ops.engine_migration.prepared import PreparedMigration
from ops.engine_migration.to_sqlite.source import DatabaseSnapshot
from ops.engine_migration.to_sqlite.storing import StoredColumn


@dataclass(kw_only=True)
class PreparedDatabase(PreparedMigration):
    """A database, and the empty `file` that is filled and then gets the name `path`."""

    snapshot: DatabaseSnapshot
    file: Path
    path: Path
    columns: Mapping[str, Sequence[StoredColumn]]
    """By table."""

    @property
    def size(self) -> int:
        return self.snapshot.size
