"""The SQLite file to migrate: opened and checked, and its schema. All reading is done from a snapshot of it."""

import contextlib
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ops.databases.sqlite import snapshot
from ops.databases.sqlite.files import check_exists
from ops.databases.sqlite.snapshot import Source
from ops.engine_migration.names import folded
from ops.errors import ArtifactInvalid, PreconditionFailed
from ops.utils.identifiers import quoted

HEADER = b"SQLite format 3\x00"
SPECIFY_FILE = "Specify the SQLite file with --sqlite-path FILE."
ROWID_NAMES = ("rowid", "_rowid_", "oid")
BINARY = "BINARY"
IF_FULL = "Free some space there, or set BACKUP_DIR to another disk."


@contextlib.contextmanager
def open_source(path: Path) -> Iterator[Source]:
    """The checked live file, watched for changes until the end of the block."""
    check_exists(path, SPECIFY_FILE)
    check_header(path)
    with snapshot.opened(path, hint=SPECIFY_FILE) as source:
        check_encoding(path, source.connection)
        yield source


def check_header(path: Path) -> None:
    with path.open("rb") as file:
        header = file.read(len(HEADER))
    if header != HEADER:
        raise ArtifactInvalid(
            f"{path} is not a SQLite file, or it is encrypted.",
            "Decrypt an encrypted file first, with the program that wrote it.",
        )


def check_encoding(path: Path, connection: sqlite3.Connection) -> None:
    (encoding,) = connection.execute("PRAGMA encoding").fetchone()
    if encoding != "UTF-8":
        raise PreconditionFailed(
            f"{path} stores text as {encoding}; only UTF-8 can be migrated.",
            f"Convert a copy: sqlite3 {path} .dump | sqlite3 converted.db",
        )


# --- Schema ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class SourceTable:
    """A table as the file spells it. `columns`: without generated ones. `unique`: `folded` groups of columns."""

    name: str
    columns: tuple[str, ...]
    unique: frozenset[frozenset[str]]
    rowid: str
    """SQL for the number of a row; '' where there is none."""
    collations: Mapping[str, str]
    """By `folded` column, how its unique indexes compare it, unless one compares byte by byte."""
    nocase_columns: tuple[str, ...]
    """Columns that a unique index compares regardless of case."""


@dataclass(frozen=True, kw_only=True)
class SourceSchema:
    """The tables of a SQLite file by their `folded` names, the names of its indexes, and what is not migrated."""

    tables: Mapping[str, SourceTable]
    indexes: frozenset[str]
    virtual: tuple[str, ...]
    """Virtual tables, such as those of full-text search. They cannot even be described without their module."""
    shadow: tuple[str, ...]
    """Tables in which virtual ones keep what they store."""
    views_and_triggers: tuple[tuple[str, str], ...]
    """(type, name) of views and triggers."""

    def find(self, name: str) -> SourceTable | None:
        return self.tables.get(folded(name))


def read_schema(connection: sqlite3.Connection) -> SourceSchema:
    connection.text_factory = str
    kinds = {name: kind for _, name, kind, *_ in connection.execute("PRAGMA main.table_list")}
    rows = connection.execute("SELECT name, rootpage FROM sqlite_master WHERE type = 'table'").fetchall()
    virtual = tuple(name for name, page in rows if not page)
    shadow = tuple(name for name, _ in rows if kinds.get(name) == "shadow")
    names = [name for name, _ in rows if name not in {*virtual, *shadow}]
    indexes = [read_index(connection, name, row[1]) for name in names for row in list_indexes(connection, name)]
    views_and_triggers = connection.execute(
        "SELECT type, name FROM sqlite_master WHERE type IN ('view', 'trigger')"
    ).fetchall()
    return SourceSchema(
        tables={
            folded(name): read_table(connection, name, [index for index in indexes if index.table == name])
            for name in names
        },
        indexes=frozenset(index.name for index in indexes),
        virtual=virtual,
        shadow=shadow,
        views_and_triggers=tuple(views_and_triggers),
    )


def read_table(connection: sqlite3.Connection, name: str, indexes: "Sequence[UniqueIndex]") -> SourceTable:
    columns = connection.execute(f"PRAGMA table_xinfo({quoted(name)})").fetchall()
    key = [column for _, column, _, _, _, position, _ in columns if position]
    compared = {(folded(column), collation) for index in indexes if index.is_full for column, collation in index.parts}
    return SourceTable(
        name=name,
        columns=tuple(column for _, column, *_, hidden in columns if not hidden),
        unique=frozenset(
            frozenset(map(folded, group))
            for group in [key, *([column for column, _ in index.parts] for index in indexes if index.is_full)]
        ),
        rowid=find_rowid(connection, name, columns),
        collations={
            column: collation
            for column, collation in compared
            if collation != BINARY and (column, BINARY) not in compared
        },
        nocase_columns=tuple(
            sorted({name for index in indexes for name, collation in index.parts if name and collation == "NOCASE"})
        ),
    )


def find_rowid(connection: sqlite3.Connection, table: str, columns: Sequence[tuple[Any, ...]]) -> str:
    """SQL for the number of a row of `table`, which has several names until columns take them; '' if it has none."""
    taken = {folded(column[1]) for column in columns}
    free = next((name for name in ROWID_NAMES if name not in taken), None)
    if not free:
        # An INTEGER PRIMARY KEY is that number. Any other key has an index of its own.
        key = [(column[1], column[2].upper()) for column in columns if column[5]]
        has_index = any(row[3] == "pk" for row in list_indexes(connection, table))
        return quoted(key[0][0]) if [kind for _, kind in key] == ["INTEGER"] and not has_index else ""
    try:
        connection.execute(f"SELECT {free} FROM {quoted(table)} LIMIT 0")
    except sqlite3.OperationalError:
        return ""
    return free


@dataclass(frozen=True, kw_only=True)
class UniqueIndex:
    """A unique index of the file; `is_full` when it covers all rows and only columns. `parts`: (column, collation)."""

    table: str
    name: str
    is_full: bool
    parts: tuple[tuple[str, str], ...]


def list_indexes(connection: sqlite3.Connection, table: str) -> list[tuple[Any, ...]]:
    rows = connection.execute(f"PRAGMA index_list({quoted(table)})").fetchall()
    return [row for row in rows if row[2]]


def read_index(connection: sqlite3.Connection, table: str, name: str) -> UniqueIndex:
    (partial,) = [row[4] for row in list_indexes(connection, table) if row[1] == name]
    rows = connection.execute(f"PRAGMA index_xinfo({quoted(name)})").fetchall()
    parts = tuple((row[2], row[4]) for row in rows if row[5])
    is_full = not partial and all(column is not None for column, _ in parts)
    return UniqueIndex(table=table, name=name, is_full=is_full, parts=parts)
