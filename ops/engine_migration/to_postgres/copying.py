"""Copies rows from the snapshot into PostgreSQL: SQLite produces the text of ``COPY``, a chunk at a time."""

import contextlib
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import replace

import psycopg2
from django.apps import apps
from psycopg2 import sql
from psycopg2.extensions import connection as Connection  # noqa: N812
from psycopg2.extensions import cursor as Cursor  # noqa: N812

from ops.databases.postgres.savepoints import is_about_rows, savepoint
from ops.databases.sqlite.snapshot import Snapshot
from ops.engine_migration.plan import ColumnPlan, TablePlan, rename
from ops.engine_migration.refusals import PreflightResult
from ops.engine_migration.source_sql import (
    chunks,
    connect,
    exclude_refused,
    formatted,
    line_of,
    register_converters,
    rows_of,
)
from ops.engine_migration.types import column_type
from ops.errors import VerificationFailed
from ops.utils.identifiers import quoted
from ops.utils.progress import Progress, ProgressCallback, Stage


class CopyStream:
    """What psycopg2 reads a COPY from: each ``read`` gives the next chunk whole."""

    def __init__(self, parts: Iterator[bytes]) -> None:
        self.parts = parts
        self.failure: BaseException | None = None

    def read(self, _size: int = -1) -> bytes:
        try:
            return next(self.parts, b"")
        except BaseException as failure:
            self.failure = failure
            raise

    def readline(self, _size: int = -1) -> bytes:
        """Part of the interface; psycopg2 reads only."""
        return self.read()


def copy_table(
    *,
    table: TablePlan,
    snapshot: Snapshot,
    target: Connection,
    preflight: PreflightResult,
    on_progress: ProgressCallback,
) -> psycopg2.Error | None:
    """Replace the rows of `table` in PostgreSQL by those of the snapshot, without the refused ones.

    Returns PostgreSQL's error if it refuses some of them; the table is unchanged then.
    """
    with contextlib.closing(connect(snapshot)) as connection, target.cursor() as cursor:
        rows = stream(connection, table, preflight, on_progress)
        try:
            with savepoint(cursor):
                cursor.execute(f"TRUNCATE {quoted(table.name)}")
                stored = send(cursor, table.name, table, rows, freeze=not table.partitioned)
        except psycopg2.Error as error:
            if is_about_rows(error):
                return error
            raise
        expected = preflight.rows_of(table)
        if stored != expected:
            raise VerificationFailed(f"{table.name}: PostgreSQL stored {stored} rows, and the file has {expected}.")
    return None


def send(cursor: Cursor, name: str, table: TablePlan, parts: Iterator[bytes], *, freeze: bool = False) -> int:
    """COPY `parts` of `table` into the table `name`, and return the number of rows.

    `freeze`: it was emptied since the savepoint.
    """
    columns = ", ".join(quoted(column.name) for column in table.columns if not column.generated)
    options = "FORMAT csv, QUOTE '''', ESCAPE '''', NULL 'NULL', ENCODING 'UTF8'" + (", FREEZE" if freeze else "")
    rows = CopyStream(parts)
    try:
        cursor.copy_expert(f"COPY {quoted(name)} ({columns}) FROM STDIN ({options})", rows)
    except psycopg2.Error:
        # psycopg2 reports whatever `read` raises, Ctrl-C included, as an error of the server.
        if rows.failure:
            raise rows.failure from None
        raise
    return cursor.rowcount


def stream(
    connection: sqlite3.Connection, table: TablePlan, preflight: PreflightResult, on_progress: ProgressCallback
) -> Iterator[bytes]:
    """All rows but the refused ones, as text for COPY."""
    read = reader(connection, table, preflight)
    done, total = 0, table.rows
    for first, last, rows in chunks(connection, table):
        yield from read(first, last)
        done += rows
        on_progress(Progress(stage=Stage.COPY, item=table.name, done=done, total=total))


def reader(
    connection: sqlite3.Connection, table: TablePlan, preflight: PreflightResult
) -> Callable[[int, int], Iterator[bytes]]:
    """A function that reads a range of row ids as text for COPY."""
    non_canonical = preflight.non_canonical.get(table.name, frozenset())
    register_converters(connection, table, non_canonical)
    line = line_of(
        [
            formatted(column, non_canonical=column.name in non_canonical)
            for column in table.columns
            if not column.generated
        ]
    )
    kept = exclude_refused(connection, preflight.refused, table)
    query = (
        f"SELECT CAST(group_concat({line}, char(10)) AS BLOB) FROM {rows_of(table)}"
        f" WHERE {table.row} BETWEEN ? AND ? AND {kept}"
    )

    def read(first: int, last: int) -> Iterator[bytes]:
        (text,) = connection.execute(query, [first, last]).fetchone()
        if text is not None:
            yield text
            yield b"\n"

    return read


def resolve_lookups(table: TablePlan, cursor: Cursor) -> TablePlan:
    """`table` with natural keys of seeded rows replaced by the primary keys that PostgreSQL gave them."""
    return replace(table, columns=tuple(resolve(column, cursor) for column in table.columns))


def resolve(column: ColumnPlan, cursor: Cursor) -> ColumnPlan:
    if not column.lookup:
        return column
    name, natural = column.lookup
    key = next(model._meta.pk.column for model in apps.get_models() if model._meta.db_table == name)
    cursor.execute(sql.SQL("SELECT {}, {} FROM {}").format(*map(sql.Identifier, (natural, key, name))))
    ids = dict(cursor.fetchall())
    return replace(
        column,
        value=rename(column.value, ids),
        type=column_type(column.db_type),
        allowed=tuple(map(str, ids.values())),
        lookup=None,
    )
