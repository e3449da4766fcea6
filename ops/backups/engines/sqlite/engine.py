"""Backups of a SQLite file."""

import contextlib
import datetime as dt
import functools
import shutil
import sqlite3
import threading
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from pathlib import Path
from typing import IO

from ops.backups.engines.base import NOTHING, Columns, Engine, Rows, Snapshot, Tables, UntrustedFile
from ops.backups.engines.sqlite.file_swap import KINDS, FileSwap, read_tables, require_kind
from ops.backups.engines.sqlite.untrusted import UntrustedSqliteFile
from ops.backups.manifest import Kind
from ops.backups.sources import RestoreSource
from ops.backups.table_policy import cannot_exclude, never_from_untrusted_files
from ops.conf import setting_name
from ops.databases.leftovers import NO_CLAIMS, Claims
from ops.databases.migration_state import MIGRATIONS_TABLE, recorded_migrations
from ops.databases.sqlite import tables, undo
from ops.databases.sqlite.emptying import empty_tables, find_tables, references_to
from ops.databases.sqlite.files import access_error, explain_read_only, sibling, size_of, writing
from ops.databases.sqlite.lock import locked
from ops.databases.sqlite.snapshot import opened, take_snapshot
from ops.databases.sqlite.validate import unpack
from ops.databases.sqlite.workdir import sweep, working_directory
from ops.errors import PreconditionFailed
from ops.utils.formatting import format_size
from ops.utils.progress import Progress, ProgressCallback, Stage, no_progress
from ops.utils.streams import blocks_of


def read_blocks(path: Path, on_progress: ProgressCallback) -> Iterator[bytes]:
    total, done = path.stat().st_size, 0
    with path.open("rb") as file:
        for block in blocks_of(file):
            yield block
            done += len(block)
            on_progress(Progress(stage=Stage.DUMP, done=done, total=total))


@contextlib.contextmanager
def hash_in_background(path: Path) -> Iterator[Future[Tables]]:
    """Rows and digests of a file that does not change, read by a thread, which ends with the block."""
    ended = threading.Event()

    def stop_when_ended(_progress: Progress) -> None:
        if ended.is_set():
            raise CancelledError

    def read() -> Tables:
        with tables.reading(path) as connection:
            return read_tables(connection, stop_when_ended)

    with ThreadPoolExecutor(max_workers=1) as pool:
        try:
            yield pool.submit(read)
        finally:
            ended.set()


class SqliteEngine(Engine):
    """The file at `path`, which may be missing or damaged: then it can only be replaced.

    `parameters` are those with which the project opens it.
    """

    kind = "sqlite"
    kinds = KINDS

    def __init__(self, path: Path, *, parameters: Mapping[str, str] = NOTHING) -> None:
        self.path = path.resolve()
        self._parameters = parameters
        self.database = path.stem
        self.where = f"{self.database} in {self.path}"

    def locked(self, label: str) -> contextlib.AbstractContextManager[None]:
        return locked(self.path, label)

    def require_lock(self) -> None:
        """It cannot be lost: it ends with the process."""

    def sweep(self, claimed: Collection[str] = ()) -> tuple[str, ...]:  # noqa: ARG002  # names and locks of files tell whose they are
        found: list[str] = []
        if recovered := undo.recover_interrupted_swap(self.path):
            found.append(describe_recovery(recovered[0], happened=recovered[1]))
        elif undo.read_marker(self.path):
            undo.drop_marker(self.path)
        found += [f"Deleted {path}, a copy that a killed run had left." for path in undo.remove_orphans(self.path)]
        leftover = sweep(self.path.parent, of=self.path.name)
        return (*found, *(f"Deleted {path}, the working directory of a killed run." for path in leftover))

    def size(self) -> int:
        """The file and its write-ahead log."""
        return size_of(self.path) + size_of(sibling(self.path, "-wal"))

    def require_space(self) -> None:
        """Raises PreconditionFailed where the disk of the file has no room for a copy of it."""
        free, needed = shutil.disk_usage(self.path.parent).free, self.path.stat().st_size
        if free < needed:
            raise PreconditionFailed(
                f"A backup copies {self.path} first, which needs {format_size(needed)}, and {format_size(free)} is"
                f" free in {self.path.parent}. Nothing was written.",
                "Free some space there.",
            )

    def is_empty(self) -> bool:
        if not self.path.exists():
            return True
        try:
            with writing(self.path) as connection:
                return not tables.table_names(connection)
        except sqlite3.DatabaseError as error:
            raise access_error(self.path, error) from error

    @contextlib.contextmanager
    def snapshot(self, *, kind: Kind, excluded: Mapping[str, str] = NOTHING) -> Iterator[Snapshot]:
        require_kind(kind)
        with (
            opened(self.path, hint=f"Does {setting_name('DATABASES')} name the right file?") as source,
            self.working_directory() as directory,
        ):
            self.require_space()
            taken_at = dt.datetime.now(dt.UTC)
            pragmas = {
                pragma: str(source.connection.execute(f"PRAGMA {pragma}").fetchone()[0])
                for pragma in ("encoding", "page_size", "journal_mode")
            }
            copy = take_snapshot(source=source, destination=directory / self.path.name)
            left_out = remove_rows(copy.path, excluded)
            with tables.reading(copy.path) as connection:
                has_table = MIGRATIONS_TABLE in tables.table_names(connection)
                migrations = recorded_migrations(connection.cursor()) if has_table else ()
            with hash_in_background(copy.path) as counted:
                yield Snapshot(
                    taken_at=taken_at,
                    server_version=sqlite3.sqlite_version,
                    tool_version=sqlite3.sqlite_version,
                    size=copy.size,
                    metadata={"file": str(self.path), **pragmas},
                    migrations=migrations,
                    excluded=left_out,
                    stream=functools.partial(read_blocks, copy.path),
                    tables=counted.result,
                )

    def count(self, stream: IO[bytes], *, kind: Kind, on_progress: ProgressCallback) -> Mapping[str, int]:
        with self.unpacked(stream, kind, on_progress) as connection:
            return tables.count_rows(connection)

    def read_columns(self, stream: IO[bytes], *, kind: Kind, columns: Columns) -> Mapping[str, Rows]:
        with self.unpacked(stream, kind, no_progress) as connection:
            return tables.select_columns(connection, columns)

    @contextlib.contextmanager
    def unpacked(self, stream: IO[bytes], kind: Kind, on_progress: ProgressCallback) -> Iterator[sqlite3.Connection]:
        require_kind(kind)
        with self.working_directory() as directory:
            path = directory / self.path.name
            unpack(stream, path, stage=Stage.VERIFY, on_progress=on_progress)
            with tables.reading(path) as connection:
                yield connection

    def explain_read_only(self) -> tuple[str, str]:
        return explain_read_only(self.path, self._parameters)

    def require_ordinary_role(self) -> None:
        """SQLite has no roles."""

    @contextlib.contextmanager
    def untrusted(self, source: RestoreSource) -> Iterator[UntrustedFile]:
        require_kind(source.kind)
        with self.working_directory() as directory:
            yield UntrustedSqliteFile(source, directory, excluded=never_from_untrusted_files())

    def swap_strategy(self, claims: Claims = NO_CLAIMS) -> FileSwap:  # noqa: ARG002  # a lock tells whose run is dead
        return FileSwap(self.path)

    def working_directory(self) -> contextlib.AbstractContextManager[Path]:
        return working_directory(self.path.parent, of=self.path.name)


def remove_rows(path: Path, excluded: Mapping[str, str]) -> Mapping[str, str]:
    """Rewrite the copy at `path` without the rows of `excluded`. Returns the tables that it has, with reasons."""
    tables = find_tables(path, excluded)
    if references := references_to(path, tables):
        raise cannot_exclude(*references[0])
    empty_tables(path, tables)
    return {table: excluded[name] for table, name in tables.items()}


def describe_recovery(record: undo.UndoRecord, *, happened: bool) -> str:
    if happened:
        return (
            f"The run {record.run} was killed after it had swapped in {record.backup}: that is the live database now,"
            f" and the previous database is kept as {record.file}."
        )
    return f"The run {record.run} was killed before it could swap in {record.backup}: the database is unchanged."
