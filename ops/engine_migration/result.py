"""The result of a migration."""

from msgspec import Struct

from ops.databases.postgres.differences import NotKept
from ops.utils.schema import Count, Line, Seconds


class MigratedTable(Struct, frozen=True, kw_only=True):
    """A migrated table. `sha256` is that of its content, equal on both sides."""

    name: Line
    label: Line
    rows: Count
    refused: Count
    sha256: Line


class MigrationResult(Struct, frozen=True, kw_only=True):
    """A migration that was verified and swapped in; `seconds` by stage."""

    target: Line
    tables: tuple[MigratedTable, ...]
    seconds: dict[Line, Seconds]
    not_kept: tuple[NotKept, ...] = ()
    """Owners, privileges and settings of the empty database that the filled one does not have."""

    @property
    def rows(self) -> int:
        return sum(table.rows for table in self.tables)

    @property
    def refused(self) -> int:
        return sum(table.refused for table in self.tables)
