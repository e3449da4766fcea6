"""Put the content of one SQLite file in the place of another's, in one step, while other programs use that.

The content goes *into* the live file through SQLite's backup API, as one transaction of its write-ahead log: whoever
reads sees the old or the new, connections go on, and a process that is killed leaves the old. A file renamed into place
would be paired with the journal of the other one.
"""

import contextlib
import datetime as dt
import os
import sqlite3
import time
from pathlib import Path

from ops.databases.sqlite import snapshot
from ops.databases.sqlite.files import (
    JOURNALS,
    LOCK_TIMEOUT,
    adopt,
    beside,
    is_broken,
    locked,
    readable,
    remove,
    sync,
    unusable,
)
from ops.databases.sqlite.snapshot import PAGES_PER_STEP
from ops.databases.sqlite.undo import Record, settle, undo_files_name, write_intent, write_mark, writing
from ops.errors import PreconditionFailed

SECONDS_BETWEEN_TRIES = 0.02


def swap(path: Path, new: Path, *, run: str, backup: str) -> None:
    """Give `path` the content of `new`, a file that nobody uses and that is used up, and keep the old as the undo.

    A file that is no database any more is set aside as it is, and `new` renamed into its place.
    Raises PreconditionFailed, and then `path` and its undo are as they were.
    """
    record = Record(file=undo_files_name(path), when=dt.datetime.now(dt.UTC).isoformat(), run=run, backup=backup)
    try:
        if not path.exists():
            put_in_empty_place(path, new)
        elif not is_database(path):
            set_aside(path, new, record)
        else:
            pour(path, new, record)
    except OSError as error:
        raise PreconditionFailed(
            f"{path} could not be replaced: {error.strerror}. It is as it was.", "Free some space, or run as its owner."
        ) from error
    finally:
        # Whether it happened is asked of the database: Ctrl-C may have come at any moment.
        settle(path)


def is_database(path: Path) -> bool:
    try:
        with writing(path) as connection:
            readable(connection)
    except sqlite3.DatabaseError as error:
        if not is_broken(error):
            raise unusable(path, error) from error
        return False
    return True


def put_in_empty_place(path: Path, new: Path) -> None:
    for suffix in JOURNALS:
        beside(path, suffix).unlink(missing_ok=True)
    adopt(new, path)
    sync(new)
    os.replace(new, path)  # noqa: PTH105
    sync(path.parent)


def set_aside(path: Path, new: Path, record: Record) -> None:
    """`path` gets a second name and loses its journals to that; then `new` takes the first name in one step."""
    aside = path.with_name(record.file)
    with writing(new) as connection:
        write_mark(connection, record.run)
    adopt(new, path)
    new.chmod(path.stat().st_mode & 0o777)
    sync(new)
    write_intent(path, record)
    aside.hardlink_to(path)
    for suffix in JOURNALS:
        with contextlib.suppress(FileNotFoundError):
            beside(path, suffix).rename(beside(aside, suffix))
    new.replace(path)
    sync(path.parent)


# --- Into a live file ---------------------------------------------------------------------------------------
def pour(path: Path, new: Path, record: Record) -> None:
    """One transaction that holds the write lock while the old content is copied to the undo and the new is written."""
    try:
        with writing(path) as live, writing(new) as source:
            prepare(path, live, source)
            write_mark(source, record.run)
            deadline = time.monotonic() + LOCK_TIMEOUT
            kept = False

            def keep_old(status: int, _remaining: int, _total: int) -> None:
                nonlocal kept
                if status in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
                    if time.monotonic() > deadline:
                        raise locked(path)
                elif not kept:
                    # The first pages are in the open transaction: from here on nobody else writes.
                    keep(path, record)
                    kept = True

            (pages,) = source.execute("PRAGMA page_count").fetchone()
            # Not all in the first step, which would end the transaction before the old content is safe.
            steps = max(1, min(PAGES_PER_STEP, pages - 1))
            source.backup(live, pages=steps, progress=keep_old, sleep=SECONDS_BETWEEN_TRIES)
            shorten_log(live)
    except sqlite3.OperationalError as error:
        if "locked" in str(error):
            raise locked(path) from error
        raise PreconditionFailed(
            f"The new content could not be written to {path}: {error}. It is as it was.", snapshot.FREE_SPACE
        ) from error


def shorten_log(live: sqlite3.Connection) -> None:
    """The log is as large as the content now. While others are reading it stays, and it hurts nobody."""
    live.execute("PRAGMA busy_timeout = 0")
    with contextlib.suppress(sqlite3.OperationalError):
        live.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def prepare(path: Path, live: sqlite3.Connection, source: sqlite3.Connection) -> None:
    """What the backup API needs of both files: a write-ahead log there, equal pages and encodings."""
    (mode,) = live.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        raise PreconditionFailed(
            f"{path} can not be given a write-ahead log, so programs that use it would see half of the new content.",
            "Move it to a local disk.",
        )
    live.execute("PRAGMA synchronous = FULL")
    theirs, ours = value(source, "encoding"), value(live, "encoding")
    if theirs != ours:
        raise PreconditionFailed(
            f"{path} keeps its text in {ours}, and the file to put in its place in {theirs}.",
            "Convert it first: sqlite3 FILE .dump | sqlite3 converted.db",
        )
    if value(source, "page_size") != value(live, "page_size"):
        source.execute(f"PRAGMA page_size = {value(live, 'page_size')}")
        source.execute("VACUUM")


def value(connection: sqlite3.Connection, pragma: str) -> object:
    (found,) = connection.execute(f"PRAGMA {pragma}").fetchone()
    return found


def keep(path: Path, record: Record) -> None:
    """The content of `path` as the undo file, on the disk, and the intent that names it."""
    kept = path.with_name(record.file)
    try:
        snapshot.create_private(kept)
        with snapshot.opened(path, hint="") as source:
            snapshot.copy_pages(source, kept)
        adopt(kept, path)
        sync(kept)
        write_intent(path, record)
    except BaseException:
        remove(kept)
        raise
