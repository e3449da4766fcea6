"""What a preflight has found."""

import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ops.engine_migration.findings import FindingLog, Group
from ops.engine_migration.plan import TablePlan


@dataclass(frozen=True, kw_only=True)
class PreflightResult:
    """`refused`: by table, the row ids of a file, or the keys of rows of PostgreSQL.

    `non_canonical`: columns by table with cells that need `ColumnType.convert`.
    """

    count: int
    groups: tuple[Group, ...]
    refused: Mapping[str, Sequence[Any]]
    non_canonical: Mapping[str, frozenset[str]]
    stripped: Mapping[str, int]
    """By ``table.column``, the number of cells from which --strip-nul removes NUL characters."""

    def rows_of(self, table: TablePlan) -> int:
        return table.rows - len(self.refused.get(table.name, ()))

    @property
    def rows_refused(self) -> int:
        return sum(map(len, self.refused.values()))


def no_findings(tables: Iterable[TablePlan]) -> PreflightResult:
    """For a file with the values as Django stores them, which are canonical but for those of some types."""
    return PreflightResult(
        count=0,
        groups=(),
        refused={},
        non_canonical={
            table.name: frozenset(column.name for column in table.columns if not column.type.stored_canonical)
            for table in tables
        },
        stripped={},
    )


def with_refused(result: PreflightResult, refused: Mapping[str, Iterable[int]], log: FindingLog) -> PreflightResult:
    """`result` with other refused rows, and the findings of `log`."""
    rows = {name: array.array("q", sorted(found)) for name, found in refused.items() if found}
    return replace(result, refused=rows, count=log.count, groups=log.groups)
