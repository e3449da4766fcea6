"""SQL that reads a planned table from the snapshot in chunks, and the SQL functions that it needs."""

import contextlib
import functools
import json
import math
import random
import sqlite3
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ops.databases.sqlite.files import read_only_uri, register_collations, sibling
from ops.databases.sqlite.snapshot import Snapshot
from ops.engine_migration.plan import ColumnPlan, TablePlan
from ops.engine_migration.types.base import Refused
from ops.engine_migration.types.numbers import FloatBits, float_bits, format_float
from ops.utils.identifiers import quoted

LARGEST_ROW = 2**63 - 1
OPERANDS = 50
COLUMNS_PER_PRINTF = 100
"""SQLite takes 127 arguments to a function by default."""
CHUNK_ROWS = 2000
CHUNK_BYTES = 1_000_000
MOST_GAPS = 4
"""Row numbers for each row, up to which the ranges of a table need not be counted."""
ATTACHED = "generic"
"""The name of the database with the texts of generic columns."""
PREPARED = "prepared"
"""The name of the database with the tables that a legacy format makes."""
PRINTF_FLOAT = "printf('%!.20g', {c})"


class InvalidText(bytes):
    """Text of SQLite that is not UTF-8."""


def read_text(stored: bytes) -> str | InvalidText:
    try:
        return stored.decode()
    except UnicodeDecodeError:
        return InvalidText(stored)


def connect(snapshot: Snapshot) -> sqlite3.Connection:
    """A read-only connection for one thread."""
    connection = sqlite3.connect(snapshot.uri, uri=True, isolation_level=None)
    connection.text_factory = read_text
    register_collations(connection)
    register_functions(connection)
    for name, path in ((ATTACHED, texts_path(snapshot)), (PREPARED, prepared_path(snapshot))):
        if path.exists():
            connection.execute(f"ATTACH ? AS {name}", [read_only_uri(path, immutable=True)])
    return connection


def register_functions(connection: sqlite3.Connection) -> None:
    """The functions that the SQL of `ColumnType` and of legacy formats uses."""
    connection.create_function("format_float", 1, format_float, deterministic=True)
    connection.create_function("float_bits", 1, float_bits, deterministic=True)
    connection.create_function("strip", 2, bytes.strip, deterministic=True)
    connection.create_function("json_of", 2, json_of, deterministic=True)
    connection.create_aggregate("all_float_bits", 1, FloatBits)  # type: ignore[arg-type]  # it may return bytes


def json_of(kind: str, value: bytes | float) -> str:
    """A stored value as JSON: of text its bytes, of a number with a point the number, of a BLOB its bytes.

    PostgreSQL refuses NUL characters in JSON, and nothing else is text there but UTF-8: such text, and a BLOB, is
    written as ``{"hex": "…"}``, and an infinite number as text.
    """
    if isinstance(value, float):
        return json.dumps(value if math.isfinite(value) else format_float(value))
    if kind == "text" and b"\0" not in value:
        with contextlib.suppress(UnicodeDecodeError):
            return json.dumps(value.decode(), ensure_ascii=False)
    return json.dumps({"hex": value.hex()})


def prepared_path(snapshot: Snapshot) -> Path:
    """The file with the tables that a legacy format makes, if it makes any."""
    return sibling(snapshot.path, ".prepared")


def texts_path(snapshot: Snapshot) -> Path:
    """The file with the texts of generic columns, while there is one."""
    return sibling(snapshot.path, ".texts")


@functools.cache
def exact_float() -> str:
    """SQL for the exact text of a floating-point number: SQLite's printf where that is exact.

    Its result depends on the processor and the version of SQLite, so it is tested with numbers of every size.
    """
    generator = random.Random(15)  # noqa: S311
    patterns = [generator.getrandbits(64).to_bytes(8, "little") for _ in range(3000)]
    everyday = [round(generator.uniform(-1e6, 1e6), generator.randrange(8)) for _ in range(1000)]
    numbers = [struct.unpack("<d", pattern)[0] for pattern in patterns] + everyday
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        query = f"SELECT {PRINTF_FLOAT.format(c='?')}"
        exact = all(
            float(connection.execute(query, [number]).fetchone()[0]) == number
            for number in numbers
            if abs(number) < 1.79e308  # neither NaN nor infinite, which are formatted otherwise
        )
    return PRINTF_FLOAT if exact else "format_float({c})"


def balanced(operator: str, operands: Sequence[str]) -> str:
    """SQL that joins `operands`, for tables with many columns: the depth of an expression has a limit."""
    if len(operands) <= OPERANDS:
        return operator.join(operands)
    middle = len(operands) // 2
    return f"({balanced(operator, operands[:middle])}){operator}({balanced(operator, operands[middle:])})"


def line_of(cells: Sequence[tuple[str, str]]) -> str:
    """SQL for one line of CSV with ``'`` as its quote, of formats and values for SQLite's printf."""
    groups = [cells[start : start + COLUMNS_PER_PRINTF] for start in range(0, len(cells), COLUMNS_PER_PRINTF)]
    pairs = [tuple(map(",".join, zip(*group, strict=True))) for group in groups]
    return balanced("||','||", [f"printf('{formats}', {values})" for formats, values in pairs])


def formatted(column: ColumnPlan, *, non_canonical: bool) -> tuple[str, str]:
    """Format and value of a cell for `line_of`: ``%Q`` quotes text, and writes NULL for NULL."""
    if column.type.copy_format and not column.null and not non_canonical:
        return column.type.copy_format, quoted(column.name)
    return "%Q", rendered(column, column.type.copy_text, non_canonical=non_canonical)


def rows_of(table: TablePlan, names: Sequence[str] | None = None) -> str:
    """A subquery with the row's number and the columns' values under the names they have in PostgreSQL."""
    wanted = [column for column in table.columns if names is None or column.name in names]
    values = "".join(f", {column.value} AS {quoted(column.name)}" for column in wanted)
    where = f" WHERE {table.where}" if table.where else ""
    return f"(SELECT {table.rowid} AS {table.row}{values} FROM {quoted(table.source)}{where})"


def chunk_rows(table: TablePlan) -> int:
    """The number of rows that make about a megabyte."""
    return max(1, min(CHUNK_ROWS, CHUNK_BYTES // max(1, table.bytes_per_row)))


def chunks(connection: sqlite3.Connection, table: TablePlan) -> Iterator[tuple[int, int, int]]:
    """``(first, last, rows)`` for consecutive ranges of row numbers that cover the table; `rows` add up to its rows."""
    bounds = find_ends(connection, table)
    if not bounds:
        return
    first, last = bounds
    numbers, size = last - first + 1, chunk_rows(table)
    if numbers > MOST_GAPS * table.rows:
        yield from count_chunks(connection, table)
        return
    # No row need be read for this; with gaps between the numbers, the rows of a range are an estimate.
    done = 0
    for start in range(first, last + 1, size):
        end = min(start + size - 1, last)
        until = table.rows * (end - first + 1) // numbers
        yield start, end, until - done
        done = until


def find_ends(connection: sqlite3.Connection, table: TablePlan) -> tuple[int, int] | None:
    """The first and the last row number. Each has a query, which reads no other row."""
    low, high = (f"(SELECT {end}({table.row}) FROM {rows_of(table, ())})" for end in ("min", "max"))
    ends: tuple[int | None, int | None] = connection.execute(f"SELECT {low}, {high}").fetchone()
    return None if ends[0] is None or ends[1] is None else (ends[0], ends[1])


def count_chunks(connection: sqlite3.Connection, table: TablePlan) -> Iterator[tuple[int, int, int]]:
    """The same by reading all row numbers."""
    query = (
        f"SELECT max({table.row}), count(*) FROM (SELECT {table.row} FROM {rows_of(table, ())}"
        f" WHERE {table.row} >= ? ORDER BY {table.row} LIMIT {chunk_rows(table)})"
    )
    first = -LARGEST_ROW - 1
    while first <= LARGEST_ROW:
        last, rows = connection.execute(query, [first]).fetchone()
        if not rows:
            return
        yield first, last, rows
        first = last + 1


def with_column(template: str, column: ColumnPlan) -> str:
    return template.format(c=quoted(column.name))


def conditions(column: ColumnPlan) -> list[tuple[str, str]]:
    """(SQL, reason): a cell for which the SQL is false is refused; without a reason, `ColumnType.convert` decides."""
    name = quoted(column.name)
    found = [(with_column(column.type.canonical_check, column), "")]
    if column.allowed is not None:
        found = [(f"{name} IN ({', '.join(column.allowed)})", f"unknown; known values are {', '.join(column.known)}")]
    return found


def or_null(column: ColumnPlan, condition: str) -> str:
    """SQL, 1 or 0: `condition` is true, or the cell is NULL and the column nullable."""
    null = "1" if column.null else "0"
    return f"CASE WHEN {quoted(column.name)} IS NULL THEN {null} WHEN {condition} THEN 1 ELSE 0 END"


def is_canonical(column: ColumnPlan) -> str:
    """SQL, 1 or 0: the cell is canonical, so Python need not see it."""
    return or_null(column, " AND ".join(f"({condition})" for condition, _ in conditions(column)))


def rendered(column: ColumnPlan, template: str, *, non_canonical: bool, converter: str = "") -> str:
    """SQL for a cell's text: by `template` where it is canonical, else by the function of `ColumnType.convert`."""
    name = quoted(column.name)
    text = with_column(template.replace("exact_float({c})", exact_float()), column)
    if non_canonical:
        converter = converter or converter_name(column)
        text = f"CASE WHEN {is_canonical(column)} THEN {text} ELSE {converter}({name}) END"
    if column.null and text != name:
        return f"CASE WHEN {name} IS NOT NULL THEN {text} END"
    return text


def converter_name(column: ColumnPlan) -> str:
    return quoted(f"convert_{column.name}")


def register_converters(connection: sqlite3.Connection, table: TablePlan, non_canonical: frozenset[str]) -> None:
    """Register `ColumnType.convert` for the columns with non-canonical cells."""
    for column in table.columns:
        if column.name in non_canonical:
            connection.create_function(f"convert_{column.name}", 1, null_safe(column.type.convert))


def null_safe(convert: Callable[[Any], str]) -> Callable[[Any], str | None]:
    return lambda value: None if value is None else convert(value)


def converted(connection: sqlite3.Connection, column: ColumnPlan, converter: str) -> str:
    """SQL for the text of a cell that is equal where PostgreSQL's values are; NULL for a refused cell.

    It uses a function named `converter`, which is registered.
    """
    connection.create_function(converter, 1, null_if_refused(column.type.convert))
    return rendered(column, column.type.source_text, non_canonical=True, converter=quoted(converter))


def null_if_refused(convert: Callable[[Any], str]) -> Callable[[Any], str | None]:
    def compare(value: Any) -> str | None:
        try:
            return None if value is None else convert(value)
        except Refused:
            return None

    return compare


def exclude_refused(connection: sqlite3.Connection, refused: Mapping[str, Iterable[int]], table: TablePlan) -> str:
    """An SQL condition that excludes the refused rows of `table`."""
    if not refused.get(table.name):
        return "1"
    return f"{table.row} NOT IN {listed(connection, f'refused_{table.name}', refused[table.name])}"


def listed(connection: sqlite3.Connection, name: str, rows: Iterable[int]) -> str:
    """SQL for the list of `rows`, which are put into the temporary table `name`."""
    connection.execute(f"CREATE TEMP TABLE IF NOT EXISTS {quoted(name)} (number INTEGER PRIMARY KEY)")
    connection.executemany(f"INSERT OR IGNORE INTO {quoted(name)} VALUES (?)", ([row] for row in rows))
    return f"(SELECT number FROM {quoted(name)})"
