"""Reads every cell before anything is written, to find the values that PostgreSQL would refuse or change."""

import array
import contextlib
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ops.databases.sqlite.snapshot import Snapshot
from ops.engine_migration.cell_checker import TableChecker, TableReport
from ops.engine_migration.findings import FindingLog, Group
from ops.engine_migration.plan import Plan, TablePlan
from ops.engine_migration.source_sql import chunks, connect
from ops.engine_migration.types.base import NEVER
from ops.engine_migration.workers import for_each, split
from ops.utils.progress import Progress, ProgressCallback, Stage, accumulate

PARTS_PER_TABLE = 8
"""Small enough parts that all processes end at about the same time."""


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
            table.name: frozenset(column.name for column in table.columns if column.type.canonical_check == NEVER)
            for table in tables
        },
        stripped={},
    )


def with_refused(result: PreflightResult, refused: Mapping[str, Iterable[int]], log: FindingLog) -> PreflightResult:
    """`result` with other refused rows, and the findings of `log`."""
    rows = {name: array.array("q", sorted(found)) for name, found in refused.items() if found}
    return replace(result, refused=rows, count=log.count, groups=log.groups)


def run_preflight(
    *, plan: Plan, snapshot: Snapshot, log: FindingLog, processes: int, on_progress: ProgressCallback
) -> PreflightResult:
    """Check the cells of all tables of `plan`."""
    reports = {table.name: TableReport() for table in plan.tables}

    def work(item: CheckItem, report: ProgressCallback) -> tuple[TableReport, FindingLog]:
        found, own_log = TableReport(), FindingLog(path=log.path)
        with contextlib.closing(connect(snapshot)) as connection:
            checker = TableChecker(connection, item.table, own_log, found)
            for first, last, rows in item.ranges:
                checker.check_cells(first, last)
                report(Progress(stage=Stage.PREFLIGHT, item=item.table.name, done=rows, total=item.table.rows))
        own_log.flush()
        return found, own_log

    with contextlib.closing(connect(snapshot)) as connection:
        items = list_cells(connection, plan)
    results = for_each(items, work, processes=processes, on_progress=accumulate(on_progress))
    for item, (found, own_log) in zip(items, results, strict=True):
        reports[item.table.name].add(found)
        log.merge(own_log)
    return PreflightResult(
        count=log.count,
        groups=log.groups,
        refused={name: array.array("q", sorted(found.refused)) for name, found in reports.items() if found.refused},
        non_canonical={name: frozenset(found.non_canonical) for name, found in reports.items()},
        stripped={
            f"{name}.{column}": count for name, found in reports.items() for column, count in found.stripped.items()
        },
    )


@dataclass(frozen=True, kw_only=True)
class CheckItem:
    """Some `ranges` of rows of a table for one process."""

    table: TablePlan
    ranges: Sequence[tuple[int, int, int]]


def list_cells(connection: sqlite3.Connection, plan: Plan) -> list[CheckItem]:
    by_size = sorted(plan.tables, key=lambda table: -table.rows * table.bytes_per_row)
    return [
        CheckItem(table=table, ranges=ranges)
        for table in by_size
        for ranges in split(list(chunks(connection, table)), PARTS_PER_TABLE)
    ]
