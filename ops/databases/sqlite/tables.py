"""What is in a SQLite file: its tables, how many rows they have, and a hash over each."""

import contextlib
import functools
import hashlib
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from ops.databases.sqlite.files import read_only_uri
from ops.utils.identifiers import quoted

ROWS_AT_ONCE = 500
SWAP_MARKER = "ops_mark"
"""A table that a swap leaves for some moments (see `ops.databases.sqlite.swap`); it belongs to no content."""

any_text = functools.partial(str, encoding="utf-8", errors="surrogateescape")
"""Text of SQLite that need not be UTF-8."""
readable_text = functools.partial(str, encoding="utf-8", errors="replace")
"""The same for people to read."""


@contextlib.contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection to a file that nobody writes to. No function that a schema names is trusted."""
    with contextlib.closing(sqlite3.connect(read_only_uri(path, immutable=True), uri=True)) as connection:
        connection.text_factory = any_text
        connection.execute("PRAGMA trusted_schema = OFF")
        yield connection


def table_names(connection: sqlite3.Connection, schema: str = "main") -> list[str]:
    """Every table that stores rows: those of virtual tables (full-text search) are among them, SQLite's own are not."""
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


def digest(connection: sqlite3.Connection, table: str, tell: Callable[[int], None]) -> tuple[int, str]:
    """Rows and their SHA-256: each row as Python's `ascii` spells it, in the order in which the table keeps them.

    Equal for equal rows on every platform; it knows text from blobs, integers from floats, and every bit of a float.
    `tell` hears how many rows are done.
    """
    try:
        # Python's own reading of text is faster, and stops where it is no UTF-8.
        return digest_as(str, connection, table, tell)
    except (sqlite3.OperationalError, UnicodeDecodeError):
        return digest_as(any_text, connection, table, tell)


def digest_as(
    factory: Callable[[bytes], str], connection: sqlite3.Connection, table: str, tell: Callable[[int], None]
) -> tuple[int, str]:
    connection.text_factory = factory
    try:
        columns = ", ".join(stored_columns(connection, table))
        # Without an index a table is read along its own tree, which is in the order of rowid or primary key.
        cursor = connection.execute(f"SELECT {columns} FROM {quoted(table)} NOT INDEXED")
        sha256, rows = hashlib.sha256(), 0
        while chunk := cursor.fetchmany(ROWS_AT_ONCE):
            sha256.update(ascii(chunk)[1:-1].encode() + b", ")
            rows += len(chunk)
            tell(rows)
    finally:
        connection.text_factory = any_text
    return rows, sha256.hexdigest()


def stored_columns(connection: sqlite3.Connection, table: str) -> list[str]:
    """Those that are not generated from others."""
    return [
        quoted(name)
        for _, name, *_, hidden in connection.execute(f"PRAGMA table_xinfo({quoted(table)})").fetchall()
        if not hidden
    ]


def select_columns(
    connection: sqlite3.Connection, columns: Mapping[str, Sequence[str]]
) -> dict[str, list[tuple[str | None, ...]]]:
    """All rows of these columns, by table, as text; a table that is not there or lacks one of them is left out."""
    there = set(table_names(connection))
    found = {}
    connection.text_factory = readable_text
    try:
        for table, wanted in columns.items():
            names = [quoted(name) for name in wanted]
            if table in there and set(names) <= set(stored_columns(connection, table)):
                texts = ", ".join(f"CAST({name} AS TEXT)" for name in names)
                found[table] = connection.execute(f"SELECT {texts} FROM {quoted(table)}").fetchall()
    finally:
        connection.text_factory = any_text
    return found
