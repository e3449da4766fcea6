"""The SQLite file to move: checked, copied through the online backup API, and read from that copy only."""

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from ops.databases.sqlite import snapshot as snapshots
from ops.databases.sqlite.files import STOP_WRITERS, check_exists
from ops.databases.sqlite.snapshot import Snapshot, Source
from ops.errors import ArtifactInvalid, PreconditionFailed
from ops.utils.progress import ProgressCallback, no_progress

__all__ = ["STOP_WRITERS", "Snapshot", "Source", "opened", "take_snapshot"]

HEADER = b"SQLite format 3\x00"
NAME_THE_FILE = "Name the SQLite file with --sqlite-path FILE."
IF_FULL = "Free some space there, or set BACKUP_DIR to another disk."


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Source]:
    """The checked live file, watched for changes until the end of the block."""
    check_exists(path, NAME_THE_FILE)
    check_header(path)
    with snapshots.opened(path, hint=NAME_THE_FILE) as source:
        check_encoding(path, source.connection)
        yield source


def take_snapshot(*, source: Source, destination: Path, on_progress: ProgressCallback = no_progress) -> Snapshot:
    """See `ops.databases.sqlite.snapshot.take_snapshot`."""
    return snapshots.take_snapshot(source=source, destination=destination, on_progress=on_progress, if_full=IF_FULL)


def check_header(path: Path) -> None:
    with path.open("rb") as file:
        header = file.read(len(HEADER))
    if header != HEADER:
        raise ArtifactInvalid(
            f"{path} is not a SQLite file, or it is encrypted.",
            "An encrypted file has to be decrypted with the program that made it.",
        )


def check_encoding(path: Path, connection: sqlite3.Connection) -> None:
    (encoding,) = connection.execute("PRAGMA encoding").fetchone()
    if encoding != "UTF-8":
        raise PreconditionFailed(
            f"{path} keeps its text in {encoding}, and only UTF-8 can be moved.",
            f"Convert a copy: sqlite3 {path} .dump | sqlite3 converted.db",
        )
