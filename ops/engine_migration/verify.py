"""Verifies that PostgreSQL has every value of every row of the snapshot.

Ranges of rows, in the order of the primary key, are turned into one text on both sides. PostgreSQL sends only its
SHA-256; where that differs, the rows are compared value by value, so that the error can name them. JSON is always
compared as parsed, because one value can be written in many ways.

Characters that separate values and rows are not escaped, which would take longer than all else. Instead they are
counted: a text that has as many as it should can be read in one way only. Other rows are compared value by value.
"""

import contextlib
import hashlib
import itertools
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from psycopg2.extensions import cursor as Cursor  # noqa: N812

from ops.databases.postgres.queries import fetch_row
from ops.databases.sqlite.snapshot import Snapshot
from ops.engine_migration.findings import excerpt
from ops.engine_migration.plan import ColumnPlan, TablePlan
from ops.engine_migration.refusals import PreflightResult
from ops.engine_migration.sessions import PostgresDatabase
from ops.engine_migration.source_sql import (
    balanced,
    chunk_rows,
    chunks,
    connect,
    exclude_refused,
    register_converters,
    rendered,
    rows_of,
)
from ops.engine_migration.types.documents import escape_json, same_documents, same_json
from ops.engine_migration.workers import PARTS_PER_TABLE, for_each, split
from ops.errors import VerificationFailed
from ops.utils.identifiers import quoted
from ops.utils.progress import Progress, ProgressCallback, Stage, accumulate

DIFFERENCES_NAMED = 5
LARGE_RANGE = 16_000_000
"""Bytes of the rows of a range where each range takes a reading of the whole table."""
BETWEEN_VALUES, BETWEEN_ROWS = "\x1f", "\x1e"
SEPARATORS = r"E'\x1f'", r"E'\x1e'"
"""The same in PostgreSQL's SQL."""
VALUES_PER_CALL = 99
"""PostgreSQL takes 100 arguments to a function."""
Key = tuple[str, ...]
"""The texts of the columns of a primary key, as PostgreSQL writes them."""
Bound = tuple[Any, ...] | None
Range = tuple[Bound, Bound]
"""Primary keys ``(after, up_to)``; None is without bound."""


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """Rows of one side: the SHA-256 of their text and of the bits of their floating-point numbers, the number of rows,
    and the documents of each JSON column as one array. A text is `ambiguous` if values have characters that separate.
    """

    sha256: str
    rows: int
    documents: tuple[str | None, ...]
    ambiguous: bool = False

    def equals(self, other: "Chunk") -> bool:
        if self.ambiguous or (self.sha256, self.rows) != (other.sha256, other.rows):
            return False
        pairs = zip(self.documents, other.documents, strict=True)
        return all(left == right or same_documents(left or "[]", right or "[]") for left, right in pairs)


class Parts:
    """What one row is compared by: SQL for its line, its floating-point numbers and its documents.

    The properties are their names in a subquery. Rows are sorted by columns, which these names must not hide.
    """

    def __init__(self, table: TablePlan, line: str, floats: Sequence[str], documents: Sequence[str]) -> None:
        named = {
            table.unused("line"): line,
            **{table.unused(f"f{number}"): text for number, text in enumerate(floats)},
            **{table.unused(f"d{number}"): text for number, text in enumerate(documents)},
        }
        self.line, *others = named
        self.floats, self.documents = others[: len(floats)], others[len(floats) :]
        self.selected = ", ".join(f"{text} AS {name}" for name, text in named.items())


class SourceTable:
    """A table of the snapshot, without its refused rows."""

    def __init__(self, table: TablePlan, connection: sqlite3.Connection, preflight: PreflightResult) -> None:
        self.table = table
        self.connection = connection
        self.non_canonical = preflight.non_canonical.get(table.name, frozenset())
        register_converters(connection, table, self.non_canonical)
        self.kept = exclude_refused(connection, preflight.refused, table)
        self.order = ", ".join(self.key_of(table.column(name)) for name in table.key)

    def text_of(self, column: ColumnPlan) -> str:
        return rendered(column, column.type.source_text, non_canonical=column.name in self.non_canonical)

    def key_of(self, column: ColumnPlan) -> str:
        if column.type.native_order and column.name not in self.non_canonical:
            return quoted(column.name)
        return f"{self.text_of(column)} COLLATE BINARY"

    def ranges(self, rows: int) -> Iterator[Range]:
        """Consecutive ranges from before the first key to after the last, covering every row of the target."""
        if self.table.key_is_row and self.order == quoted(self.table.key[0]):
            bounds: list[Bound] = [(last,) for _, last, _ in chunks(self.connection, self.table)]
            yield from itertools.pairwise([None, *bounds[:-1], None])
            return
        low: Bound = None
        while True:
            condition, parameters = self.within(low, None)
            high = self.connection.execute(
                f"SELECT {self.order} FROM {rows_of(self.table)} WHERE {condition}"
                f" ORDER BY {self.order} LIMIT 1 OFFSET {rows - 1}",
                parameters,
            ).fetchone()
            yield low, high
            if high is None:
                return
            low = high

    def within(self, low: Bound, high: Bound) -> tuple[str, list[Any]]:
        marks = f"({', '.join('?' * len(self.table.key))})"
        conditions = [self.kept]
        if low is not None:
            conditions.append(f"({self.order}) > {marks}")
        if high is not None:
            conditions.append(f"({self.order}) <= {marks}")
        return " AND ".join(conditions), [*(low or ()), *(high or ())]

    def read(self, low: Bound, high: Bound) -> Chunk:
        condition, parameters = self.within(low, high)
        columns = self.table.columns
        line = balanced(f"||'{BETWEEN_VALUES}'||", list(map(self.value_in_line, columns)))
        floats = [f"ifnull({quoted(column.name)}, 0)" for column in columns if column.type.floating]
        documents = [f"ifnull({self.text_of(column)}, 'null')" for column in columns if column.type.document]
        parts = Parts(self.table, line, floats, documents)
        numbers = "".join(f", ifnull(all_float_bits({name}), x'')" for name in parts.floats)
        arrays = "".join(f", '[' || group_concat({name}) || ']'" for name in parts.documents)
        text, rows, *found = self.connection.execute(
            f"SELECT CAST(group_concat({parts.line}, '{BETWEEN_ROWS}') AS BLOB), count(*){numbers}{arrays}"
            f" FROM (SELECT {parts.selected} FROM {rows_of(self.table)} WHERE {condition} ORDER BY {self.order})",
            parameters,
        ).fetchone()
        text = text or b""
        separators = [text.count(separator.encode()) for separator in (BETWEEN_VALUES, BETWEEN_ROWS)]
        return Chunk(
            sha256=hashlib.sha256(b"".join((text, *found[: len(floats)]))).hexdigest(),
            rows=rows,
            documents=tuple(found[len(floats) :]),
            ambiguous=separators != [rows * (len(columns) - 1), max(0, rows - 1)],
        )

    def value_in_line(self, column: ColumnPlan) -> str:
        if column.type.document or column.type.floating:
            return f"({quoted(column.name)} IS NULL)"
        text = self.text_of(column)
        return f"ifnull('=' || {text}, '')" if column.null else text

    def read_rows(self, low: Bound, high: Bound) -> list[tuple[Any, ...]]:
        condition, parameters = self.within(low, high)
        texts = ", ".join(map(self.text_of, self.table.columns))
        query = f"SELECT {texts} FROM {rows_of(self.table)} WHERE {condition} ORDER BY {self.order}"
        return self.connection.execute(query, parameters).fetchall()


class TargetTable:
    """A table of PostgreSQL, but for the rows with the keys `left_out`.

    `escapes`: its documents are escaped as those of the file were when they were copied, so that both are one text.
    """

    def __init__(
        self, table: TablePlan, cursor: Cursor, left_out: Sequence[Key] = (), *, escapes: bool = False
    ) -> None:
        self.table = table
        self.escapes = escapes
        self.cursor = cursor
        self.keys = [table.column(name) for name in table.key]
        self.kept = all_but(cursor, table, left_out)
        self.order = ", ".join(map(target_key, self.keys))

    def within(self, low: Bound, high: Bound) -> str:
        conditions = [self.kept]
        if low is not None:
            conditions.append(f"({self.order}) > {self.literals(low)}")
        if high is not None:
            conditions.append(f"({self.order}) <= {self.literals(high)}")
        return " AND ".join(conditions)

    def literals(self, bound: tuple[Any, ...]) -> str:
        types = (column.db_type if column.type.native_order else "text" for column in self.keys)
        values = (self.cursor.mogrify("%s", [value]).decode() for value in bound)
        return f"({', '.join(f'{value}::{kind}' for value, kind in zip(values, types, strict=True))})"

    def read(self, low: Bound, high: Bound) -> Chunk:
        columns = self.table.columns
        values = list(map(value_in_line, columns))
        calls = [values[start : start + VALUES_PER_CALL] for start in range(0, len(values), VALUES_PER_CALL)]
        line = f" || {SEPARATORS[0]} || ".join(f"concat_ws({SEPARATORS[0]}, {', '.join(call)})" for call in calls)
        floats = [f"coalesce({quoted(column.name)}, 0)" for column in columns if column.type.floating]
        documents = [f"coalesce({target_text(column)}, 'null')" for column in columns if column.type.document]
        parts = Parts(self.table, line, floats, documents)
        text = f"convert_to(string_agg({parts.line}, {SEPARATORS[1]}), 'UTF8')"
        content = " || ".join([text, *(f"string_agg(float8send({name}), '')" for name in parts.floats)])
        arrays = "".join(f", '[' || string_agg({name}, ',') || ']'" for name in parts.documents)
        digest, rows, *found = fetch_row(
            self.cursor,
            f"SELECT encode(sha256(coalesce({content}, '')), 'hex'), count(*){arrays}"
            f" FROM (SELECT {parts.selected} FROM {quoted(self.table.name)}"
            f" WHERE {self.within(low, high)} ORDER BY {self.order}) AS chunk",
        )
        if self.escapes:
            found = [array and escape_json(array) for array in found]
        return Chunk(sha256=digest, rows=rows, documents=tuple(found))

    def read_rows(self, low: Bound, high: Bound) -> list[tuple[Any, ...]]:
        self.cursor.execute(
            f"SELECT {', '.join(map(target_text, self.table.columns))} FROM {quoted(self.table.name)}"
            f" WHERE {self.within(low, high)} ORDER BY {self.order}"
        )
        return self.cursor.fetchall()


def all_but(cursor: Cursor, table: TablePlan, keys: Sequence[Key]) -> str:
    """SQL of PostgreSQL that is false for the rows with these `key_texts`."""
    if not keys:
        return "true"
    listed = b", ".join(cursor.mogrify("%s", [key]) for key in keys).decode()
    return f"({key_texts(table)}) NOT IN (VALUES {listed})"


def key_texts(table: TablePlan) -> str:
    """SQL of PostgreSQL for the texts of a row's primary key."""
    return ", ".join(key_text(table.column(name)) for name in table.key)


def key_text(column: ColumnPlan) -> str:
    return column.type.key_text.format(c=quoted(column.name)) or target_text(column)


def key_order(table: TablePlan) -> str:
    """SQL of PostgreSQL to sort by the primary key, also where a column of the result has the name of a key."""
    return ", ".join(f"{quoted(table.name)}.{quoted(name)}" for name in table.key)


def target_text(column: ColumnPlan) -> str:
    return column.type.target_text.format(c=quoted(column.name))


def target_key(column: ColumnPlan) -> str:
    """SQL of PostgreSQL to sort by, with the same order as in SQLite: of the type, or of the bytes of its text."""
    if column.type.native_order:
        return quoted(column.name)
    return f'({target_text(column)}) COLLATE "C"'


def value_in_line(column: ColumnPlan) -> str:
    """PostgreSQL: the same text as `SourceTable.value_in_line`."""
    if column.type.document or column.type.floating:
        return f"({quoted(column.name)} IS NULL)::int"
    text = target_text(column)
    return f"coalesce('=' || {text}, '')" if column.null else text


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
            items, work, processes=postgres.processes, on_progress=accumulate(on_progress), on_exit=postgres.close
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
