"""Files in which every row has a label, and programs in other interpreters."""

import contextlib
import io
import os
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ops.backups.engines.sqlite.engine import SqliteEngine
from ops.backups.manifest import Kind
from ops.utils.progress import no_progress
from tests.support import forked
from tests.support.forked import Process

ROOT = Path(__file__).resolve().parents[3]
PREAMBLE = """
import os, signal, sys, time
from pathlib import Path
import django
django.setup()
from django.db import connection
from ops.backups.manifest import Kind
from ops.backups.engines.sqlite.engine import SqliteEngine
from ops.errors import OpsError
from ops.utils.progress import no_progress
"""


def write_content(path: Path, label: str, *, rows: int = 300, page_size: int = 4096, mode: str = "wal") -> None:
    """A file with `rows` rows of about a kilobyte that all have `label`, and an empty log."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA page_size = {page_size}")
        connection.execute(f"PRAGMA journal_mode = {mode}")
        connection.execute("CREATE TABLE item (id integer PRIMARY KEY, label text, filling blob)")
        connection.execute("CREATE INDEX item_label ON item (label)")
        connection.execute("CREATE TABLE log (number integer)")
        connection.executemany("INSERT INTO item (label, filling) VALUES (?, zeroblob(1000))", [[label]] * rows)
        connection.commit()


def content(path: Path) -> str:
    """The label of a valid file."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        ((label, last, rows, indexed),) = connection.execute(
            "SELECT min(label), max(label), count(*), (SELECT count(*) FROM item WHERE label = i.label) FROM item i"
        )
        assert (last, indexed) == (label, rows)
        return str(label)


def value(path: Path, query: str) -> Any:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        (found,) = connection.execute(query).fetchone()
        return found


def backup(path: Path) -> bytes:
    with SqliteEngine(path).snapshot(kind=Kind.SQLITE) as snapshot:
        return b"".join(snapshot.stream(no_progress))


def restore(engine: SqliteEngine, data: bytes, *, run: str, backup: str = "b.sqlite3") -> None:
    with engine.swap_strategy().scratch(for_swap=True) as scratch:
        scratch.load(io.BytesIO(data), kind=Kind.SQLITE, on_progress=no_progress)
        scratch.swap(run=run, backup=backup)


def other_files(path: Path) -> list[str]:
    """The other files in the directory, without the journals of the live file."""
    own = {path.name, *(path.name + suffix for suffix in ("-wal", "-shm", ".ops-lock"))}
    return sorted(entry.name for entry in path.parent.iterdir() if entry.name not in own)


def environment(path: Path) -> dict[str, str]:
    return os.environ | {
        "DATABASE_URL": f"sqlite:///{path}",
        "DJANGO_SETTINGS_MODULE": "homerack.settings",
        "PYTHONPATH": str(ROOT),
    }


def start(path: Path, code: str, *arguments: str) -> Process:
    """Run `code` in another process, in which `path` is Django's database."""
    return forked.start(
        ["-c", PREAMBLE + code, path, *arguments],
        env=environment(path),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


@contextlib.contextmanager
def ended(*programs: Process) -> Iterator[None]:
    try:
        yield
    finally:
        for program in programs:
            program.kill()
            program.communicate()


def undo(engine: SqliteEngine, *, run: str) -> None:
    """Undo the last restore."""
    with engine.locked("undo"), engine.swap_strategy().previous_as_staging() as scratch:
        scratch.swap(run=run, backup="undo")
