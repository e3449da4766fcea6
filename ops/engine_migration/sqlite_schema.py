"""The tables of a SQLite file."""

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ops.engine_migration.names import folded
from ops.engine_migration.source_sql import PREPARED
from ops.utils.identifiers import quoted

ROWID_NAMES = ("rowid", "_rowid_", "oid")


@dataclass(frozen=True, kw_only=True)
class SourceTable:
    """A table as the file spells it. `columns`: without generated ones."""

    name: str
    columns: tuple[str, ...]
    rowid: str
    """SQL for the number of a row; '' where there is none."""
    number_column: str
    """The column that is the number of a row; '' where none is."""
    nocase_columns: tuple[str, ...]
    """Columns that a unique index compares regardless of case."""


@dataclass(frozen=True, kw_only=True)
class SourceSchema:
    """The tables of a SQLite file by their `folded` names, and what is not migrated."""

    tables: Mapping[str, SourceTable]
    virtual: tuple[str, ...]
    """Virtual tables, such as those of full-text search. They cannot even be described without their module."""
    shadow: tuple[str, ...]
    """Tables in which virtual ones keep what they store."""
    views_and_triggers: tuple[tuple[str, str], ...]
    """(type, name) of views and triggers."""
    prepared: Mapping[str, SourceTable]
    """The tables that a legacy format has made, by their `folded` names."""

    def find(self, name: str) -> SourceTable | None:
        return self.tables.get(folded(name)) or self.prepared.get(folded(name))


def read_schema(connection: sqlite3.Connection) -> SourceSchema:
    connection.text_factory = str
    kinds = {name: kind for _, name, kind, *_ in connection.execute("PRAGMA main.table_list")}
    rows = connection.execute("SELECT name, rootpage FROM sqlite_master WHERE type = 'table'").fetchall()
    virtual = tuple(name for name, page in rows if not page)
    shadow = tuple(name for name, _ in rows if kinds.get(name) == "shadow")
    names = [name for name, _ in rows if name not in {*virtual, *shadow}]
    views_and_triggers = connection.execute(
        "SELECT type, name FROM sqlite_master WHERE type IN ('view', 'trigger')"
    ).fetchall()
    return SourceSchema(
        tables={folded(name): read_table(connection, name) for name in names},
        virtual=virtual,
        shadow=shadow,
        views_and_triggers=tuple(views_and_triggers),
        prepared={folded(name): read_table(connection, name) for name in prepared_names(connection)},
    )


def prepared_names(connection: sqlite3.Connection) -> list[str]:
    if PREPARED not in {name for _, name, _ in connection.execute("PRAGMA database_list")}:
        return []
    return [name for (name,) in connection.execute(f"SELECT name FROM {PREPARED}.sqlite_master WHERE type = 'table'")]


class ReadColumns:
    """An authorizer of SQLite that permits everything, and remembers which columns statements read.

    `schema` is the database whose tables are meant. Names are `folded`.
    """

    def __init__(self, schema: str) -> None:
        self.schema = schema
        self.columns: dict[str, set[str]] = {}

    def __call__(self, action: int, table: str | None, column: str | None, schema: str | None, _by: str | None) -> int:
        if action == sqlite3.SQLITE_READ and schema == self.schema and table and not table.startswith("sqlite_"):
            self.columns.setdefault(folded(table), set()).add(folded(column or ""))
        return sqlite3.SQLITE_OK


def read_columns(connection: sqlite3.Connection, query: str) -> dict[str, set[str]]:
    """The columns of the file's tables that `query` reads, by table."""
    reads = ReadColumns("main")
    connection.set_authorizer(reads)
    try:
        connection.execute(f"EXPLAIN {query}").fetchall()
    finally:
        connection.set_authorizer(None)
    return reads.columns


def read_table(connection: sqlite3.Connection, name: str) -> SourceTable:
    columns = connection.execute(f"PRAGMA table_xinfo({quoted(name)})").fetchall()
    indexes = [row[1] for row in unique_indexes(connection, name)]
    parts = [part for index in indexes for part in connection.execute(f"PRAGMA index_xinfo({quoted(index)})")]
    nocase = {column for _, _, column, _, collation, in_key in parts if column and in_key and collation == "NOCASE"}
    number = find_number_column(connection, name, columns)
    return SourceTable(
        name=name,
        columns=tuple(column for _, column, *_, hidden in columns if not hidden),
        rowid=find_rowid(connection, name, columns, number),
        number_column=number,
        nocase_columns=tuple(sorted(nocase)),
    )


def find_number_column(connection: sqlite3.Connection, table: str, columns: Sequence[tuple[Any, ...]]) -> str:
    """An INTEGER PRIMARY KEY is the number of a row. Any other key has an index of its own."""
    key = [(column[1], column[2].upper()) for column in columns if column[5]]
    has_index = any(row[3] == "pk" for row in unique_indexes(connection, table))
    return key[0][0] if [kind for _, kind in key] == ["INTEGER"] and not has_index else ""


def find_rowid(
    connection: sqlite3.Connection, table: str, columns: Sequence[tuple[Any, ...]], number_column: str
) -> str:
    """SQL for the number of a row of `table`, which has several names until columns take them; '' if it has none."""
    taken = {folded(column[1]) for column in columns}
    free = next((name for name in ROWID_NAMES if name not in taken), None)
    if not free:
        return quoted(number_column) if number_column else ""
    try:
        connection.execute(f"SELECT {free} FROM {quoted(table)} LIMIT 0")
    except sqlite3.OperationalError:
        return ""
    return free


def unique_indexes(connection: sqlite3.Connection, table: str) -> list[tuple[Any, ...]]:
    rows = connection.execute(f"PRAGMA index_list({quoted(table)})").fetchall()
    return [row for row in rows if row[2]]
