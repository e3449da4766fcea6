"""The SQLite file to migrate: opened and checked. All reading is done from a snapshot of it."""

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from ops.databases.sqlite import snapshot
from ops.databases.sqlite.files import check_exists
from ops.databases.sqlite.snapshot import Source
from ops.errors import PreconditionFailed

SPECIFY_FILE = "Specify the SQLite file with --sqlite-path FILE."
IF_FULL = "Free some space there, or set BACKUP_DIR to another disk."


@contextlib.contextmanager
def open_source(path: Path) -> Iterator[Source]:
    """The checked live file, watched for changes until the end of the block."""
    check_exists(path, SPECIFY_FILE)
    with snapshot.opened(path, hint=SPECIFY_FILE) as source:
        check_encoding(path, source.connection)
        yield source


def check_encoding(path: Path, connection: sqlite3.Connection) -> None:
    (encoding,) = connection.execute("PRAGMA encoding").fetchone()
    if encoding != "UTF-8":
        raise PreconditionFailed(
            f"{path} stores text as {encoding}; only UTF-8 can be migrated.",
            f"Convert a copy: sqlite3 {path} .dump | sqlite3 converted.db",
        )
