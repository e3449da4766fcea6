"""Finds the values that SQLite cannot hold exactly, before any row is copied."""

import contextlib
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from psycopg2.extensions import connection as Connection  # noqa: N812
from psycopg2.extensions import cursor as Cursor  # noqa: N812

from ops.databases.postgres.queries import fetch_row
from ops.engine_migration.findings import Finding, FindingLog, excerpt
from ops.engine_migration.plan import ColumnPlan, TablePlan
from ops.engine_migration.sessions import PostgresDatabase
from ops.engine_migration.source_sql import balanced
from ops.engine_migration.target_sql import Key, key_order, key_texts
from ops.engine_migration.to_sqlite.storing import StoredColumn
from ops.engine_migration.types.base import Limit, Refused
from ops.engine_migration.workers import for_each
from ops.utils.identifiers import quoted
from ops.utils.progress import Progress, ProgressCallback, Stage

ROWS_AT_ONCE = 1000
NOT_NULL = Limit(excess="{c} IS NULL", reason="NULL in a column that is NOT NULL")


@dataclass
class TableReport:
    """What the check of one table finds. `refused`: the keys of rows."""

    rows: int = 0
    bytes_per_row: int = 0
    refused: set[Key] = field(default_factory=set)


def check_tables(
    *,
    tables: Sequence[TablePlan],
    columns: Mapping[str, Sequence[StoredColumn]],
    postgres: PostgresDatabase,
    log: FindingLog,
    on_progress: ProgressCallback,
) -> dict[str, TableReport]:
    """The reports of all tables, by name. Findings are added to `log`."""

    def work(table: TablePlan, report: ProgressCallback) -> tuple[TableReport, FindingLog]:
        own_log = FindingLog(path=log.path)
        with postgres.session() as connection, connection.cursor() as cursor:
            found = check_limits(cursor, table, own_log)
        own_log.flush()
        report(Progress(stage=Stage.PREFLIGHT, item=table.name, done=found.rows, total=found.rows))
        return found, own_log

    results = for_each(
        tables,
        work,
        processes=postgres.processes,
        on_progress=on_progress,
        on_exit=postgres.close,
        waiting=postgres.address.waiting,
    )
    reports = {}
    for table, (found, own_log) in zip(tables, results, strict=True):
        reports[table.name] = found
        log.merge(own_log)
    asked = [
        (table, some) for table in tables if (some := [column for column in columns[table.name] if column.refuses])
    ]
    if asked:
        with postgres.through_django() as wrapper:
            for table, some in asked:
                check_in_python(wrapper.connection, table, some, reports[table.name], log)
    log.flush()
    return reports


# --- Files ---------------------------------------------------------------------------------------------------------
def read_names(connection: Connection, table: TablePlan, column: ColumnPlan) -> Generator[tuple[str, str], None, None]:
    """The primary key and the value of each row with text in `column`."""
    name = quoted(column.name)
    with contextlib.closing(connection.cursor(name="ops_names")) as cursor:
        cursor.execute(
            f"SELECT {name}::text, {key_texts(table)} FROM {quoted(table.name)} WHERE {name}::text <> ''"
            f" ORDER BY {key_order(table)}"
        )
        for value, *key in cursor:
            yield ", ".join(key), value


# --- Limits -----------------------------------------------------------------------------------------------------------
def check_limits(cursor: Cursor, table: TablePlan, log: FindingLog) -> TableReport:
    """Let PostgreSQL count the rows, and look for those beyond the limits of the types."""
    limits = [(column, limit) for column in table.columns for limit in limits_of(column)]
    excess = balanced(" OR ", [f"coalesce({with_name(limit, column)}, false)" for column, limit in limits]) or "false"
    sizes = [size for column in table.columns if (size := size_of(column))]
    size = balanced(" + ", sizes) or "0"
    rows, beyond, total = fetch_row(
        cursor,
        f"SELECT count(*), count(*) FILTER (WHERE {excess}), coalesce(sum({size}), 0)::bigint"
        f" FROM {quoted(table.name)}",
    )
    width = total // rows if rows else 0
    found = TableReport(rows=rows, bytes_per_row=width + 16 * len(table.columns))
    for column, limit in limits if beyond else ():
        cursor.execute(
            f"SELECT {text_of(column)}, {key_texts(table)} FROM {quoted(table.name)}"
            f" WHERE {with_name(limit, column)} ORDER BY {key_order(table)}"
        )
        for value, *key in cursor.fetchall():
            found.refused.add(tuple(key))
            log.add(finding_of(table, column, key, value, limit.reason))
    return found


def limits_of(column: ColumnPlan) -> tuple[Limit, ...]:
    return column.type.limits if column.null else (NOT_NULL, *column.type.limits)


def with_name(limit: Limit, column: ColumnPlan) -> str:
    return f"({limit.excess.format(c=quoted(column.name))})"


def size_of(column: ColumnPlan) -> str:
    """SQL for the bytes of a value that may be long; '' for any other."""
    name = quoted(column.name)
    if column.db_type == "bytea" or (column.type.text and column.type.stored == "{c}"):
        return f"coalesce(octet_length({name}), 0)"
    return f"coalesce(pg_column_size({name}), 0)" if column.type.text else ""


def text_of(column: ColumnPlan) -> str:
    return f"left({quoted(column.name)}::text, 200)"


def finding_of(table: TablePlan, column: ColumnPlan, key: Sequence[str], value: str | None, reason: str) -> Finding:
    return Finding(
        table=table.name,
        key=", ".join(key),
        column=column.name,
        stored_type=column.db_type if value is not None else "NULL",
        value=excerpt(value, column.name),
        reason=reason,
    )


# --- Values that SQL cannot check ---------------------------------------------------------------------------------
def check_in_python(
    connection: Connection, table: TablePlan, columns: Sequence[StoredColumn], found: TableReport, log: FindingLog
) -> None:
    """Make what Django would store of each value of `columns`, to see which it cannot."""
    selected = ", ".join([*(column.select for column in columns), *(text_of(column.column) for column in columns)])
    with contextlib.closing(connection.cursor(name="ops_check")) as cursor:
        cursor.execute(f"SELECT {selected}, {key_texts(table)} FROM {quoted(table.name)}")
        while rows := cursor.fetchmany(ROWS_AT_ONCE):
            for row in rows:
                key = row[2 * len(columns) :]
                if key in found.refused:
                    continue
                for position, column in enumerate(columns):
                    if reason := refusal(column, row[position]):
                        found.refused.add(key)
                        log.add(finding_of(table, column.column, key, row[len(columns) + position], reason))


def refusal(column: StoredColumn, value: Any) -> str:
    """Why the value cannot be stored, or ''."""
    if value is None or column.store is None:
        return ""
    try:
        column.store(value)
    except Refused as refused:
        return str(refused)
    return ""
