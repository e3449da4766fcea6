"""SQLite files: their journals, and connections that change nothing."""

import contextlib
import os
import re
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from ops.errors import ArtifactInvalid, PreconditionFailed

JOURNALS = ("-wal", "-shm", "-journal")
HEADER = b"SQLite format 3\x00"
BUILT_IN = frozenset({"BINARY", "NOCASE", "RTRIM"})
"""The collations of SQLite. ``PRAGMA collation_list`` also has those that are missing, once the schema was read."""
LOCK_TIMEOUT = 10.0
"""Seconds to wait for a program that is writing to the file."""
COLLATION = re.compile(r"""\bCOLLATE\s+("(?:[^"]|"")+"|'(?:[^']|'')+'|`[^`]+`|\[[^\]]+\]|[\w$]+)""", re.IGNORECASE)
STOP_WRITERS = "Stop the programs that use the file, then run the command again."


def sibling(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def size_of(path: Path) -> int:
    """Bytes; 0 if there is no such file. SQLite deletes the write-ahead log when the last connection closes."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def read_only_uri(path: Path, *, immutable: bool = False) -> str:
    return f"file:{quote(str(path.absolute()))}?mode=ro{'&immutable=1' if immutable else ''}"


def check_exists(path: Path, hint: str) -> None:
    """Raises PreconditionFailed for what is no readable file; SQLite would create a missing one.

    The file is not opened here: closing it would end the locks of all connections of this process
    (sqlite.org/howtocorrupt.html, 2.2).
    """
    try:
        if not path.exists():
            raise PreconditionFailed(f"There is no file {path}.", hint)
        if not path.is_file():
            raise PreconditionFailed(f"{path} is not a file.", hint)
        readable_by_us = os.access(path, os.R_OK)
    except PermissionError:
        readable_by_us = False
    if not readable_by_us:
        raise PreconditionFailed(f"{path} cannot be read: permission denied.", "Run as its owner.")
    if not path.stat().st_size:
        raise ArtifactInvalid(f"{path} is empty (0 bytes).", "Is it the right file?")


def parse_name(name: str) -> tuple[Path, Mapping[str, str]]:
    """The path of a database in Django's settings, and the parameters of a URI such as ``file:lab.db?mode=ro``."""
    if not name.startswith("file:"):
        return Path(name), {}
    parts = urlsplit(name)
    return Path(unquote(parts.path)), dict(parse_qsl(parts.query))


def explain_read_only(path: Path, parameters: Mapping[str, str]) -> tuple[str, str]:
    """Why the database cannot be written or replaced, and what to do; its journals are in the same directory.

    `parameters` are those of its URI (sqlite.org/uri.html).
    """
    for name in {"mode": "ro", "immutable": "1"}.items() & parameters.items():
        return f"SQLite opens it with {'='.join(name)}", "Remove that from its NAME in the settings."
    for needed in (path.parent, path) if path.exists() else ():
        if not os.access(needed, os.W_OK):
            return f"{needed} may only be read", "Run as its owner, and mount its disk for writing."
    return "", ""


def open_source(path: Path) -> sqlite3.Connection:
    """Open the file for reading. A WAL file in a read-only directory is a special case (sqlite.org/wal.html)."""
    try:
        return readable(sqlite3.connect(read_only_uri(path), uri=True, isolation_level=None, timeout=LOCK_TIMEOUT))
    except sqlite3.OperationalError as error:
        if "locked" in str(error):
            raise locked(path) from error
        return open_unwritable(path, error)
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_NOTADB:
            check_header(path)
        raise damaged(path, str(error)) from error


def check_header(path: Path) -> None:
    """Raises ArtifactInvalid for a file that never was a database. Only for files in which SQLite can hold no lock."""
    with path.open("rb") as file:
        header = file.read(len(HEADER))
    if header != HEADER:
        raise ArtifactInvalid(
            f"{path} is not a SQLite file, or it is encrypted.",
            "Decrypt an encrypted file first, with the program that wrote it.",
        )


def readable(connection: sqlite3.Connection) -> sqlite3.Connection:
    """Read from `connection`, which is closed where that fails."""
    try:
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def register_collations(connection: sqlite3.Connection) -> None:
    """Register a stand-in for each collation that the schema names and SQLite lacks, so that the file can be read.

    Applications register their own (``connection.create_collation``), which is not known here. A stand-in has another
    order: a connection with one must not write, and what it finds through such an index may be incomplete.
    """
    query = "SELECT CAST(sql AS BLOB) FROM sqlite_master WHERE sql LIKE '%collate%'"
    for (statement,) in connection.execute(query).fetchall():
        for name in COLLATION.findall(statement.decode(errors="replace")):
            bare = name if name[0] not in "\"'`[" else name[1:-1].replace(name[0] * 2, name[0])
            if bare.upper() not in BUILT_IN:
                connection.create_collation(bare, compare)


def compare(one: str, other: str) -> int:
    return (one > other) - (one < other)


@contextlib.contextmanager
def writing(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection to an existing file."""
    uri = f"{path.absolute().as_uri()}?mode=rw"
    with contextlib.closing(sqlite3.connect(uri, uri=True, isolation_level=None, timeout=LOCK_TIMEOUT)) as connection:
        yield connection


def open_unwritable(path: Path, error: sqlite3.OperationalError) -> sqlite3.Connection:
    """Without a journal no program has the file open, so it can be read as it is on a read-only disk.

    A ``-journal`` has to be rolled back before the file may be read (sqlite.org/lockingv3.html).
    """
    if sibling(path, "-journal").exists():
        raise PreconditionFailed(
            f"{path} has a transaction that its program did not finish, in {path.name}-journal.",
            f"Let SQLite roll it back: sqlite3 {path} 'PRAGMA quick_check'",
        ) from error
    if sibling(path, "-wal").exists():
        raise PreconditionFailed(
            f"{path} has changes in {path.name}-wal, and its directory is read-only: they cannot be read there.",
            "Copy the file and its -wal to a directory that you can write to, and use that copy.",
        ) from error
    return sqlite3.connect(read_only_uri(path, immutable=True), uri=True, isolation_level=None)


def locked(path: Path) -> PreconditionFailed:
    return PreconditionFailed(f"{path} is locked by another program.", STOP_WRITERS)


def damaged(path: Path, what: str) -> ArtifactInvalid:
    return ArtifactInvalid(
        f"{path} is damaged: {what}.",
        f"Save what can be read with: sqlite3 {path} .recover | sqlite3 recovered.db",
    )


def is_broken(error: sqlite3.Error) -> bool:
    """The file is no valid database; as opposed to a lock, a missing permission or a failing disk."""
    return error.sqlite_errorcode & 0xFF in {sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


def access_error(path: Path, error: sqlite3.Error) -> PreconditionFailed:
    if "locked" in str(error):
        return locked(path)
    reason, hint = explain_read_only(path, {})
    if reason:
        return PreconditionFailed(f"{path} cannot be used: {reason}.", hint)
    return PreconditionFailed(
        f"{path} cannot be used: {error}.", "Run as its owner; if it is lost, move it away first."
    )


def checkpoint_and_leave_wal(path: Path) -> None:
    """Write the log into the file and delete the log. No other program may use the file."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")


def remove(path: Path) -> None:
    """Delete the file and its journals."""
    for suffix in ("", *JOURNALS):
        sibling(path, suffix).unlink(missing_ok=True)


def copy_owner(path: Path, like: Path) -> None:
    """Give a file that root created to the owner of `like`, or of its directory, so that the site can use it."""
    owner = (like if like.exists() else like.parent).stat()
    if os.geteuid() == 0:
        os.chown(path, owner.st_uid, owner.st_gid)


def sync(path: Path) -> None:
    """fsync a file or a directory."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
