"""Columns of types that have no `ColumnType` of their own: arrays, ranges, enums, network addresses …

Each stored value is read as Django reads it from the file, and prepared as Django would write it to PostgreSQL, which
stores it in a temporary table with the type of the column and returns its text. These texts are kept in a file next to
the snapshot. From then on the column holds text in the file, which is copied and compared as any other.
"""

import contextlib
import decimal
import re
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import psycopg2
from django.db import Error as DatabaseError
from django.db import InterfaceError, OperationalError, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from ops.databases.override import sqlite_wrapper
from ops.databases.sqlite.files import remove
from ops.databases.sqlite.snapshot import Snapshot, create_private
from ops.engine_migration.faults import Fault, explain, log_faults
from ops.engine_migration.findings import SECRET, FindingLog
from ops.engine_migration.plan import ColumnPlan, TablePlan
from ops.engine_migration.refusals import PreflightResult, with_refused
from ops.engine_migration.source_sql import (
    ATTACHED,
    InvalidText,
    chunks,
    connect,
    exclude_refused,
    rows_of,
    texts_path,
)
from ops.engine_migration.types import CONVERTED, GENERIC
from ops.engine_migration.types.numbers import format_float
from ops.engine_migration.values import conversions, equal, is_number, written_alike
from ops.utils.identifiers import quoted
from ops.utils.progress import Progress, ProgressCallback, Stage

PROBE = "ops_probe"
CELLS_PER_QUERY = 1000
TYPE_WITHOUT_MODIFIER = """
WITH RECURSIVE base AS (
  SELECT atttypid AS type, atttypmod AS modifier FROM pg_attribute WHERE attrelid = %s::regclass AND attname = 'v'
  UNION ALL
  SELECT typbasetype, typtypmod FROM base JOIN pg_type ON pg_type.oid = type WHERE typtype = 'd'
)
SELECT format_type(type, -1), (SELECT max(modifier) FROM base) >= 0
FROM base JOIN pg_type ON pg_type.oid = type WHERE typtype <> 'd'
"""
"""Of a domain: the type that it restricts. With -1, not NULL, because ``character`` and ``bit`` mean a length of 1."""


@contextlib.contextmanager
def text_columns(
    *,
    tables: Sequence[TablePlan],
    snapshot: Snapshot,
    preflight: PreflightResult,
    log: FindingLog,
    on_progress: ProgressCallback,
) -> Iterator[tuple[tuple[TablePlan, ...], PreflightResult]]:
    """Within the block, `tables` with text in their generic columns, without the rows that have refused values.

    "default" is the staging database.
    """
    if not any(is_generic(column) for table in tables for column in table.columns):
        yield tuple(tables), preflight
        return
    path = texts_path(snapshot)
    try:
        with contextlib.closing(connect(snapshot)) as connection:
            source, target = sqlite_wrapper(snapshot.uri), connections["default"]
            found = write_texts(path, tables, connection, source, target, preflight, on_progress)
            refused = {table.name: set(preflight.refused.get(table.name, ())) for table in tables}
            for table, faults in found:
                log_faults(connection, table, faults, log)
                refused[table.name].update(fault.row for fault in faults)
        numbers = {(table.name, column.name): number for number, (table, column) in enumerate(generic_columns(tables))}
        yield tuple(with_texts(table, numbers) for table in tables), with_refused(preflight, refused, log)
    finally:
        remove(path)


def is_generic(column: ColumnPlan) -> bool:
    return column.type is GENERIC


def generic_columns(tables: Sequence[TablePlan]) -> list[tuple[TablePlan, ColumnPlan]]:
    return [(table, column) for table in tables for column in table.columns if is_generic(column)]


def write_texts(
    path: Path,
    tables: Sequence[TablePlan],
    connection: sqlite3.Connection,
    source: BaseDatabaseWrapper,
    target: BaseDatabaseWrapper,
    preflight: PreflightResult,
    on_progress: ProgressCallback,
) -> list[tuple[TablePlan, list[Fault]]]:
    """Write the texts of all generic columns into the new file `path`. Returns the refused rows of each column."""
    create_private(path)
    found = []
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as texts:
        texts.execute("PRAGMA journal_mode = OFF")
        texts.execute(
            "CREATE TABLE texts (number INTEGER, row INTEGER, text TEXT, PRIMARY KEY (number, row)) WITHOUT ROWID"
        )
        texts.execute("BEGIN")
        on_progress(Progress(stage=Stage.CONVERT, total=sum(table.rows for table, _ in generic_columns(tables))))
        for number, (table, column) in enumerate(generic_columns(tables)):
            converter = Converter(table=table, column=column, source=source, target=target, on_progress=on_progress)
            texts.executemany(f"INSERT INTO texts VALUES ({number}, ?, ?)", converter.run(connection, preflight))
            found.append((table, converter.faults))
        texts.execute("COMMIT")
    return found


def with_texts(table: TablePlan, numbers: Mapping[tuple[str, str], int]) -> TablePlan:
    def with_text(column: ColumnPlan) -> ColumnPlan:
        if not is_generic(column):
            return column
        row = f"number = {numbers[table.name, column.name]} AND row = {quoted(table.source)}.{table.rowid}"
        return replace(column, value=f"(SELECT text FROM {ATTACHED}.texts WHERE {row})", type=CONVERTED)

    return replace(table, columns=tuple(map(with_text, table.columns)))


# --- One column -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A value as it is stored, as Django reads it, and as SQL for PostgreSQL."""

    row: int
    stored: Any
    value: Any
    literal: str
    is_text: bool


@dataclass(kw_only=True)
class Converter:
    """Asks PostgreSQL for the text of each value of a generic column."""

    table: TablePlan
    column: ColumnPlan
    source: BaseDatabaseWrapper
    target: BaseDatabaseWrapper
    on_progress: ProgressCallback
    faults: list[Fault] = field(default_factory=list)

    @cached_property
    def read(self) -> list[Callable[[Any], Any]]:
        return conversions(self.column.field, self.source)

    @cached_property
    def read_back(self) -> list[Callable[[Any], Any]]:
        """Only where Django converts what it reads: otherwise both drivers return what they want."""
        return conversions(self.column.field, self.target) if self.read else []

    def run(self, connection: sqlite3.Connection, preflight: PreflightResult) -> Iterator[tuple[int, str]]:
        """Row and text of each cell that is not NULL, in the order of the rows. The others are added to `faults`."""
        kept = exclude_refused(connection, preflight.refused, self.table)
        name, row = quoted(self.column.name), self.table.row
        with self.target.cursor() as cursor:
            cursor.execute(
                f"CREATE TEMP TABLE {PROBE} AS SELECT 0::bigint AS n, {name} AS v FROM {quoted(self.table.name)}"
                " WITH NO DATA"
            )
            cursor.execute(TYPE_WITHOUT_MODIFIER, [PROBE])
            base, modified = cursor.fetchone()
            if base == "name":
                # Cut to 63 bytes, also when assigned.
                base, modified = "text", True
            if modified:
                cursor.execute(f"ALTER TABLE {PROBE} ADD COLUMN w {base}")
            probe = Probe(
                cursor=cursor,
                base=base,
                modified=modified,
                reads=bool(self.read_back),
                zone=self.target.timezone_name,
            )
            done, item = 0, f"{self.table.name}.{self.column.name}"
            for first, last, number in chunks(connection, self.table):
                rows = connection.execute(
                    f"SELECT {row}, {name} FROM {rows_of(self.table, (self.column.name,))}"
                    f" WHERE {row} BETWEEN ? AND ? AND {kept} AND {name} IS NOT NULL",
                    [first, last],
                ).fetchall()
                cells = [cell for stored in rows if (cell := self.prepare(cursor, *stored))]
                for start in range(0, len(cells), CELLS_PER_QUERY):
                    for cell, answer in probe.ask(cells[start : start + CELLS_PER_QUERY]):
                        yield from self.check(cell, answer)
                done += number
                self.on_progress(Progress(stage=Stage.CONVERT, item=item, done=done, total=self.table.rows))
            cursor.execute(f"DROP TABLE {PROBE}")

    def prepare(self, cursor: Any, row: int, stored: Any) -> Cell | None:
        if isinstance(stored, InvalidText):
            self.refuse(row, "not valid UTF-8")
            return None
        try:
            value = stored
            for convert in self.read:
                value = convert(value)
            prepared = self.column.field.get_db_prep_save(value, connection=self.target) if self.column.field else value
            if is_number(prepared):
                # As text, which PostgreSQL reads or refuses; a number would be rounded.
                prepared = format_float(prepared) if isinstance(prepared, float) else str(prepared)
            literal = cursor.mogrify("%s", [prepared]).decode()
        except Exception as error:  # noqa: BLE001 - the project's fields may raise anything
            # Python's messages contain the value.
            message = "" if SECRET.search(self.column.source) else f": {' '.join(str(error).split())}"
            self.refuse(row, f"{type(error).__name__}{message}")
            return None
        return Cell(row=row, stored=stored, value=value, literal=literal, is_text=isinstance(prepared, str))

    def check(self, cell: Cell, answer: "Answer | psycopg2.Error") -> Iterator[tuple[int, str]]:
        if isinstance(answer, psycopg2.Error):
            self.faults.append(replace(explain(answer, cell.row, self.table, None), columns=(self.column.name,)))
        elif not answer.unmodified or changed_number(cell.stored, answer.text or ""):
            self.refuse(cell.row, "PostgreSQL would cut or round it")
        elif self.read_back and not self.reads_the_same(cell, answer.value):
            self.refuse(cell.row, "Django would read another value from PostgreSQL")
        elif answer.text is not None:
            yield cell.row, answer.text
        elif not self.column.null:
            self.refuse(cell.row, "NULL in a column that is NOT NULL")

    def reads_the_same(self, cell: Cell, value: Any) -> bool:
        try:
            for convert in self.read_back:
                value = convert(value)
        except Exception:  # noqa: BLE001
            return False
        return equal(cell.value, value) or written_alike(self.column.field, cell.value, value, self.target)

    def refuse(self, row: int, reason: str) -> None:
        self.faults.append(Fault(row=row, columns=(self.column.name,), reason=reason))


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What PostgreSQL made of a value. `unmodified`: its type without a length or precision gives the same value."""

    text: str | None
    unmodified: bool
    value: Any


@dataclass(frozen=True, kw_only=True)
class Probe:
    """The temporary table: `v` has the type of the column, `w` that type without its length or precision."""

    cursor: Any
    base: str
    modified: bool
    reads: bool
    zone: str

    def ask(self, cells: Sequence[Cell]) -> Iterator[tuple[Cell, Answer | psycopg2.Error]]:
        """By assignment, because casts cut. Values that PostgreSQL refuses are found by bisection."""
        if not cells:
            return
        values = ", ".join(f"({number}, {self.values(cell)})" for number, cell in enumerate(cells))
        query = (
            f"INSERT INTO {PROBE} VALUES {values} RETURNING n,"
            f" {'v IS NOT DISTINCT FROM w' if self.modified else 'true'}, {'v' if self.reads else 'NULL'}"
        )
        try:
            with transaction.atomic():
                # Times without an offset are those of the project's sessions; texts are compared in UTC.
                self.cursor.execute("SELECT set_config('TimeZone', %s, true)", [self.zone])
                self.cursor.execute(query)
                found = self.cursor.fetchall()
                self.cursor.execute("SET LOCAL TIME ZONE 'UTC'")
                self.cursor.execute(f"SELECT n, v::text FROM {PROBE}")
                texts = dict(self.cursor.fetchall())
                transaction.set_rollback(True)
        except DatabaseError as error:
            cause = error.__cause__
            if isinstance(error, OperationalError | InterfaceError) or not isinstance(cause, psycopg2.Error):
                raise
            if len(cells) == 1:
                yield cells[0], cause
                return
            middle = len(cells) // 2
            yield from self.ask(cells[:middle])
            yield from self.ask(cells[middle:])
            return
        for number, unmodified, value in found:
            yield cells[number], Answer(text=texts[number], unmodified=unmodified, value=value)

    def values(self, cell: Cell) -> str:
        # Without the type, an array of numbers given as text would not be one of numbers.
        literal = cell.literal if cell.is_text else f"({cell.literal})::{self.base}"
        return f"{literal}, {literal}" if self.modified else literal


def changed_number(stored: Any, text: str) -> bool:
    """Whether both are numbers, and not the same one."""
    try:
        numbers = [
            decimal.Decimal(re.sub(r"[$,\s]", "", format_float(side) if isinstance(side, float) else str(side)))
            for side in (stored, text)
        ]
    except decimal.InvalidOperation:
        return False
    return numbers[0] != numbers[1] and not all(number.is_nan() for number in numbers)
