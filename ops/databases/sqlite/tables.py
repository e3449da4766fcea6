"""The tables of a SQLite file: numbers of rows, and a hash of each."""

import contextlib
import functools
import hashlib
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from ops.databases.sqlite.files import read_only_uri, register_collations
from ops.utils.identifiers import quoted

ROWS_AT_ONCE = 500
SWAP_MARKER = "ops_swap"
"""A table that exists during a swap (see `ops.databases.sqlite.swap`); it is not content."""

any_text = functools.partial(str, encoding="utf-8", errors="surrogateescape")
"""Text that need not be UTF-8."""
readable_text = functools.partial(str, encoding="utf-8", errors="replace")
"""Readable text."""


@contextlib.contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection to a file that does not change. Functions in its schema are not trusted."""
    with contextlib.closing(sqlite3.connect(read_only_uri(path, immutable=True), uri=True)) as connection:
        connection.text_factory = any_text
        connection.execute("PRAGMA trusted_schema = OFF")
        register_collations(connection)
        yield connection


def table_names(connection: sqlite3.Connection, schema: str = "main") -> list[str]:
    """The tables that store rows, including those of virtual tables (full-text search), without SQLite's own."""
    rows = connection.execute(
        f"SELECT name FROM {schema}.sqlite_master WHERE type = 'table' AND rootpage > 0"
        " AND substr(name, 1, 7) <> 'sqlite_' AND name <> ? ORDER BY name",
        [SWAP_MARKER],
    )
    return [name for (name,) in rows]


def count_rows(connection: sqlite3.Connection) -> dict[str, int]:
    return {name: count(connection, name) for name in table_names(connection)}


def count(connection: sqlite3.Connection, table: str) -> int:
    (rows,) = connection.execute(f"SELECT count(*) FROM {quoted(table)}").fetchone()
    return int(rows)


def digest(connection: sqlite3.Connection, table: str, on_rows: Callable[[int], None]) -> tuple[int, str]:
    """Rows and their SHA-256: each row as Python's `ascii` writes it, in the order of the table.

    Equal for equal rows on every platform. Text and blobs, integers and floats, and all bits of a float are distinct.
    `on_rows` gets the number of rows so far.
    """
    try:
        # Python's decoder is faster, and fails for text that is not UTF-8.
        return digest_as(str, connection, table, on_rows)
    except (sqlite3.OperationalError, UnicodeDecodeError):
        return digest_as(any_text, connection, table, on_rows)


def digest_as(
    factory: Callable[[bytes], str], connection: sqlite3.Connection, table: str, on_rows: Callable[[int], None]
) -> tuple[int, str]:
    connection.text_factory = factory
    try:
        columns = ", ".join(map(quoted, stored_columns(connection, table)))
        # Without an index a table is read in the order of its rowid or primary key.
        cursor = connection.execute(f"SELECT {columns} FROM {quoted(table)} NOT INDEXED")
        sha256, rows = hashlib.sha256(), 0
        while chunk := cursor.fetchmany(ROWS_AT_ONCE):
            sha256.update(ascii(chunk)[1:-1].encode() + b", ")
            rows += len(chunk)
            on_rows(rows)
    finally:
        connection.text_factory = any_text
    return rows, sha256.hexdigest()


def stored_columns(connection: sqlite3.Connection, table: str, schema: str = "main") -> list[str]:
    """The columns that are not generated."""
    shape = connection.execute(f"PRAGMA {schema}.table_xinfo({quoted(table)})").fetchall()
    return [name for _, name, *_, hidden in shape if not hidden]


def parents(connection: sqlite3.Connection, table: str) -> list[str]:
    """The tables to which foreign keys of `table` refer."""
    return [to for _, _, to, *_ in connection.execute(f"PRAGMA main.foreign_key_list({quoted(table)})").fetchall()]


def select_columns(
    connection: sqlite3.Connection, columns: Mapping[str, Sequence[str]]
) -> dict[str, list[tuple[str | None, ...]]]:
    """All rows of these columns, by table, as text. A table that is missing or lacks a column is left out."""
    existing = set(table_names(connection))
    found = {}
    connection.text_factory = readable_text
    try:
        for table, wanted in columns.items():
            if table in existing and set(wanted) <= set(stored_columns(connection, table)):
                texts = ", ".join(f"CAST({quoted(name)} AS TEXT)" for name in wanted)
                found[table] = connection.execute(f"SELECT {texts} FROM {quoted(table)}").fetchall()
    finally:
        connection.text_factory = any_text
    return found
