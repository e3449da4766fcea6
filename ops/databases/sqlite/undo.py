"""The database that a swap replaced: which file it is, and what has to be done about a swap that was cut short.

Three names beside the database file are used. ``.ops-swap.json`` says what a swap is about to do, ``.ops-undo.json``
says which file is the undo, and ``.ops-undo-<hex>`` is such a file. A swap writes the undo file, then the first of
them, then the new content together with a mark, and then renames ``.ops-swap.json`` to ``.ops-undo.json``. Wherever it
is killed, the mark in the live database tells whether it had happened.
"""

import contextlib
import glob
import json
import os
import sqlite3
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from ops.databases.sqlite.files import (
    JOURNALS,
    LOCK_TIMEOUT,
    access_error,
    copy_owner,
    is_broken,
    remove,
    sibling,
    sync,
)
from ops.databases.sqlite.tables import SWAP_MARKER

SWAP_INTENT = ".ops-swap.json"
RECORD = ".ops-undo.json"
FILES = ".ops-undo-"


@dataclass(frozen=True, kw_only=True)
class UndoRecord:
    """An undo copy. `file` is its name in the directory of the database, `when` ISO 8601 in UTC."""

    file: str
    when: str
    run: str
    backup: str


def read_record(path: Path, suffix: str = RECORD) -> UndoRecord | None:
    try:
        record = UndoRecord(**json.loads(sibling(path, suffix).read_text()))
    except FileNotFoundError:
        return None
    return record if suffix == SWAP_INTENT or path.with_name(record.file).exists() else None


def write_intent(path: Path, record: UndoRecord) -> None:
    """On the disk before anything is swapped."""
    partial = sibling(path, SWAP_INTENT + ".partial")
    partial.write_text(json.dumps(asdict(record)))
    partial.chmod(0o600)
    copy_owner(partial, path)
    sync(partial)
    partial.replace(sibling(path, SWAP_INTENT))
    sync(path.parent)


def recover_interrupted_swap(path: Path) -> tuple[UndoRecord, bool] | None:
    """End the swap that `path` has an intent of: what it was, and whether it had happened.

    Then its undo is the undo, and the earlier one is gone; else its undo is gone, and the earlier one stays.
    """
    record = read_record(path, SWAP_INTENT)
    if record is None:
        return None
    happened = read_marker(path) == record.run
    if happened:
        earlier = read_record(path)
        sibling(path, SWAP_INTENT).replace(sibling(path, RECORD))
        sync(path.parent)
        if earlier:
            remove(path.with_name(earlier.file))
        drop_marker(path)
    else:
        restore_journals(path, path.with_name(record.file))
        remove(path.with_name(record.file))
        sibling(path, SWAP_INTENT).unlink()
    return record, happened


def restore_journals(path: Path, aside: Path) -> None:
    """A file that was to be set aside is still in its place (see `swap.replace_corrupt`), its journals may not be."""
    for suffix in JOURNALS:
        with contextlib.suppress(FileNotFoundError):
            sibling(aside, suffix).rename(sibling(path, suffix))


def drop_undo(path: Path) -> None:
    if record := read_record(path):
        sibling(path, RECORD).unlink()
        remove(path.with_name(record.file))


def remove_orphans(path: Path) -> list[Path]:
    """Undo files that no record names, of swaps that were killed before they wrote their intent."""
    record = read_record(path)
    kept = record.file if record else ""
    strays = [
        stray
        for stray in sorted(path.parent.glob(f"{glob.escape(path.name + FILES)}*"))
        if not kept or not stray.name.startswith(kept)
    ]
    for stray in strays:
        stray.unlink()
    sibling(path, SWAP_INTENT + ".partial").unlink(missing_ok=True)
    return strays


# --- The mark -----------------------------------------------------------------------------------------------
@contextlib.contextmanager
def writing(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection to a file that exists."""
    uri = f"{path.absolute().as_uri()}?mode=rw"
    with contextlib.closing(sqlite3.connect(uri, uri=True, isolation_level=None, timeout=LOCK_TIMEOUT)) as connection:
        yield connection


def write_marker(connection: sqlite3.Connection, run: str) -> None:
    connection.execute(f"DROP TABLE IF EXISTS {SWAP_MARKER}")
    connection.execute(f"CREATE TABLE {SWAP_MARKER} AS SELECT ? AS run", [run])


def read_marker(path: Path) -> str:
    """The run whose swap brought the content of `path`, until the mark is dropped."""
    if not path.exists():
        return ""
    try:
        with writing(path) as connection:
            (run,) = connection.execute(f"SELECT run FROM {SWAP_MARKER}").fetchone()
            return str(run)
    except sqlite3.DatabaseError as error:
        if not is_broken(error):
            # Not to know is not "no": it decides which of two files is thrown away.
            raise access_error(path, error) from error
        return ""


def drop_marker(path: Path) -> None:
    """It hurts nobody; where the database is in use all the time, the next operation tries again."""
    with contextlib.suppress(sqlite3.OperationalError), writing(path) as connection:
        connection.execute(f"DROP TABLE IF EXISTS {SWAP_MARKER}")


def undo_files_name(path: Path) -> str:
    return f"{path.name}{FILES}{os.urandom(4).hex()}"
