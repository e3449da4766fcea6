"""Writes refused rows in full, so that they can be fixed and entered later."""

import contextlib
import json
import os
from pathlib import Path
from typing import Any

from ops.databases.sqlite.snapshot import Snapshot
from ops.engine_migration.plan import Plan, TablePlan
from ops.engine_migration.preflight import PreflightResult
from ops.engine_migration.source_sql import connect
from ops.errors import PreconditionFailed
from ops.utils.identifiers import quoted


def check_directory(directory: Path) -> None:
    """Raises PreconditionFailed unless the directory is empty: rows of two runs must not be mixed."""
    try:
        if directory.exists() and any(directory.iterdir()):
            raise PreconditionFailed(f"The quarantine directory {directory} is not empty.", "Specify a new directory.")
    except OSError as error:
        raise PreconditionFailed(
            f"{directory} cannot be used: {error.strerror}.", "Specify a new directory."
        ) from error


def write_quarantine(*, directory: Path, plan: Plan, snapshot: Snapshot, preflight: PreflightResult) -> None:
    """Write a file ``TABLE.jsonl`` (mode 0600) for each table with refused rows: one JSON object per line and row.

    Binary values are written as ``{"hex": "…"}``.
    """
    check_directory(directory)
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    with contextlib.closing(connect(snapshot)) as connection:
        for table in plan.tables:
            if rows := preflight.refused.get(table.name):
                write_table(connection, table, rows, directory / f"{table.name}.jsonl")


def write_table(connection: Any, table: TablePlan, rows: Any, path: Path) -> None:
    with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w", encoding="utf-8") as file:
        for row in rows:
            cursor = connection.execute(f"SELECT * FROM {quoted(table.source)} WHERE rowid = ?", [row])
            names = [description[0] for description in cursor.description]
            values = {name: readable(value) for name, value in zip(names, cursor.fetchone(), strict=True)}
            file.write(json.dumps(values, ensure_ascii=False) + "\n")


def readable(value: Any) -> Any:
    return {"hex": value.hex()} if isinstance(value, bytes) else value
