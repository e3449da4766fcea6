"""A snapshot of a file: copied by the online backup API while other programs use it, checked, and synced."""

import contextlib
import hashlib
import itertools
import os
import re
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from django.db.backends.sqlite3._functions import register as register_django_functions

from ops.databases.sqlite.files import (
    check_exists,
    damaged,
    locked,
    open_source,
    read_only_uri,
    register_collations,
    remove,
    sibling,
    size_of,
    sync,
)
from ops.errors import PreconditionFailed
from ops.utils.progress import Progress, ProgressCallback, Stage, no_progress

PAGES_PER_STEP = 2048
NO_LIMIT = 2_000_000_000
ABOUT_ROWS = re.compile(r"ok$|(NULL|NUMERIC|TEXT|non-[A-Z]+) value in |CHECK constraint failed in ")
FREE_SPACE = "Free some space there."


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """A consistent copy of `source` at `path`, which does not change any more."""

    source: Path
    path: Path
    size: int
    sha256: str
    wal: bool
    """Whether it includes changes from a ``-wal`` file."""

    @property
    def uri(self) -> str:
        return read_only_uri(self.path, immutable=True)


@dataclass(kw_only=True)
class Source:
    """The live file. `changed()` tells whether a program wrote to it since the snapshot."""

    path: Path
    connection: sqlite3.Connection
    version: int
    stamp: tuple[int, int]

    def changed(self) -> bool:
        (version,) = self.connection.execute("PRAGMA data_version").fetchone()
        return bool(version != self.version) or stamp_of(self.path) != self.stamp


def stamp_of(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_mtime_ns, status.st_size


@contextlib.contextmanager
def opened(path: Path, *, hint: str) -> Iterator[Source]:
    """The live file, watched for changes until the end of the block. `hint` is for a missing file."""
    check_exists(path, hint)
    with contextlib.closing(open_source(path)) as connection:
        (version,) = connection.execute("PRAGMA data_version").fetchone()
        yield Source(path=path, connection=connection, version=version, stamp=stamp_of(path))


def take_snapshot(
    *, source: Source, destination: Path, on_progress: ProgressCallback = no_progress, if_full: str = FREE_SPACE
) -> Snapshot:
    """Copy `source` to the new file `destination` (mode 0600), check it, and sync it.

    The copy is what one reader sees at one moment, including the ``-wal``. It is written under a ``.partial`` name; a
    failure leaves nothing. Raises ArtifactInvalid for a damaged file, PreconditionFailed for a locked one or
    a full disk, with the hint `if_full`.
    """
    wal = sibling(source.path, "-wal")
    had_wal = size_of(wal) > 0
    partial = sibling(destination, ".partial")
    create_private(partial)
    try:
        copy_pages(source, partial, on_progress, if_full)
        with ThreadPoolExecutor(max_workers=1) as other_thread:
            # Neither holds Python's lock, and both take as long as reading the file.
            digest = other_thread.submit(digest_and_sync, partial)
            check_pages(source.path, partial)
        sha256 = digest.result()
        partial.rename(destination)
    finally:
        remove(partial)
    size = destination.stat().st_size
    return Snapshot(source=source.path, path=destination, size=size, sha256=sha256, wal=had_wal)


def digest_and_sync(path: Path) -> str:
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    sync(path)
    return sha256


def create_private(path: Path) -> None:
    """An empty file that only its owner can read. Raises FileExistsError rather than following or emptying another."""
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW, 0o600))


def copy_pages(
    source: Source, partial: Path, on_progress: ProgressCallback = no_progress, if_full: str = FREE_SPACE
) -> None:
    """Copy the pages of `source` at one moment into the empty file `partial`, damaged or not."""

    def report(_status: int, remaining: int, total: int) -> None:
        on_progress(Progress(stage=Stage.SNAPSHOT, done=total - remaining, total=total))

    # The open read transaction keeps every step of the backup on the same state of the file.
    source.connection.execute("BEGIN")
    try:
        source.connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        with contextlib.closing(sqlite3.connect(partial)) as target:
            target.execute("PRAGMA synchronous = OFF")
            source.connection.backup(target, pages=PAGES_PER_STEP, progress=report)
    except sqlite3.OperationalError as error:
        if "locked" in str(error):
            raise locked(source.path) from error
        if "disk" in str(error):
            raise PreconditionFailed(
                f"The copy of {source.path} could not be written to {partial.parent}: {error}.", if_full
            ) from error
        raise damaged(source.path, str(error)) from error
    except sqlite3.DatabaseError as error:
        raise damaged(source.path, str(error)) from error
    finally:
        source.connection.execute("ROLLBACK")


def check_pages(source: Path, copy: Path) -> None:
    """SQLite's ``quick_check``. Raises ArtifactInvalid for `source`."""
    if faults := faults_of(copy):
        raise damaged(source, faults)


def faults_of(path: Path) -> str:
    """The damage that SQLite finds in a file that does not change, reported or raised; '' for none.

    Rows that break a constraint are content, not damage.
    """
    try:
        with contextlib.closing(sqlite3.connect(read_only_uri(path, immutable=True), uri=True)) as connection:
            # Constraints of models may use Django's functions.
            register_django_functions(connection)
            register_collations(connection)
            connection.execute("PRAGMA ignore_check_constraints = ON")
            reported = (str(fault) for (fault,) in connection.execute(f"PRAGMA quick_check({NO_LIMIT})"))
            faults = list(itertools.islice((fault for fault in reported if not ABOUT_ROWS.match(fault)), 3))
    except sqlite3.DatabaseError as error:
        return str(error)
    return "; ".join(" ".join(fault.split()) for fault in faults)
