"""Reads every cell before anything is written, to find the values that PostgreSQL would refuse or change."""

import array
import contextlib
import sqlite3
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace

from ops.databases.sqlite.snapshot import Snapshot
from ops.engine_migration.cell_checker import TableChecker, TableReport
from ops.engine_migration.findings import FindingLog, Group
from ops.engine_migration.plan import Plan, TablePlan
from ops.engine_migration.source_sql import chunks, connect, exclude_refused, rows_of
from ops.engine_migration.workers import for_each, split
from ops.utils.progress import Progress, ProgressCallback, Stage, accumulate

PARTS_PER_TABLE = 8
"""Small enough parts that all processes end at about the same time."""


@dataclass(frozen=True, kw_only=True)
class PreflightResult:
    """`refused`: row ids by table. `non_canonical`: columns by table with cells that need `ColumnType.convert`."""

    count: int
    groups: tuple[Group, ...]
    refused: Mapping[str, Sequence[int]]
    non_canonical: Mapping[str, frozenset[str]]
    stripped: Mapping[str, int]
    """By ``table.column``, the number of cells from which --strip-nul removes NUL characters."""

    def rows_of(self, table: TablePlan) -> int:
        return table.rows - len(self.refused.get(table.name, ()))

    @property
    def rows_refused(self) -> int:
        return sum(map(len, self.refused.values()))


def with_refused(result: PreflightResult, refused: Mapping[str, Iterable[int]], log: FindingLog) -> PreflightResult:
    """`result` with other refused rows, and the findings of `log`."""
    rows = {name: array.array("q", sorted(found)) for name, found in refused.items() if found}
    return replace(result, refused=rows, count=log.count, groups=log.groups)


def run_preflight(
    *, plan: Plan, snapshot: Snapshot, log: FindingLog, quarantine: bool, processes: int, on_progress: ProgressCallback
) -> PreflightResult:
    """Check all tables of `plan`. With `quarantine`, rows that refer to refused ones are refused as well."""
    reports = {table.name: TableReport() for table in plan.tables}
    non_canonical = {name: found.non_canonical for name, found in reports.items()}
    sources = {table.name: table for table in plan.tables}

    def work(item: CheckItem, report: ProgressCallback) -> tuple[TableReport, FindingLog]:
        found, own_log = TableReport(), FindingLog(path=log.path)
        with contextlib.closing(connect(snapshot)) as connection:
            checker = TableChecker(connection, item.table, sources, own_log, found, non_canonical)
            if not item.ranges:
                checker.check_rules()
            for first, last, rows in item.ranges:
                checker.check_cells(first, last)
                report(Progress(stage=Stage.PREFLIGHT, item=item.table.name, done=rows, total=item.table.rows))
        own_log.flush()
        return found, own_log

    with contextlib.closing(connect(snapshot)) as connection:
        cells, rules = list_cells(connection, plan), [CheckItem(table=table) for table in plan.tables]
    # Constraints after all cells: comparing rows needs to know which columns have non-canonical values.
    for items, report in ((cells, accumulate(on_progress)), (rules, on_progress)):
        results = for_each(items, work, processes=processes, on_progress=report)
        for item, (found, own_log) in zip(items, results, strict=True):
            reports[item.table.name].add(found)
            log.merge(own_log)
    refused = {name: found.refused for name, found in reports.items() if found.refused}
    if quarantine and refused:
        with contextlib.closing(connect(snapshot)) as connection:
            refuse_dependants(connection, sources, non_canonical, refused, log)
    log.flush()
    return PreflightResult(
        count=log.count,
        groups=log.groups,
        refused={name: array.array("q", sorted(rows)) for name, rows in refused.items()},
        non_canonical={name: frozenset(found.non_canonical) for name, found in reports.items()},
        stripped={
            f"{name}.{column}": count for name, found in reports.items() for column, count in found.stripped.items()
        },
    )


@dataclass(frozen=True, kw_only=True)
class CheckItem:
    """A part of a table for one process: the cells of some `ranges` of rows; without any, the constraints."""

    table: TablePlan
    ranges: Sequence[tuple[int, int, int]] = ()


def list_cells(connection: sqlite3.Connection, plan: Plan) -> list[CheckItem]:
    by_size = sorted(plan.tables, key=lambda table: -table.rows * table.bytes_per_row)
    return [
        CheckItem(table=table, ranges=ranges)
        for table in by_size
        for ranges in split(list(chunks(connection, table)), PARTS_PER_TABLE)
    ]


def refuse_dependants(
    connection: sqlite3.Connection,
    sources: Mapping[str, TablePlan],
    non_canonical: Mapping[str, Set[str]],
    refused: dict[str, set[int]],
    log: FindingLog,
) -> None:
    """Add to `refused` all rows that refer to refused ones, directly or through other rows."""
    grown = True
    while grown:
        grown = False
        for table in sources.values():
            for reference in table.references:
                parent = sources.get(reference.target)
                if not parent or not refused.get(parent.name):
                    continue
                found = TableReport()
                checker = TableChecker(connection, table, sources, log, found, non_canonical)
                kept = exclude_refused(connection, refused, parent)
                value, lost = checker.comparable(reference, parent, f"NOT ({kept})")
                query = (
                    f"SELECT {table.row} FROM {rows_of(table)} WHERE {value} IN ({lost})"
                    f" AND {exclude_refused(connection, refused, table)}"
                )
                if checker.needs_conversion(reference, parent):
                    # Another row may have the same value.
                    query += f" AND {value} NOT IN ({checker.comparable(reference, parent, kept)[1]})"
                checker.refuse_rows(query, [reference.column], f"refers to a row of {parent.name} that is refused")
                if found.refused:
                    refused.setdefault(table.name, set()).update(found.refused)
                    grown = True
