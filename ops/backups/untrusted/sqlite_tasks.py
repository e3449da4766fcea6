"""Tasks of the limited process for SQLite files: copy rows of ordinary tables into a file of our own.

The file is opened immutable and read by plain SELECTs of stored columns. An authorizer refuses everything else:
functions, views, triggers, indexes and virtual tables of its schema are never used (sqlite.org/security.html,
sqlite.org/c3ref/set_authorizer.html).
"""

import contextlib
import datetime as dt
import decimal
import os
import re
import sqlite3
import sys
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ops.backups.untrusted.dump_tasks import (
    MAX_MIGRATIONS,
    MAX_NAME,
    MAX_ROWS_READ,
    MIGRATIONS,
    limited,
    require,
    standard_input,
)
from ops.databases.sqlite.files import read_only_uri, register_collations
from ops.databases.sqlite.tables import stored_columns
from ops.errors import ArtifactInvalid
from ops.utils.identifiers import quoted

ORDINARY = re.compile(r"CREATE TABLE ")
"""The beginning of the definition of a table that stores its own rows."""
MAX_VALUE = 256 << 20
"""Bytes of a text, a blob or a row."""
MAX_KEY = (1 << 63) - (1 << 53)
ROWS_AT_ONCE = 500
READING = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ}
PRAGMAS = {"table_xinfo", "encoding"}
LETTERS_AND_SIZE = re.compile(r"\s*([a-z ]+?)\s*(?:\((\d+).*)?$", re.IGNORECASE)


def unpack(*, unpacked: int, kind: str, path: str) -> None:
    """Write the file on standard input to `path`, readable by its owner only."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.writelines(limited(standard_input(kind), unpacked))


def survey(*, path: str) -> dict[str, Any]:
    """The migrations that the file records, and the rows of each table."""
    with reading(path) as connection:
        tables = ordinary_tables(connection)
        rows = {
            name: sum(len(chunk) for chunk in chunks(connection, f"SELECT 1 FROM {quoted(name)} NOT INDEXED"))
            for name in tables
        }
        migrations = []
        if {"app", "name"} <= set(tables.get(MIGRATIONS, ())):
            require(rows[MIGRATIONS] <= MAX_MIGRATIONS, f"It names more than {MAX_MIGRATIONS:,} migrations.")
            migrations = connection.execute(f"SELECT app, name FROM {MIGRATIONS} NOT INDEXED").fetchall()
    names = [name for pair in migrations for name in pair]
    proper = all(isinstance(name, str) and 0 < len(name) <= MAX_NAME for name in names)
    require(proper, "The names of its migrations are invalid.")
    return {"migrations": migrations, "rows": rows}


def read_columns(*, path: str, columns: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """The values of some columns as text. Tables that lack one of them are left out."""
    found = {}
    with reading(path) as connection:
        tables = ordinary_tables(connection)
        for table, wanted in columns.items():
            if not set(wanted) <= set(tables.get(table, ())):
                continue
            listed = ", ".join(map(quoted, wanted))
            rows: list[tuple[str | None, ...]] = []
            for chunk in chunks(connection, f"SELECT {listed} FROM {quoted(table)} NOT INDEXED"):
                rows += [tuple(None if value is None else as_text(value) for value in row) for row in chunk]
                require(len(rows) <= MAX_ROWS_READ, f"{table} has more than {MAX_ROWS_READ:,} rows.")
            found[table] = rows
    return found


def as_text(value: object) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def copy_rows(
    *, path: str, destination: str, tables: Sequence[str], content_types: str, permissions: str
) -> dict[str, Any]:
    """Fill the `tables` of `destination`, which Django's migrations have made, with the rows of `path`.

    Rows of `content_types` and `permissions` are matched by natural key, and columns that refer to them follow.
    Returns rows, and what was left out.
    """
    result: dict[str, dict[str, Any]] = {"rows": {}, "unmatched": {}, "columns": {}}
    with reading(path) as source, contextlib.closing(sqlite3.connect(destination, isolation_level=None)) as ours:
        # Constraints are checked at the end, for all rows together.
        ours.execute("PRAGMA foreign_keys = OFF")
        ours.execute("PRAGMA ignore_check_constraints = ON")
        ours.execute("PRAGMA synchronous = OFF")
        source_tables = ordinary_tables(source)
        ours.execute("BEGIN")
        empty(ours, tables)
        matched = match_natural_keys(source, ours, source_tables, content_types, permissions)
        for table in tables:
            if table in source_tables:
                copy = TableCopy(ours, table, source_tables[table], matched)
                copy.run(source)
                result["rows"][table] = copy.rows
                result["unmatched"] |= {table: copy.unmatched} if copy.unmatched else {}
                result["columns"] |= {table: copy.unknown} if copy.unknown else {}
        require_room_for_keys(ours, result["rows"])
        ours.execute("COMMIT")
    return result


@contextlib.contextmanager
def reading(path: str) -> Iterator[sqlite3.Connection]:
    with contextlib.closing(sqlite3.connect(read_only_uri(Path(path), immutable=True), uri=True)) as connection:
        harden(connection)
        (encoding,) = connection.execute("PRAGMA encoding").fetchone()
        require(encoding == "UTF-8", f"Its text is in {encoding}, and only UTF-8 is taken.")
        register_collations(connection)
        connection.set_authorizer(only_reading)
        yield connection


def harden(connection: sqlite3.Connection) -> None:
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_VALUE)
    connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute("PRAGMA cell_size_check = ON")
    connection.execute("PRAGMA mmap_size = 0")
    if sys.version_info >= (3, 12):
        connection.setconfig(sqlite3.SQLITE_DBCONFIG_DEFENSIVE)


def only_reading(action: int, first: str | None, _second: str | None, _schema: str | None, through: str | None) -> int:
    """Stored rows and the shape of tables; nothing that a view or a trigger (`through`) asks for."""
    if through is None and (action in READING or (action == sqlite3.SQLITE_PRAGMA and first in PRAGMAS)):
        return sqlite3.SQLITE_OK
    return sqlite3.SQLITE_DENY


def ordinary_tables(connection: sqlite3.Connection) -> dict[str, list[str]]:
    """The stored columns of each table that keeps rows of its own; no views, virtual tables, generated columns."""
    query = "SELECT name, sql, rootpage FROM sqlite_master WHERE type = 'table'"
    names = [
        name
        for name, text, root in connection.execute(query)
        if isinstance(name, str) and isinstance(text, str) and root and ORDINARY.match(text)
    ]
    return {name: stored_columns(connection, name) for name in names if not name.lower().startswith("sqlite_")}


def chunks(connection: sqlite3.Connection, query: str) -> Iterator[list[Any]]:
    cursor = connection.execute(query)
    while chunk := cursor.fetchmany(ROWS_AT_ONCE):
        yield chunk


# --- Copying --------------------------------------------------------------------------------------------------
def empty(connection: sqlite3.Connection, tables: Iterable[str]) -> None:
    """Delete the rows that migrations have inserted, and reset AUTOINCREMENT."""
    sequences = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'sqlite_sequence'").fetchone()
    for table in tables:
        connection.execute(f"DELETE FROM {quoted(table)}")
        if sequences:
            connection.execute("DELETE FROM sqlite_sequence WHERE name = ?", [table])


def require_room_for_keys(ours: sqlite3.Connection, tables: Iterable[str]) -> None:
    """Raises ArtifactInvalid for a key so large that the table could take no more rows (sqlite.org/autoinc.html)."""
    for table in tables:
        (largest,) = ours.execute(f"SELECT max(rowid) FROM {quoted(table)}").fetchone()
        require((largest or 0) <= MAX_KEY, f"A key of {table} is {largest}, which leaves no numbers for new rows.")


def match_natural_keys(
    source: sqlite3.Connection,
    ours: sqlite3.Connection,
    source_tables: Mapping[str, Sequence[str]],
    content_types: str,
    permissions: str,
) -> dict[str, dict[Any, Any]]:
    """For the tables of content types and permissions: the primary key in the source to that in our own file."""
    columns = {content_types: ("id", "app_label", "model"), permissions: ("id", "content_type_id", "codename")}
    rows: dict[str, list[list[tuple[Any, ...]]]] = {}
    for table, names in columns.items():
        query = f"SELECT {', '.join(names)} FROM {quoted(table)} NOT INDEXED"
        usable = table and set(names) <= set(source_tables.get(table, ()))
        rows[table] = [list(source.execute(query)), list(ours.execute(query))] if usable else [[], []]
    theirs, known = rows[content_types]
    new_types = {tuple(natural): key for key, *natural in known}
    types = {key: new_types[tuple(natural)] for key, *natural in theirs if tuple(natural) in new_types}
    theirs, known = rows[permissions]
    new_permissions = {tuple(natural): key for key, *natural in known}
    old_permissions = {key: (types.get(type_key), codename) for key, type_key, codename in theirs}
    return {
        content_types: types,
        permissions: {key: new_permissions[nat] for key, nat in old_permissions.items() if nat in new_permissions},
    }


class TableCopy:
    """One table on its way. `unmatched`: rows whose content type or permission is not known here."""

    def __init__(
        self,
        ours: sqlite3.Connection,
        table: str,
        stored: Sequence[str],
        matched: Mapping[str, Mapping[Any, Any]],
    ) -> None:
        self._ours, self._table = ours, table
        own = stored_columns(ours, table)
        self._columns = [column for column in own if column in stored]
        require(bool(self._columns), f"{table} has none of the columns that it should have.")
        kinds = {name: kind for _, name, kind, *_ in ours.execute(f"PRAGMA table_xinfo({quoted(table)})").fetchall()}
        self._checks = [check_of(kinds[column]) for column in self._columns]
        self._matches = [
            (self._columns.index(column), matched[to])
            for _, _, to, column, *_ in ours.execute(f"PRAGMA foreign_key_list({quoted(table)})").fetchall()
            if to in matched and column in self._columns
        ]
        self.unknown = sorted(set(stored) - set(own))
        self.rows = self.unmatched = 0

    def run(self, source: sqlite3.Connection) -> None:
        """Raises ArtifactInvalid where a column holds what Django cannot read from a column of its type.

        SQLite keeps any value in any column. A text that is no UTF-8 raises sqlite3.OperationalError.
        """
        listed = ", ".join(map(quoted, self._columns))
        values = ", ".join("?" * len(self._columns))
        statement = f"INSERT INTO {quoted(self._table)} ({listed}) VALUES ({values})"
        for chunk in chunks(source, f"SELECT {listed} FROM {quoted(self._table)} NOT INDEXED"):
            self._check(chunk)
            rows = [row for row in map(self._matched, chunk) if row] if self._matches else chunk
            self._ours.executemany(statement, rows)
            self.rows += len(rows)
            self.unmatched += len(chunk) - len(rows)

    def _check(self, chunk: Sequence[Sequence[Any]]) -> None:
        for name, check, values in zip(self._columns, self._checks, zip(*chunk, strict=True), strict=True):
            for value in values:
                if value is not None and not passes(check, value):
                    raise ArtifactInvalid(
                        f"The column {name} of {self._table} holds {ascii(value)[:60]}, which does not fit its type."
                        " Nothing was changed.",
                        "Correct the value in the application that wrote the file, and make the backup again.",
                    )

    def _matched(self, row: Sequence[Any]) -> list[Any] | None:
        values = list(row)
        for position, keys in self._matches:
            if values[position] is not None:
                if values[position] not in keys:
                    return None
                values[position] = keys[values[position]]
        return values


def check_constraints(*, path: str) -> None:
    """Raises ArtifactInvalid where rows of our own file break its constraints, which may call Django's functions.

    Such a function can be slow on a value that was made for it: here it costs this process's CPU time.
    """
    from django.db.backends.sqlite3._functions import register  # noqa: PLC0415  # no other task needs Django

    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        register(connection)
        faults = [text for (text,) in connection.execute("PRAGMA integrity_check(5)").fetchall() if text != "ok"]
        faults += [
            f"row {row} of {table} refers to a row of {parent} that is missing"
            for table, row, parent, _ in connection.execute("PRAGMA foreign_key_check").fetchmany(5)
        ]
    require(not faults, f"{'; '.join(faults)[:500]}.")


# --- Values ---------------------------------------------------------------------------------------------------
Check = Callable[[Any], object]


def passes(check: Check, value: object) -> bool:
    try:
        return check(value) is not False
    except (TypeError, ValueError, ArithmeticError):
        return False


def check_of(kind: str) -> Check:
    """The check for a declared type, as Django's SQLite backend declares them (its ``data_types``)."""
    match = LETTERS_AND_SIZE.match(kind)
    name, size = (match[1].lower(), match[2]) if match else ("", None)
    if name == "char" and size == "32":
        return lambda value: uuid.UUID(value) and isinstance(value, str)
    return CHECKS.get(name, lambda _value: True)


def is_integer(value: object) -> bool:
    return isinstance(value, int)


def is_text(value: object) -> bool:
    return isinstance(value, str)


CHECKS: dict[str, Check] = {
    **{f"{size}{sign}": is_integer for size in ("integer", "bigint", "smallint") for sign in ("", " unsigned")},
    **dict.fromkeys(("char", "varchar", "text"), is_text),
    "bool": lambda value: is_integer(value) and value in (0, 1),
    "real": lambda value: isinstance(value, int | float),
    "decimal": decimal.Decimal,
    "blob": lambda value: isinstance(value, bytes),
    "date": dt.date.fromisoformat,
    "datetime": dt.datetime.fromisoformat,
    "time": dt.time.fromisoformat,
}
