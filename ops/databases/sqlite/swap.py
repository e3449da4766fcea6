"""Replace the content of a SQLite file in one step, while other programs use it.

SQLite's backup API writes the content *into* the live file, as one transaction of its write-ahead log: readers see the
old or the new content, connections stay open, and a killed process leaves the old content. A file that is renamed into
place would be used with the journal of the other one.
"""

import contextlib
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
    writing,
)
from ops.databases.sqlite.snapshot import PAGES_PER_STEP
from ops.databases.sqlite.undo import (
    UndoRecord,
    new_record,
    recover_interrupted_swap,
    write_intent,
    write_marker,
)
from ops.errors import PreconditionFailed

SECONDS_BETWEEN_TRIES = 0.02


def swap(path: Path, new: Path, *, run: str, backup: str) -> None:
    """Give `path` the content of `new`, which no program uses and which is consumed, and keep the old content.

    A damaged file is renamed, and `new` gets its name. Raises PreconditionFailed; then `path` and the previous database
    are unchanged.
    """
    record = new_record(path, run=run, backup=backup)
    try:
        if not path.exists():
            move_into_place(path, new)
        elif not is_database(path):
            replace_corrupt(path, new, record)
        else:
            overwrite_live(path, new, record)
    except OSError as error:
        raise PreconditionFailed(
            f"{path} could not be replaced: {error.strerror}. It is unchanged.", "Free some space, or run as its owner."
        ) from error
    finally:
        # The database tells whether the swap happened: Ctrl-C may have come at any moment.
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
    """`path` and its journals get another name; then `new` gets the name `path` in one step."""
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


# --- A valid live file --------------------------------------------------------------------------------------
def overwrite_live(path: Path, new: Path, record: UndoRecord) -> None:
    """One transaction, which holds the write lock, saves the old content and writes the new one."""
    try:
        with writing(path) as live, writing(new) as source:
            match_settings(path, live, source)
            write_marker(source, record.run)
            deadline = time.monotonic() + LOCK_TIMEOUT
            saved = False

            def save_old(status: int, _remaining: int, _total: int) -> None:
                nonlocal saved
                if status in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
                    if time.monotonic() > deadline:
                        raise locked(path)
                elif not saved:
                    # The transaction has written its first pages: no other program can write now.
                    save_undo_copy(path, record)
                    saved = True

            (pages,) = source.execute("PRAGMA page_count").fetchone()
            # Never all pages in one step: that would commit before the old content is saved.
            steps = max(1, min(PAGES_PER_STEP, pages - 1))
            source.backup(live, pages=steps, progress=save_old, sleep=SECONDS_BETWEEN_TRIES)
            truncate_wal(live)
    except sqlite3.OperationalError as error:
        if "locked" in str(error):
            raise locked(path) from error
        raise PreconditionFailed(
            f"The new content could not be written to {path}: {error}. It is unchanged.", snapshot.FREE_SPACE
        ) from error


def truncate_wal(live: sqlite3.Connection) -> None:
    """The log is as large as the content now. It is not truncated while other programs read, which does no harm."""
    live.execute("PRAGMA busy_timeout = 0")
    with contextlib.suppress(sqlite3.OperationalError):
        live.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def match_settings(path: Path, live: sqlite3.Connection, source: sqlite3.Connection) -> None:
    """The backup API needs a write-ahead log in the live file, equal page sizes and encodings."""
    (mode,) = live.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        raise PreconditionFailed(
            f"{path} cannot use a write-ahead log, so other programs would see incomplete content.",
            "Move the file to a local disk.",
        )
    live.execute("PRAGMA synchronous = FULL")
    new_encoding, encoding = value(source, "encoding"), value(live, "encoding")
    if new_encoding != encoding:
        raise PreconditionFailed(
            f"{path} has the encoding {encoding}, and the restored file has {new_encoding}.",
            "Convert it first: sqlite3 FILE .dump | sqlite3 converted.db",
        )
    if value(source, "page_size") != value(live, "page_size"):
        source.execute(f"PRAGMA page_size = {value(live, 'page_size')}")
        source.execute("VACUUM")


def value(connection: sqlite3.Connection, pragma: str) -> object:
    (found,) = connection.execute(f"PRAGMA {pragma}").fetchone()
    return found


def save_undo_copy(path: Path, record: UndoRecord) -> None:
    """Save the content of `path` as the undo file, and the intent that names it, both synced."""
    undo_file = path.with_name(record.file)
    try:
        snapshot.create_private(undo_file)
        with snapshot.opened(path, hint="") as source:
            snapshot.copy_pages(source, undo_file)
        copy_owner(undo_file, path)
        sync(undo_file)
        write_intent(path, record)
    except BaseException:
        remove(undo_file)
        raise
