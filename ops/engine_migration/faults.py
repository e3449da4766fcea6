"""Rows that PostgreSQL refuses, with its reasons."""

import re
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

import psycopg2

from ops.databases.postgres.constraints import DroppableObject
from ops.engine_migration.cell_checker import IDS_PER_QUERY, TableChecker, TableReport
from ops.engine_migration.findings import FindingLog
from ops.engine_migration.plan import TablePlan

QUOTED_VALUE = re.compile(r':?\s*["„»«][^"“«»]*["“«»]')


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A row that PostgreSQL refuses, with the columns and the reason.

    `is_consequence`: only because a row is refused to which it refers.
    """

    row: int
    columns: tuple[str, ...]
    reason: str
    is_consequence: bool = False


def explain(error: psycopg2.Error, row: int, table: TablePlan, part: DroppableObject | None) -> Fault:
    """The columns and the reason, without values of the row."""
    named = part.name if part else error.diag.constraint_name
    columns = part.columns if part else column_of(error, table)
    reasons = {
        "23502": "NULL in a column that is NOT NULL",
        "23505": f"not unique ({named}): another row has the same value",
        "23514": f"violates the check constraint {named}",
        "23P01": f"violates the exclusion constraint {named}",
    }
    if part:
        reasons["54000"] = f"too long for the index {part.name}"
    message = (error.diag.message_primary or "").rstrip(".")
    if str(error.pgcode).startswith("22"):
        message = QUOTED_VALUE.sub("", message)
    where = f" ({part.name})" if part else ""
    return Fault(row=row, columns=columns, reason=reasons.get(str(error.pgcode), f"PostgreSQL: {message}{where}"))


def column_of(error: psycopg2.Error, table: TablePlan) -> tuple[str, ...]:
    """The column that PostgreSQL names: in a field, or in the first line of the context, after the number of a line."""
    if error.diag.column_name:
        return (error.diag.column_name,)
    context = (error.diag.context or "").partition("\n")[0]
    names = (column.name for column in table.columns)
    return tuple(name for name in names if re.search(rf"\d, \w+ {re.escape(name)}\s?(:|$)", context))[:1]


def log_faults(connection: sqlite3.Connection, table: TablePlan, faults: Sequence[Fault], log: FindingLog) -> None:
    """Add them to the findings."""
    checker = TableChecker(connection, table, log, TableReport())
    by_row: dict[int, list[Fault]] = {}
    for fault in faults:
        by_row.setdefault(fault.row, []).append(fault)
    rows, names = sorted(by_row), [column.name for column in table.columns]
    for start in range(0, len(rows), IDS_PER_QUERY):
        ids = ", ".join(map(str, rows[start : start + IDS_PER_QUERY]))
        for row, key, values, _ in checker.read_rows(names, (), f"{table.row} IN ({ids})"):
            for fault in by_row[row]:
                columns = [table.column(name) for name in fault.columns if name in names]
                value = values[columns[0].name] if len(columns) == 1 else None
                checker.refuse(row, key, ", ".join(column.source for column in columns), value, fault.reason)
    log.flush()
