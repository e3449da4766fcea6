"""An untrusted SQLite file: surveyed, read and copied through a limited process."""

from collections.abc import Collection, Mapping
from pathlib import Path

from ops.backups.engines.base import (
    Columns,
    LoadedRows,
    Rows,
    Scratch,
    UntrustedFile,
    parts_left_out,
    rows_left_out,
)
from ops.backups.sources import RestoreSource
from ops.backups.untrusted import process
from ops.backups.untrusted.schema import natural_key_tables
from ops.databases.migration_state import MIGRATIONS_TABLE
from ops.databases.sqlite import tables
from ops.utils.progress import Progress, ProgressCallback, Stage

FILE = "untrusted.sqlite3"


class UntrustedSqliteFile(UntrustedFile):
    """Unpacked into `directory` and surveyed when it is created. Rows of the tables `excluded` are never copied."""

    def __init__(self, source: RestoreSource, directory: Path, *, excluded: Collection[str]) -> None:
        self._path = str(directory / FILE)
        self._excluded = excluded
        self._limits = process.limits_for(source.size)
        with source.opener() as stored:
            process.call("unpack_sqlite", limits=self._limits, feed=stored, kind=str(source.kind), path=self._path)
        found = process.call("survey_sqlite", limits=self._limits, path=self._path)
        self.migrations = tuple(f"{app}.{name}" for app, name in found["migrations"])
        self.rows: Mapping[str, int] = found["rows"]

    def read_columns(self, columns: Columns) -> Mapping[str, Rows]:
        found = process.call("read_sqlite_columns", limits=self._limits, path=self._path, columns=columns)
        return {table: [tuple(row) for row in rows] for table, rows in found.items()}

    def copy_rows(self, scratch: Scratch, *, on_progress: ProgressCallback) -> LoadedRows:
        destination = getattr(scratch, "path", None)
        if not isinstance(destination, Path):
            raise TypeError(scratch)
        on_progress(Progress(stage=Stage.LOAD, item="rows", total=sum(self.rows.values())))
        keys = natural_key_tables()
        with tables.reading(destination) as connection:
            existing = set(tables.table_names(connection))
        wanted = existing - {*self._excluded, *keys.names, MIGRATIONS_TABLE}
        done = process.call(
            "copy_sqlite_rows",
            limits=self._limits,
            path=self._path,
            destination=str(destination),
            tables=sorted(wanted),
            content_types=keys.content_types,
            permissions=keys.permissions,
        )
        process.call("check_sqlite_constraints", limits=self._limits, path=str(destination))
        others = {table: rows for table, rows in self.rows.items() if table not in {*wanted, *keys.names}}
        left_out = rows_left_out(others, known=existing)
        parts = parts_left_out(unmatched=done["unmatched"], unknown_columns=done["columns"])
        return LoadedRows(rows=done["rows"], left_out=left_out + parts)
