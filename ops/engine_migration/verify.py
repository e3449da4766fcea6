"""Verifies that PostgreSQL has every value of every row of the snapshot.

Ranges of rows are compared by the SHA-256 of their text (`compared_tables`). Where that differs, or where the text can
be read in more than one way, the rows are compared value by value, so that the error can name them.
"""

import contextlib
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ops.databases.sqlite.snapshot import Snapshot
from ops.engine_migration.compared_tables import Bound, Range, SourceTable, TargetTable
from ops.engine_migration.findings import excerpt
from ops.engine_migration.plan import ColumnPlan, TablePlan
from ops.engine_migration.refusals import PreflightResult
from ops.engine_migration.sessions import PostgresDatabase
from ops.engine_migration.source_sql import chunk_rows, connect
from ops.engine_migration.target_sql import Key, target_key
from ops.engine_migration.types.documents import same_json
from ops.engine_migration.workers import PARTS_PER_TABLE, for_each, split
from ops.errors import VerificationFailed
from ops.utils.identifiers import quoted
from ops.utils.progress import Progress, ProgressCallback, Stage, accumulate

DIFFERENCES_NAMED = 5
LARGE_RANGE = 16_000_000
"""Bytes of the rows of a range where each range takes a reading of the whole table."""


# --- Differences -------------------------------------------------------------------------------------------
def compare_rows(source: SourceTable, target: TargetTable, low: Bound, high: Bound) -> None:
    """Compare a range value by value. Raises VerificationFailed with the first differences."""
    table = source.table
    rows = source.read_rows(low, high), target.read_rows(low, high)
    ours, theirs = (by_key(table, side) for side in rows)
    lines = [f"row {key} is not in PostgreSQL" for key in ours if key not in theirs]
    lines += [f"row {key} is not in the file" for key in theirs if key not in ours]
    lines += [line for key in ours if key in theirs for line in differing_cells(table, key, ours[key], theirs[key])]
    if not lines and len(rows[0]) != len(rows[1]):
        lines = [f"{len(rows[0])} rows in the file, {len(rows[1])} in PostgreSQL"]
    if lines:
        listed = "\n  ".join(lines[:DIFFERENCES_NAMED])
        raise VerificationFailed(f"{table.name}: the contents in PostgreSQL and in the file differ:\n  {listed}")


def by_key(table: TablePlan, rows: Sequence[tuple[Any, ...]]) -> dict[str, tuple[Any, ...]]:
    positions = [[column.name for column in table.columns].index(name) for name in table.key]
    return {", ".join(str(row[position]) for position in positions): row for row in rows}


def differing_cells(table: TablePlan, key: str, ours: Sequence[Any], theirs: Sequence[Any]) -> Iterator[str]:
    for column, left, right in zip(table.columns, map(as_text, ours), theirs, strict=True):
        if not is_same(column, left, right):
            in_file, in_postgres = format_value(left, column), format_value(right, column)
            yield f"row {key}, column {column.name}: {in_file} in the file, {in_postgres} in PostgreSQL"


def is_same(column: ColumnPlan, left: Any, right: Any) -> bool:
    if column.type.document and left is not None and right is not None:
        return same_json(left, right)
    return bool(left == right)


def format_value(value: Any, column: ColumnPlan) -> str:
    return excerpt(value, column.name, column.type.show) or "NULL"


def as_text(value: Any) -> Any:
    return str(value) if isinstance(value, int | float) else value


# --- All tables -------------------------------------------------------------------------------------------------
@dataclass(frozen=True, kw_only=True)
class WorkItem:
    """Consecutive `ranges` of a table for one process."""

    table: TablePlan
    ranges: Sequence[Range]


def verify_tables(
    *,
    tables: Sequence[TablePlan],
    snapshot: Snapshot,
    postgres: PostgresDatabase,
    preflight: PreflightResult,
    on_progress: ProgressCallback,
    left_out: Mapping[str, Sequence[Key]] | None = None,
) -> dict[str, str]:
    """SHA-256 of each table's content, equal on both sides. Raises VerificationFailed.

    `left_out`: by table, the keys of rows of PostgreSQL that the file does not have.
    """
    left_out = left_out or {}

    def work(item: WorkItem, report: ProgressCallback) -> list[str]:
        table, digests = item.table, []
        with (
            contextlib.closing(connect(snapshot)) as connection,
            postgres.session() as session,
            session.cursor() as cursor,
        ):
            source = SourceTable(table, connection, preflight)
            target = TargetTable(table, cursor, left_out.get(table.name, ()), escapes=bool(postgres.snapshot))
            for low, high in item.ranges:
                ours = source.read(low, high)
                if not ours.equals(target.read(low, high)):
                    compare_rows(source, target, low, high)
                digests.append(ours.sha256)
                report(Progress(stage=Stage.VERIFY, item=table.name, done=ours.rows, total=preflight.rows_of(table)))
        return digests

    with indexed(postgres, tables, preflight):
        items = list_work(tables, snapshot, preflight, read_only=bool(postgres.snapshot))
        results = for_each(
            items,
            work,
            processes=postgres.processes,
            on_progress=accumulate(on_progress),
            on_exit=postgres.close,
            waiting=postgres.address.waiting,
        )
    parts: dict[str, list[str]] = {table.name: [] for table in tables}
    for item, digests in zip(items, results, strict=True):
        parts[item.table.name] += digests
    return {name: hashlib.sha256("".join(digests).encode()).hexdigest() for name, digests in parts.items()}


def list_work(
    tables: Sequence[TablePlan], snapshot: Snapshot, preflight: PreflightResult, *, read_only: bool
) -> list[WorkItem]:
    by_size = sorted(tables, key=lambda table: -table.rows * table.bytes_per_row)
    with contextlib.closing(connect(snapshot)) as connection:
        return [
            WorkItem(table=table, ranges=ranges)
            for table in by_size
            for ranges in split(
                list(SourceTable(table, connection, preflight).ranges(range_rows(table, read_only=read_only))),
                PARTS_PER_TABLE,
            )
        ]


def has_text_key(table: TablePlan) -> bool:
    return any(table.column(name).type.text for name in table.key)


def range_rows(table: TablePlan, *, read_only: bool) -> int:
    """The rows of a range: more where PostgreSQL reads the whole table for each, for want of an index."""
    if not (read_only and has_text_key(table)):
        return chunk_rows(table)
    return max(chunk_rows(table), LARGE_RANGE // max(1, table.bytes_per_row))


@contextlib.contextmanager
def indexed(postgres: PostgresDatabase, tables: Sequence[TablePlan], preflight: PreflightResult) -> Iterator[None]:
    """Larger tables with text keys have an index in byte order while the block runs, unless a snapshot is read."""
    indexes: dict[str, str] = {}
    for table in () if postgres.snapshot else tables:
        keys = [table.column(name) for name in table.key]
        if preflight.rows_of(table) > chunk_rows(table) and has_text_key(table):
            listed = ", ".join(f"({target_key(column)})" for column in keys)
            indexes[f"ops_verify_{len(indexes)}"] = f"{quoted(table.name)} ({listed})"
    for name, definition in indexes.items():
        with postgres.session() as connection, connection.cursor() as cursor:
            cursor.execute(f"CREATE INDEX {name} ON {definition}")
    yield
    for name in indexes:
        with postgres.session() as connection, connection.cursor() as cursor:
            cursor.execute(f"DROP INDEX {name}")
