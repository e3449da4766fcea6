"""The SQLite file to move: checked, copied through the online backup API, and read from that copy only."""

import contextlib
import hashlib
import os
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from ops.errors import ArtifactInvalid, PreconditionFailed
from ops.progress import Progress, Report, ignore
from ops.transfer.stages import Stage

HEADER = b"SQLite format 3\x00"
PAGES_PER_STEP = 2048
LOCK_TIMEOUT = 10.0
"""Seconds to wait for a program that is writing to the file."""
NAME_THE_FILE = "Name the SQLite file with --sqlite-path FILE."
STOP_WRITERS = "Stop the programs that use the file, then run the command again."


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """A consistent copy of `source` at `path`. Nobody writes to it any more."""

    source: Path
    path: Path
    size: int
    sha256: str
    wal: bool
    """True when changes that stood only in the ``-wal`` file beside the source came along."""

    @property
    def uri(self) -> str:
        return read_only_uri(self.path, immutable=True)


@dataclass(kw_only=True)
class Source:
    """The live file. `changed()` tells whether anybody wrote to it since the snapshot."""

    path: Path
    connection: sqlite3.Connection
    version: int
    stamp: tuple[int, int]

    def changed(self) -> bool:
        (version,) = self.connection.execute("PRAGMA data_version").fetchone()
        return bool(version != self.version) or stamp_of(self.path) != self.stamp


def read_only_uri(path: Path, *, immutable: bool = False) -> str:
    return f"file:{quote(str(path.absolute()))}?mode=ro{'&immutable=1' if immutable else ''}"


def stamp_of(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_mtime_ns, status.st_size


def check_file(path: Path) -> None:
    """Refuse what is no SQLite file, by looking at it; opening a missing one would create it."""
    try:
        if not path.exists():
            raise PreconditionFailed(f"There is no file {path}.", NAME_THE_FILE)
        if not path.is_file():
            raise PreconditionFailed(f"{path} is not a file.", NAME_THE_FILE)
        with path.open("rb") as file:
            header = file.read(len(HEADER))
    except PermissionError as error:
        raise PreconditionFailed(f"{path} can not be read: permission denied.", "Run as its owner.") from error
    if not header:
        raise ArtifactInvalid(f"{path} is empty (0 bytes).", "Is it the right file?")
    if header != HEADER:
        raise ArtifactInvalid(
            f"{path} is not a SQLite file, or it is encrypted.",
            "An encrypted file has to be decrypted with the program that made it.",
        )


def open_source(path: Path) -> sqlite3.Connection:
    """Open the file for reading. A WAL file in a directory that can not be written needs care (sqlite.org/wal.html)."""
    try:
        return readable(sqlite3.connect(read_only_uri(path), uri=True, isolation_level=None, timeout=LOCK_TIMEOUT))
    except sqlite3.OperationalError as error:
        if "locked" in str(error):
            raise PreconditionFailed(f"{path} is locked by another program.", STOP_WRITERS) from error
        return open_unwritable(path, error)
    except sqlite3.DatabaseError as error:
        raise damaged(path, str(error)) from error


def readable(connection: sqlite3.Connection) -> sqlite3.Connection:
    """`connection`, which can read; it is closed where it can not."""
    try:
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def open_unwritable(path: Path, error: sqlite3.OperationalError) -> sqlite3.Connection:
    """Without a journal beside it nobody has the file open, so it can be read as it lies on a read-only disk.

    A ``-journal`` holds what has to go back into the file before it may be read (sqlite.org/lockingv3.html).
    """
    if path.with_name(path.name + "-journal").exists():
        raise PreconditionFailed(
            f"{path} has a transaction that its program did not finish, in {path.name}-journal.",
            f"Let SQLite take it back: sqlite3 {path} 'PRAGMA quick_check'",
        ) from error
    if path.with_name(path.name + "-wal").exists():
        raise PreconditionFailed(
            f"{path} has changes in {path.name}-wal, and its directory can not be written, which reading them needs.",
            "Copy the file together with its -wal to a directory of yours and name that copy.",
        ) from error
    return sqlite3.connect(read_only_uri(path, immutable=True), uri=True, isolation_level=None)


def check_encoding(path: Path, connection: sqlite3.Connection) -> None:
    (encoding,) = connection.execute("PRAGMA encoding").fetchone()
    if encoding != "UTF-8":
        raise PreconditionFailed(
            f"{path} keeps its text in {encoding}, and only UTF-8 can be moved.",
            f"Convert a copy: sqlite3 {path} .dump | sqlite3 converted.db",
        )


def damaged(path: Path, what: str) -> ArtifactInvalid:
    return ArtifactInvalid(
        f"{path} is damaged: {what}.",
        f"Save what can be read with: sqlite3 {path} .recover | sqlite3 recovered.db",
    )


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Source]:
    """The checked live file, watched for changes until the end of the block."""
    check_file(path)
    with contextlib.closing(open_source(path)) as connection:
        check_encoding(path, connection)
        (version,) = connection.execute("PRAGMA data_version").fetchone()
        yield Source(path=path, connection=connection, version=version, stamp=stamp_of(path))


def take_snapshot(*, source: Source, destination: Path, report: Report = ignore) -> Snapshot:
    """Copy `source` to the new file `destination` (mode 0600), check it, and bring it to the disk.

    The copy is what one reader sees at one moment, with what stands in the ``-wal``. Written under a ``.partial`` name;
    nothing is left behind on failure. Raises ArtifactInvalid for a damaged file, PreconditionFailed for a locked one.
    """
    wal = source.path.with_name(source.path.name + "-wal")
    had_wal = wal.exists() and wal.stat().st_size > 0
    partial = destination.with_name(destination.name + ".partial")
    os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW, 0o600))
    try:
        copy_pages(source, partial, report)
        check_pages(source.path, partial)
        sha256 = hash_and_sync(partial)
        partial.rename(destination)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    finally:
        for suffix in ("-wal", "-shm", "-journal"):
            partial.with_name(partial.name + suffix).unlink(missing_ok=True)
    size = destination.stat().st_size
    return Snapshot(source=source.path, path=destination, size=size, sha256=sha256, wal=had_wal)


def copy_pages(source: Source, partial: Path, report: Report) -> None:
    def tell(_status: int, remaining: int, total: int) -> None:
        report(Progress(stage=Stage.SNAPSHOT, done=total - remaining, total=total))

    # The open read transaction keeps every step of the backup on the same state of the file.
    source.connection.execute("BEGIN")
    try:
        source.connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        with contextlib.closing(sqlite3.connect(partial)) as target:
            target.execute("PRAGMA synchronous = OFF")
            source.connection.backup(target, pages=PAGES_PER_STEP, progress=tell)
    except sqlite3.OperationalError as error:
        if "locked" in str(error):
            raise PreconditionFailed(f"{source.path} is locked by another program.", STOP_WRITERS) from error
        if "disk" in str(error):
            raise PreconditionFailed(
                f"The copy of {source.path} could not be written to {partial.parent}: {error}.",
                "Free some space there, or set BACKUP_DIR to another disk.",
            ) from error
        raise damaged(source.path, str(error)) from error
    except sqlite3.DatabaseError as error:
        raise damaged(source.path, str(error)) from error
    finally:
        source.connection.execute("ROLLBACK")


def check_pages(source: Path, copy: Path) -> None:
    """SQLite's ``quick_check``, which may report faults or trip over them itself."""
    try:
        with contextlib.closing(sqlite3.connect(read_only_uri(copy, immutable=True), uri=True)) as connection:
            faults = [row[0] for row in connection.execute("PRAGMA quick_check(3)")]
    except sqlite3.DatabaseError as error:
        raise damaged(source, str(error)) from error
    if faults != ["ok"]:
        raise damaged(source, "; ".join(" ".join(fault.split()) for fault in faults))


def hash_and_sync(path: Path) -> str:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        os.fsync(file.fileno())
    return digest
