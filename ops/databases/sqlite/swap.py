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
    access_error,
    copy_owner,
    is_broken,
    locked,
    readable,
    remove,
    sibling,
    sync,
)
from ops.databases.sqlite.snapshot import PAGES_PER_STEP
from ops.databases.sqlite.undo import (
    UndoRecord,
    recover_interrupted_swap,
    undo_files_name,
    write_intent,
    write_marker,
    writing,
)
from ops.errors import PreconditionFailed

SECONDS_BETWEEN_TRIES = 0.02


def swap(path: Path, new: Path, *, run: str, backup: str) -> None:
    """Give `path` the content of `new`, a file that nobody uses and that is used up, and keep the old as the undo.

    A file that is no database any more is set aside as it is, and `new` renamed into its place.
    Raises PreconditionFailed, and then `path` and its undo are as they were.
    """
    record = UndoRecord(file=undo_files_name(path), when=dt.datetime.now(dt.UTC).isoformat(), run=run, backup=backup)
    try:
        if not path.exists():
            move_into_place(path, new)
        elif not is_database(path):
            replace_corrupt(path, new, record)
        else:
            overwrite_live(path, new, record)
    except OSError as error:
        raise PreconditionFailed(
            f"{path} could not be replaced: {error.strerror}. It is as it was.", "Free some space, or run as its owner."
        ) from error
    finally:
        # Whether it happened is asked of the database: Ctrl-C may have come at any moment.
        recover_interrupted_swap(path)


def is_database(path: Path) -> bool:
    try:
        with writing(path) as connection:
            readable(connection)
    except sqlite3.DatabaseError as error:
        if not is_broken(error):
            raise access_error(path, error) from error
        return False
    return True


def move_into_place(path: Path, new: Path) -> None:
    for suffix in JOURNALS:
        sibling(path, suffix).unlink(missing_ok=True)
    copy_owner(new, path)
    sync(new)
    os.replace(new, path)  # noqa: PTH105
    sync(path.parent)


def replace_corrupt(path: Path, new: Path, record: UndoRecord) -> None:
    """`path` gets a second name and loses its journals to that; then `new` takes the first name in one step."""
    aside = path.with_name(record.file)
    with writing(new) as connection:
        write_marker(connection, record.run)
    copy_owner(new, path)
    new.chmod(path.stat().st_mode & 0o777)
    sync(new)
    write_intent(path, record)
    aside.hardlink_to(path)
    for suffix in JOURNALS:
        with contextlib.suppress(FileNotFoundError):
            sibling(path, suffix).rename(sibling(aside, suffix))
    new.replace(path)
    sync(path.parent)


# --- Into a live file ---------------------------------------------------------------------------------------
def overwrite_live(path: Path, new: Path, record: UndoRecord) -> None:
    """One transaction that holds the write lock while the old content is copied to the undo and the new is written."""
    try:
        with writing(path) as live, writing(new) as source:
            match_settings(path, live, source)
            write_marker(source, record.run)
            deadline = time.monotonic() + LOCK_TIMEOUT
            kept = False

            def keep_old(status: int, _remaining: int, _total: int) -> None:
                nonlocal kept
                if status in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
                    if time.monotonic() > deadline:
                        raise locked(path)
                elif not kept:
                    # The first pages are in the open transaction: from here on nobody else writes.
                    save_undo_copy(path, record)
                    kept = True

            (pages,) = source.execute("PRAGMA page_count").fetchone()
            # Not all in the first step, which would end the transaction before the old content is safe.
            steps = max(1, min(PAGES_PER_STEP, pages - 1))
            source.backup(live, pages=steps, progress=keep_old, sleep=SECONDS_BETWEEN_TRIES)
            truncate_wal(live)
    except sqlite3.OperationalError as error:
        if "locked" in str(error):
            raise locked(path) from error
        raise PreconditionFailed(
            f"The new content could not be written to {path}: {error}. It is as it was.", snapshot.FREE_SPACE
        ) from error


def truncate_wal(live: sqlite3.Connection) -> None:
    """The log is as large as the content now. While others are reading it stays, and it hurts nobody."""
    live.execute("PRAGMA busy_timeout = 0")
    with contextlib.suppress(sqlite3.OperationalError):
        live.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def match_settings(path: Path, live: sqlite3.Connection, source: sqlite3.Connection) -> None:
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


def save_undo_copy(path: Path, record: UndoRecord) -> None:
    """The content of `path` as the undo file, on the disk, and the intent that names it."""
    kept = path.with_name(record.file)
    try:
        snapshot.create_private(kept)
        with snapshot.opened(path, hint="") as source:
            snapshot.copy_pages(source, kept)
        copy_owner(kept, path)
        sync(kept)
        write_intent(path, record)
    except BaseException:
        remove(kept)
        raise
