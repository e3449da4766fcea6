"""Looks for the files that rows name: a migration copies rows, not files.

Rows of Django's file fields name files in the storage of the field. Rows of a legacy file name files in a directory of
the program that wrote them. What is missing is a note, not a finding: the rows are the same in either database, and the
files may be missing on purpose, or on another machine.
"""

import contextlib
import re
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from django.core.exceptions import SuspiciousOperation
from django.core.files.storage import FileSystemStorage, Storage
from django.db import models

from ops.engine_migration.findings import Finding, FindingLog, Group
from ops.engine_migration.plan import ColumnPlan, TablePlan
from ops.errors import PreconditionFailed
from ops.utils.formatting import pluralize
from ops.utils.printable import printable
from ops.utils.redaction import redact

QUESTIONS = 1000
"""The files of one column that are looked for in a storage that is not a directory: each may take a request."""
SECONDS = 10
"""For all columns, however slow the storages are."""
NOT_MIGRATED = "not migrated"
"""Why files of another program are named whose directory nobody has named."""
LONGEST = 120
"""The characters of a path, or of an error, in a note."""

ReadNames = Callable[[TablePlan, ColumnPlan], Generator[tuple[str, str], None, None]]
"""The primary key, as text, and the value of each row with text in this column."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where the files of a column are: in `storage`, or in a directory of another `program` that nobody has named.

    Only values that begin with `prefix` name files.
    """

    storage: Storage | None
    prefix: str = ""
    program: str = ""

    @property
    def is_directory(self) -> bool:
        return isinstance(self.storage, FileSystemStorage)

    def __str__(self) -> str:
        if isinstance(self.storage, FileSystemStorage):
            return str(self.storage.location)
        return self.storage.__class__.__name__


def check_media_dir(directory: Path | None, tables: Sequence[TablePlan]) -> None:
    """Raises PreconditionFailed for a --media-dir that cannot be used."""
    if not directory:
        return
    if not directory.is_dir():
        raise PreconditionFailed(
            f"--media-dir {directory} is not a directory. Nothing was changed.",
            "Name the directory with the uploaded files of the program that wrote the SQLite file.",
        )
    if not any(table.files for table in tables):
        raise PreconditionFailed(
            "--media-dir is for files of other programs: no column of this SQLite file names such files. Nothing was"
            " changed.",
            "Leave the option out. Files of this project are looked for in its storages.",
        )


def find_missing_files(
    *, tables: Sequence[TablePlan], read: ReadNames, log: FindingLog, program: str = "", media_dir: Path | None = None
) -> tuple[str, ...]:
    """Add a finding to `log` for each row that names a missing file. Returns notes.

    `program` wrote the SQLite file, and `media_dir` has its files.
    """
    notes: list[str] = []
    deadline = time.monotonic() + SECONDS
    for table in tables:
        for column in (*table.columns, *table.files):
            if place := place_of(column, program, media_dir):
                # The search may end before the rows do.
                with contextlib.closing(read(table, column)) as rows:
                    notes += look_for(table, column, place, rows, log, deadline)
    log.flush()
    if not log.count:
        return tuple(notes)
    if any(group.reason == NOT_MIGRATED for group in log.groups):
        notes.append(f"manage.py migrate_to_postgres --media-dir DIR looks for them in the uploads of {program}.")
    return (*map(sentence_of, log.groups), *notes, f"All of these files: {log.path}")


def place_of(column: ColumnPlan, program: str, media_dir: Path | None) -> Place | None:
    """None for a column that names no files."""
    if column.files:
        storage = FileSystemStorage(location=media_dir) if media_dir else None
        return Place(storage=storage, prefix=column.files, program=program)
    return Place(storage=column.field.storage) if isinstance(column.field, models.FileField) else None


def look_for(
    table: TablePlan,
    column: ColumnPlan,
    place: Place,
    rows: Iterable[tuple[str, str]],
    log: FindingLog,
    deadline: float,
) -> list[str]:
    """Add findings for one column. Returns notes about what was not looked for, and about files that stay behind."""
    name = f"{table.name}.{column.name}"
    notes: list[str] = []
    asked = found = 0
    reason = f"not in {place}" if place.storage else NOT_MIGRATED
    for key, path in rows:
        if not path.startswith(place.prefix):
            continue
        if place.storage and (time.monotonic() > deadline or (asked >= QUESTIONS and not place.is_directory)):
            notes.append(f"Only the files of the first {pluralize(asked, 'row')} of {name} were looked for in {place}.")
            break
        asked += 1
        try:
            exists = place.storage is not None and has_file(place.storage, path.removeprefix(place.prefix))
        except Exception as error:  # noqa: BLE001 - the project's storages may raise anything
            what = shown(redact(f"{type(error).__name__}: {error}"))
            notes.append(f"The files of {name} could not be looked for in {place}: {what}")
            break
        found += exists
        if not exists:
            log.add(
                Finding(table=table.name, key=key, column=column.name, stored_type="text", value=path, reason=reason)
            )
    if found and place.program:
        named = "names a file" if found == 1 else "name files"
        notes.append(f"{pluralize(found, 'row')} of {name} {named} in {place}. Files are not migrated: keep them.")
    return notes


def has_file(storage: Storage, path: str) -> bool:
    try:
        return storage.exists(path)
    except (SuspiciousOperation, ValueError):
        # A path that leads out of the storage, or that no file can have.
        return False


def sentence_of(group: Group) -> str:
    named = "names a file that is" if group.count == 1 else "name files that are"
    paths = ", ".join(shown(example.value) for example in group.examples)
    more = " …" if group.count > len(group.examples) else ""
    return f"{pluralize(group.count, 'row')} of {group.table}.{group.column} {named} {group.reason}: {paths}{more}"


def shown(text: str) -> str:
    """On one line, and not too long."""
    text = re.sub(r"[\t\n]", " ", printable(text))
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
