"""The SQLite file to migrate: opened and checked, and its schema. All reading is done from a snapshot of it."""

import contextlib
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ops.databases.sqlite import snapshot
from ops.databases.sqlite.files import check_exists
from ops.databases.sqlite.snapshot import Source
from ops.errors import ArtifactInvalid, PreconditionFailed
from ops.utils.identifiers import quoted

HEADER = b"SQLite format 3\x00"
SPECIFY_FILE = "Specify the SQLite file with --sqlite-path FILE."
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
class SourceSchema:
    """The tables of a SQLite file with their columns (generated ones apart) and unique column groups."""

    columns: Mapping[str, tuple[str, ...]]
    unique: Mapping[str, frozenset[frozenset[str]]]
    indexes: frozenset[str]
    nocase_columns: frozenset[tuple[str, str]]
    """(table, column) of columns whose text the file compares regardless of case."""
    views_and_triggers: tuple[tuple[str, str], ...]
    """(type, name) of views and triggers."""


def read_schema(connection: sqlite3.Connection) -> SourceSchema:
    connection.text_factory = str
    names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    columns = {
        name: tuple(row[1] for row in connection.execute(f"PRAGMA table_xinfo({quoted(name)})") if row[6] == 0)
        for name in names
    }
    indexes = [read_index(connection, name, row[1]) for name in names for row in list_indexes(connection, name)]
    unique: dict[str, set[frozenset[str]]] = {name: {primary_key(connection, name)} for name in names}
    for index in indexes:
        if index.is_full:
            unique[index.table].add(frozenset(column for column, _ in index.parts))
    views_and_triggers = connection.execute(
        "SELECT type, name FROM sqlite_master WHERE type IN ('view', 'trigger')"
    ).fetchall()
    return SourceSchema(
        columns=columns,
        unique={table: frozenset(groups) for table, groups in unique.items()},
        indexes=frozenset(index.name for index in indexes),
        nocase_columns=frozenset(
            (index.table, column) for index in indexes for column, collation in index.parts if collation == "NOCASE"
        ),
        views_and_triggers=tuple(views_and_triggers),
    )


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


def primary_key(connection: sqlite3.Connection, table: str) -> frozenset[str]:
    return frozenset(row[1] for row in connection.execute(f"PRAGMA table_info({quoted(table)})") if row[5])
