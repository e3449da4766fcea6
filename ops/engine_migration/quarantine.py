"""Writes refused rows in full, so that they can be fixed and entered later."""

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ops.databases.sqlite.snapshot import Snapshot
from ops.engine_migration.plan import Plan, TablePlan
from ops.engine_migration.refusals import PreflightResult
from ops.engine_migration.source_sql import connect
from ops.errors import PreconditionFailed
from ops.utils.identifiers import quoted

SUFFIX = ".jsonl"
NAME_LIMIT = 150
"""Characters of a file name without its suffix."""


def check_directory(directory: Path) -> None:
    """Raises PreconditionFailed unless the directory is empty: rows of two runs must not be mixed."""
    try:
        if directory.exists() and any(directory.iterdir()):
            raise PreconditionFailed(f"The quarantine directory {directory} is not empty.", "Specify a new directory.")
    except OSError as error:
        raise PreconditionFailed(
            f"{directory} cannot be used: {error.strerror}.", "Specify a new directory."
        ) from error


def quarantine_files(plan: Plan, preflight: PreflightResult) -> Mapping[str, str]:
    """The names of the quarantine files, by table with refused rows."""
    return file_names(table.name for table in plan.tables if preflight.refused.get(table.name))


def file_names(tables: Iterable[str]) -> dict[str, str]:
    """A different file name for each table: ``TABLE.jsonl``, which any file system accepts.

    A table may have any name: all but ASCII letters, digits and ``_.-~`` is percent-encoded, as is a dot at the
    beginning. A long name is cut and gets a part of its hash; names that differ in case only get a number.
    """
    names: dict[str, str] = {}
    taken: set[str] = set()
    for table in tables:
        stem = unnumbered = encoded(table)
        number = 1
        while stem.lower() in taken:
            number += 1
            stem = f"{unnumbered}-{number}"
        taken.add(stem.lower())
        names[table] = stem + SUFFIX
    return names


def encoded(table: str) -> str:
    name = quote(table, safe="")
    if name.startswith("."):
        name = f"%2E{name[1:]}"
    if len(name) <= NAME_LIMIT:
        return name
    return f"{name[:NAME_LIMIT]}-{hashlib.sha256(table.encode()).hexdigest()[:8]}"


def write_quarantine(
    directory: Path, plan: Plan, preflight: PreflightResult, rows: Callable[[TablePlan], Iterable[str]]
) -> None:
    """Write a file (mode 0600) for each table with refused rows: one JSON object per line, as `rows` yields them."""
    check_directory(directory)
    names = quarantine_files(plan, preflight)
    with contextlib.ExitStack() as undo:
        try:
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            for table in plan.tables:
                if table.name in names:
                    undo.callback(discard, directory, [names[table.name]])
                    write_rows(directory / names[table.name], rows(table))
        except OSError as error:
            raise PreconditionFailed(
                f"The refused rows cannot be written to {directory}: {error.strerror}. No row was migrated.",
                "Specify a new directory that can be written to and has space.",
            ) from error
        undo.pop_all()


def discard_quarantine(directory: Path, plan: Plan, preflight: PreflightResult) -> None:
    """Delete what `write_quarantine` wrote for a migration that failed afterwards, so that it can be repeated."""
    discard(directory, quarantine_files(plan, preflight).values())


def discard(directory: Path, names: Iterable[str]) -> None:
    with contextlib.suppress(OSError):
        for name in names:
            (directory / name).unlink(missing_ok=True)
        directory.rmdir()


def write_rows(path: Path, rows: Iterable[str]) -> None:
    with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w", encoding="utf-8") as file:
        file.writelines(f"{row}\n" for row in rows)


def rows_of_file(snapshot: Snapshot, preflight: PreflightResult, table: TablePlan) -> Iterator[str]:
    """The refused rows of a file as JSON. Binary values are written as ``{"hex": "…"}``."""
    with contextlib.closing(connect(snapshot)) as connection:
        for row in preflight.refused[table.name]:
            cursor = connection.execute(f"SELECT * FROM {quoted(table.source)} WHERE {table.rowid} = ?", [row])
            names = [description[0] for description in cursor.description]
            values = {name: readable(value) for name, value in zip(names, cursor.fetchone(), strict=True)}
            yield json.dumps(values, ensure_ascii=False)


def readable(value: Any) -> Any:
    return {"hex": value.hex()} if isinstance(value, bytes) else value
