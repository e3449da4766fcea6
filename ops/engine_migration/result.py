"""What a migration results in."""

from msgspec import Struct

from ops.utils.schema import Count, Line, Seconds


class MigratedTable(Struct, frozen=True, kw_only=True):
    """One table in its new place. `sha256` is over its content, equal on both sides."""

    name: Line
    label: Line
    rows: Count
    refused: Count
    sha256: Line


class MigrationResult(Struct, frozen=True, kw_only=True):
    """A migration that ended verified and in place; `seconds` by stage."""

    target: Line
    tables: tuple[MigratedTable, ...]
    seconds: dict[Line, Seconds]

    @property
    def rows(self) -> int:
        return sum(table.rows for table in self.tables)

    @property
    def refused(self) -> int:
        return sum(table.refused for table in self.tables)
