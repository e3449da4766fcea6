"""Reads every cell before anything is written, to find the values that PostgreSQL would refuse or change."""

import array
import contextlib
import sqlite3
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace

from ops.databases.sqlite.snapshot import Snapshot
from ops.engine_migration.cell_checker import TableChecker, TableReport
from ops.engine_migration.findings import FindingLog
from ops.engine_migration.plan import ColumnPlan, Plan, TablePlan
from ops.engine_migration.refusals import PreflightResult
from ops.engine_migration.source_sql import chunks, connect, rows_of
from ops.engine_migration.workers import PARTS_PER_TABLE, for_each, split
from ops.utils.identifiers import quoted
from ops.utils.progress import Progress, ProgressCallback, Stage, accumulate


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


def read_names(
    connection: sqlite3.Connection, table: TablePlan, column: ColumnPlan
) -> Generator[tuple[str, str], None, None]:
    """The primary key and the value of each row with text in `column`."""
    read = replace(table, columns=tuple({column: None, **dict.fromkeys(map(table.column, table.key))}))
    key = ", ".join(map(quoted, table.key))
    query = (
        f"SELECT {quoted(column.name)}, {key} FROM {rows_of(read)}"
        f" WHERE typeof({quoted(column.name)}) = 'text' AND {quoted(column.name)} <> '' ORDER BY {read.row}"
    )
    for value, *keys in connection.execute(query):
        if isinstance(value, str):
            yield ", ".join(map(str, keys)), value


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
