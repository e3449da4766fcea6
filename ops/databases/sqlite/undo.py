"""The previous database of a swap, and the recovery of a swap that was interrupted.

Three suffixes of the database file are used: ``.ops-swap.json`` (the intent) describes a swap that is about to happen,
``.ops-undo.json`` (the record) names the undo file, and ``.ops-undo-<hex>`` is that file. A swap writes the undo file,
the intent, the new content together with a marker, and then renames the intent to the record. Wherever it is killed,
the marker in the live database tells whether the swap had happened.
"""

import contextlib
import datetime as dt
import glob
import json
import os
import sqlite3
from dataclasses import asdict, dataclass
from pathlib import Path

from ops.databases.sqlite.files import (
    JOURNALS,
    access_error,
    copy_owner,
    is_broken,
    remove,
    sibling,
    sync,
    writing,
)
from ops.databases.sqlite.tables import SWAP_MARKER

SWAP_INTENT = ".ops-swap.json"
RECORD = ".ops-undo.json"
FILES = ".ops-undo-"


@dataclass(frozen=True, kw_only=True)
class UndoRecord:
    """The previous database. `file` is its name in the directory of the live one, `when` ISO 8601 in UTC."""

    file: str
    when: str
    run: str
    backup: str


def new_record(path: Path, *, run: str, backup: str) -> UndoRecord:
    name = f"{path.name}{FILES}{os.urandom(4).hex()}"
    return UndoRecord(file=name, when=dt.datetime.now(dt.UTC).isoformat(), run=run, backup=backup)


def read_record(path: Path, suffix: str = RECORD) -> UndoRecord | None:
    try:
        record = UndoRecord(**json.loads(sibling(path, suffix).read_text()))
    except FileNotFoundError:
        return None
    return record if suffix == SWAP_INTENT or path.with_name(record.file).exists() else None


def write_intent(path: Path, record: UndoRecord) -> None:
    """Write and sync the intent before the swap."""
    partial = sibling(path, SWAP_INTENT + ".partial")
    partial.write_text(json.dumps(asdict(record)))
    partial.chmod(0o600)
    copy_owner(partial, path)
    sync(partial)
    partial.replace(sibling(path, SWAP_INTENT))
    sync(path.parent)


def recover_interrupted_swap(path: Path) -> tuple[UndoRecord, bool] | None:
    """Complete or roll back the swap of which `path` has an intent. Returns its record, and whether it had happened.

    If so, its undo file replaces the earlier one; otherwise its undo file is deleted.
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
    """Rename the journals back that `swap.replace_corrupt` had renamed already."""
    for suffix in JOURNALS:
        with contextlib.suppress(FileNotFoundError):
            sibling(aside, suffix).rename(sibling(path, suffix))


def drop_previous_database(path: Path) -> None:
    if record := read_record(path):
        sibling(path, RECORD).unlink()
        remove(path.with_name(record.file))


def remove_orphans(path: Path) -> list[Path]:
    """Delete undo files without a record, of swaps that were killed before they wrote their intent."""
    record = read_record(path)
    current = record.file if record else ""
    orphans = [
        orphan
        for orphan in sorted(path.parent.glob(f"{glob.escape(path.name + FILES)}*"))
        if not current or not orphan.name.startswith(current)
    ]
    for orphan in orphans:
        orphan.unlink()
    sibling(path, SWAP_INTENT + ".partial").unlink(missing_ok=True)
    return orphans


# --- The marker ---------------------------------------------------------------------------------------------
def write_marker(connection: sqlite3.Connection, run: str) -> None:
    connection.execute(f"DROP TABLE IF EXISTS {SWAP_MARKER}")
    connection.execute(f"CREATE TABLE {SWAP_MARKER} AS SELECT ? AS run", [run])


def read_marker(path: Path) -> str:
    """The run whose swap wrote the content of `path`, until the marker is dropped."""
    if not path.exists():
        return ""
    try:
        with writing(path) as connection:
            (run,) = connection.execute(f"SELECT run FROM {SWAP_MARKER}").fetchone()
            return str(run)
    except sqlite3.DatabaseError as error:
        if not is_broken(error):
            # The answer decides which of two files is deleted, so an error must not count as "no".
            raise access_error(path, error) from error
        return ""


def drop_marker(path: Path) -> None:
    """The marker does no harm: if the database is locked, the next operation tries again."""
    with contextlib.suppress(sqlite3.OperationalError), writing(path) as connection:
        connection.execute(f"DROP TABLE IF EXISTS {SWAP_MARKER}")
