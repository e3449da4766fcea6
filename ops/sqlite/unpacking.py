"""A SQLite file that comes as a stream: written down, and looked at before anything is done with it."""

import sqlite3
import sys
from pathlib import Path
from typing import IO

from ops.errors import ArtifactInvalid, PreconditionFailed
from ops.identifiers import quoted
from ops.progress import Progress, Report
from ops.sqlite.content import reading, table_names
from ops.sqlite.files import remove
from ops.sqlite.snapshot import FREE_SPACE, create_private, faults_of

PIECE = 4 << 20
"""Bytes."""
HEADER = b"SQLite format 3\x00"
HEADER_SIZE = 100
TAKE_ANOTHER = "Take another backup: python manage.py list_backups"
ALLOWED = frozenset({"table", "index"})


def unpack(stream: IO[bytes], path: Path, *, told_as: str, report: Report) -> None:
    """Write `stream` to `path`, in place of what is there, readable by its owner only."""
    remove(path)
    create_private(path)
    done = 0
    with path.open("wb") as file:
        while piece := stream.read(PIECE):
            try:
                file.write(piece)
                file.flush()
            except OSError as error:
                raise PreconditionFailed(
                    f"The backup could not be unpacked in {path.parent.parent}: {error.strerror}.", FREE_SPACE
                ) from error
            done += len(piece)
            report(Progress(stage=told_as, done=done))


def check(path: Path, *, trusted: bool) -> None:
    """Raises ArtifactInvalid for a file that is cut off, damaged, or, where it is not trusted, could do something.

    A file of unknown origin is checked in full: an index that lies is not found by comparing rows.
    """
    check_length(path)
    if not trusted:
        refuse_code(path)
    if faults := faults_of(path, check="quick_check" if trusted else "integrity_check"):
        raise invalid(f"is damaged: {faults}")


def invalid(what: str) -> ArtifactInvalid:
    return ArtifactInvalid(f"The backup {what}.", TAKE_ANOTHER)


def check_length(path: Path) -> None:
    """The header knows how many pages there are (sqlite.org/fileformat2.html, 1.3); SQLite reads shorter files, too."""
    with path.open("rb") as file:
        header = file.read(HEADER_SIZE)
    if not header.startswith(HEADER[: len(header)]) or not header:
        raise invalid("is not a SQLite file, or it is encrypted" if header else "is empty")
    page_size = int.from_bytes(header[16:18], "big")
    pages = int.from_bytes(header[28:32], "big")
    size, expected = path.stat().st_size, (65536 if page_size == 1 else page_size) * pages
    if len(header) < HEADER_SIZE or size < expected:
        raise invalid(f"is cut off: it has {size:,} bytes of {max(expected, HEADER_SIZE):,}")
    if size > expected:
        raise invalid(f"is damaged: it has {size:,} bytes, and its header speaks of {expected:,}")


# --- Files of unknown origin --------------------------------------------------------------------------------
def refuse_code(path: Path) -> None:
    """A schema can hold programs: triggers, views, modules of virtual tables, and functions in its expressions.

    See sqlite.org/security.html. Functions that SQLite regards as innocuous (``json_valid`` in the check of a model's
    JSONField, ``lower`` in an index) may stand there. In a check SQLite itself leaves out what it would not call.
    """
    try:
        with reading(path) as connection:
            make_defensive(connection)
            refuse_objects(connection)
            for table in table_names(connection):
                # Compiled and not run: SQLite refuses here what its settings do not let a schema call.
                connection.execute(f"EXPLAIN INSERT INTO {quoted(table)} DEFAULT VALUES").close()
    except sqlite3.DatabaseError as error:
        raise invalid(f"has a schema that is not trusted: {error}") from error


def make_defensive(connection: sqlite3.Connection) -> None:
    """`reading` has turned off trust in the schema; Python 3.12 and later can turn off more."""
    if sys.version_info >= (3, 12):
        connection.setconfig(sqlite3.SQLITE_DBCONFIG_DEFENSIVE)


def refuse_objects(connection: sqlite3.Connection) -> None:
    for kind, name, root in connection.execute("SELECT type, name, rootpage FROM sqlite_master"):
        if kind not in ALLOWED:
            raise invalid(f"comes from elsewhere and has the {kind} {name}, which could run anything")
        if not root:
            raise invalid(f"comes from elsewhere and has the virtual table {name}, which could run anything")
