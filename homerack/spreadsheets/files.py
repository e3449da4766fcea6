"""The files of an import: a private folder in IMPORT_DIR, which the web server and the worker share.

It holds the uploaded files, numbered; what a process reports while it works; and the list of problems. Its lock shows
whether that process is alive: the kernel frees it with the process.
"""

import contextlib
import datetime as dt
import fcntl
import json
import os
import shutil
import time
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Any
from uuid import UUID

from django.conf import settings

from homerack.inventory.imports.refusals import printable

PROBLEMS = "problems.csv"
PROGRESS = "progress.json"
LOCK = "lock"
REPORT_INTERVAL = 0.5
"""Seconds between two reports of progress."""
MAX_NAME = 120
"""Characters of the name of a file that are kept."""
MAX_FILES = 50
MAX_UNPACKED = 250_000_000
"""Bytes of the files of an archive."""
MAX_COUNTED = 50_000_000
"""Bytes of a sheet in which rows are counted; a larger one is large anyway."""
COPY_BYTES = 1 << 20
ENCRYPTED = 1
"""A bit of the flags of a file in an archive."""


class CannotStore(Exception):
    """An upload that cannot be read as files. Nothing was kept."""


class ImportFolder:
    """The folder of one import."""

    def __init__(self, key: UUID | str) -> None:
        self.path = Path(settings.IMPORT_DIR) / str(key)

    def delete(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)

    def is_older_than(self, age: dt.timedelta) -> bool:
        with contextlib.suppress(OSError):
            return time.time() - self.path.stat().st_mtime > age.total_seconds()
        return False

    def delete_uploads(self) -> None:
        """What is not needed once the import has ended. The list of problems stays."""
        for path in self.path.glob("*"):
            if path.name.isdecimal() or path.name == PROGRESS:
                path.unlink(missing_ok=True)

    # --- The uploaded files ---------------------------------------------------------------------------------------
    def store(self, uploads: Iterable[tuple[str, IO[bytes]]]) -> list[str]:
        """Copy the files, and those in archives. Returns their names. Raises CannotStore."""
        self.path.mkdir(mode=0o700, parents=True)
        names: list[str] = []
        try:
            for name, file in uploads:
                for inner, blocks in unpacked(printable(name, MAX_NAME), file):
                    self.write(len(names), blocks)
                    names.append(inner)
        except BaseException:
            self.delete()
            raise
        return names

    def write(self, number: int, blocks: Iterable[bytes]) -> None:
        if number >= MAX_FILES:
            raise CannotStore(f"There are more than {MAX_FILES} files.")
        used = sum(path.stat().st_size for path in self.path.iterdir())
        with self.file(number).open("xb") as file:
            for block in blocks:
                used += len(block)
                if used > MAX_UNPACKED:
                    raise CannotStore(
                        f"The files have more than {MAX_UNPACKED // 1_000_000} MB when they are unpacked."
                    )
                file.write(block)

    def file(self, number: int) -> Path:
        return self.path / str(number)

    def rows(self, names: Iterable[str], *, at_most: int) -> int:
        """About how many rows the files have; `at_most` for more."""
        found = 0
        for number, name in enumerate(names):
            with self.file(number).open("rb") as file:
                count = rows_of_workbook if PurePosixPath(name).suffix.lower() == ".xlsx" else rows_of_text
                found += count(file, at_most)
            if found >= at_most:
                return at_most
        return found

    # --- The process that works on it -----------------------------------------------------------------------------
    @contextlib.contextmanager
    def locked(self) -> Iterator[bool]:
        """Hold the lock, as long as the process lives; False if another one holds it, or the folder is gone."""
        try:
            lock = os.open(self.path / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError:
            yield False
            return
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            yield False
            return
        try:
            yield True
        finally:
            os.close(lock)

    def is_locked(self) -> bool:
        try:
            lock = os.open(self.path / LOCK, os.O_RDWR)
        except OSError:
            return False
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(lock)
        return False

    def read_progress(self) -> "dict[str, Any]":
        """``stage``, ``done`` and ``total``, or nothing. Another process may be writing or deleting it."""
        with contextlib.suppress(OSError, ValueError):
            found = json.loads((self.path / PROGRESS).read_text())
            if isinstance(found, dict):
                return found
        return {}


def folders() -> list[ImportFolder]:
    """Those of all imports, also of imports that have no row."""
    root = Path(settings.IMPORT_DIR)
    found = []
    for path in root.iterdir() if root.is_dir() else ():
        with contextlib.suppress(ValueError):
            found.append(ImportFolder(UUID(path.name)))
    return found


class Reporter:
    """Called with what an import does at the moment; writes it into the folder from time to time."""

    def __init__(self, folder: ImportFolder) -> None:
        self.path, self.stage, self.written = folder.path / PROGRESS, "", 0.0

    def __call__(self, stage: str, done: int, total: int) -> None:
        now = time.monotonic()
        if stage == self.stage and now < self.written + REPORT_INTERVAL:
            return
        self.stage, self.written = stage, now
        temporary = self.path.with_suffix(".new")
        with contextlib.suppress(OSError):
            temporary.write_text(json.dumps({"stage": stage, "done": done, "total": total}))
            temporary.replace(self.path)


# --- Reading uploads --------------------------------------------------------------------------------------------------
def unpacked(name: str, file: IO[bytes]) -> Iterator[tuple[str, Iterator[bytes]]]:
    """The name and the content of the file itself, or of those in an archive. A workbook is one file."""
    if PurePosixPath(name).suffix.lower() != ".zip":
        yield PurePosixPath(name).name, blocks_of(file)
        return
    with reading_archive(name):
        archive = zipfile.ZipFile(file)
    with archive:
        entries = [entry for entry in archive.infolist() if not entry.is_dir() and not is_hidden(entry.filename)]
        if not entries:
            raise CannotStore(f"There are no files in {name}.")
        for entry in entries:
            if entry.flag_bits & ENCRYPTED:
                raise CannotStore(f"{name} is encrypted. Make an archive without a password.")
            yield printable(PurePosixPath(entry.filename).name, MAX_NAME), blocks_of_entry(name, archive, entry)


def blocks_of(file: IO[bytes]) -> Iterator[bytes]:
    file.seek(0)
    while block := file.read(COPY_BYTES):
        yield block


def blocks_of_entry(name: str, archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Iterator[bytes]:
    with reading_archive(name):
        file = archive.open(entry)
    with file:
        while True:
            with reading_archive(name):
                block = file.read(COPY_BYTES)
            if not block:
                return
            yield block


@contextlib.contextmanager
def reading_archive(name: str) -> Iterator[None]:
    """Raises CannotStore: zipfile and zlib raise errors of many kinds for damaged archives."""
    try:
        yield
    except Exception as error:
        raise CannotStore(f"The archive {name} is damaged: {printable(str(error))}") from error


def is_hidden(path: str) -> bool:
    """Also what macOS adds to archives."""
    return any(part.startswith(".") or part == "__MACOSX" for part in PurePosixPath(path).parts)


def rows_of_text(file: IO[bytes], at_most: int) -> int:
    found = 0
    while found < at_most and (block := file.read(COPY_BYTES)):
        # Old spreadsheets for macOS end lines with a carriage return alone; UTF-16 has a zero byte after either.
        found += max(block.count(b"\n"), block.count(b"\r"))
    return found


def rows_of_workbook(file: IO[bytes], at_most: int) -> int:
    """A damaged workbook has none: it is refused when it is read."""
    found = unpacked_bytes = 0
    try:
        with zipfile.ZipFile(file) as archive:
            for name in archive.namelist():
                if not name.startswith("xl/") or not name.endswith(".xml"):
                    continue
                with archive.open(name) as sheet:
                    while block := sheet.read(COPY_BYTES):
                        found += block.count(b"<row")
                        unpacked_bytes += len(block)
                        if found >= at_most or unpacked_bytes > MAX_COUNTED:
                            return at_most
    except Exception:  # noqa: BLE001  # zipfile and zlib raise errors of many kinds for damaged archives
        return 0
    return found
