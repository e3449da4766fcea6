"""The tables that a legacy format makes from those of the file, in a file next to the snapshot.

A row of the project may need several tables of a legacy file: a catalogue made of two of them, rows that are merged or
split. The format prepares such rows with SQL, once. From then on they are a table as any other: its cells are checked,
copied, and compared with PostgreSQL. A refused cell is named as it is in the file, by `LegacyTable.origin`.
"""

import contextlib
import sqlite3
from collections.abc import Mapping
from pathlib import Path

from ops.databases.sqlite.files import read_only_uri, register_collations
from ops.databases.sqlite.snapshot import Snapshot, create_private
from ops.engine_migration.legacy import LegacyFormat
from ops.engine_migration.source_sql import prepared_path, register_functions
from ops.engine_migration.sqlite_schema import ReadColumns
from ops.errors import PreconditionFailed
from ops.utils.identifiers import quoted

FILE = "file"
"""The name of the legacy file while its tables are read."""
Reads = Mapping[str, frozenset[str]]
"""By table of the file, the columns that were read; both are `folded`."""


def prepare_tables(snapshot: Snapshot, legacy: LegacyFormat, *, if_full: str) -> Reads:
    """Run `LegacyFormat.prepare`. Returns what it reads of the file.

    Raises PreconditionFailed when the file lacks a table or a column, has a table of ours, or the disk is full.
    """
    if not legacy.prepare:
        return {}
    path = prepared_path(snapshot)
    create_private(path)
    with contextlib.closing(opened(path, snapshot)) as connection:
        reads = ReadColumns(FILE)
        connection.set_authorizer(reads)
        try:
            for statement in legacy.prepare:
                connection.execute(statement)
            connection.execute("COMMIT")
        except sqlite3.OperationalError as error:
            raise explain(error, snapshot, if_full) from error
        connection.set_authorizer(None)
        refuse_same_names(connection, snapshot)
    return {table: frozenset(columns) for table, columns in reads.columns.items()}


def opened(path: Path, snapshot: Snapshot) -> sqlite3.Connection:
    """The new file, with the snapshot attached, in a transaction. It is not synced: a killed migration begins again."""
    connection = sqlite3.connect(path, isolation_level=None, uri=True)
    register_collations(connection)
    register_functions(connection)
    connection.execute("PRAGMA journal_mode = OFF")
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute(f"ATTACH ? AS {FILE}", [read_only_uri(snapshot.path, immutable=True)])
    connection.execute("BEGIN")
    return connection


def explain(error: sqlite3.OperationalError, snapshot: Snapshot, if_full: str) -> PreconditionFailed:
    if error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
        return PreconditionFailed(f"The tables of {snapshot.source} could not be prepared: {error}.", if_full)
    return PreconditionFailed(
        f"{snapshot.source} lacks what this code reads: {error}.",
        "The file was written by another version of its program. Upgrade the file with that program first.",
    )


def refuse_same_names(connection: sqlite3.Connection, snapshot: Snapshot) -> None:
    """Raises PreconditionFailed for a table or view of the file that has the name of a prepared table, and hides it."""
    same = (
        f"SELECT theirs.name FROM {FILE}.sqlite_master AS theirs JOIN main.sqlite_master AS ours"
        " ON theirs.name = ours.name COLLATE NOCASE WHERE ours.type = 'table'"
    )
    if found := connection.execute(same).fetchone():
        raise PreconditionFailed(
            f"{snapshot.source} has a table {quoted(found[0])}, a name that the migration needs. Nothing was changed.",
            "Rename it in a copy of the file, and name the copy.",
        )
