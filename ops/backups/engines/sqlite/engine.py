"""A SQLite file as what is backed up and restored (see `ops.backups.engines.base`)."""

import contextlib
import datetime as dt
import shutil
import sqlite3
import threading
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from django.db.backends.base.base import BaseDatabaseWrapper

from ops.backups.engines.base import (
    NOTHING,
    Columns,
    Description,
    PreviousDatabase,
    Rows,
    Scratch,
    Tables,
    UntrustedFile,
)
from ops.backups.engines.sqlite.untrusted import UntrustedSqliteFile
from ops.backups.manifest import Kind, TableDigest
from ops.backups.sources import RestoreSource
from ops.backups.table_policy import cannot_exclude, never_from_untrusted_files
from ops.conf import setting_name
from ops.databases.claims import NO_CLAIMS, Claims
from ops.databases.override import override_database, sqlite_wrapper
from ops.databases.sqlite import tables, undo
from ops.databases.sqlite.emptying import empty_tables, find_tables, references_to
from ops.databases.sqlite.files import checkpoint_and_leave_wal, read_only_uri, sibling, sync
from ops.databases.sqlite.live_rows import copy_rows
from ops.databases.sqlite.lock import locked
from ops.databases.sqlite.snapshot import create_private, opened, take_snapshot
from ops.databases.sqlite.swap import is_database, swap
from ops.databases.sqlite.validate import check, unpack
from ops.databases.sqlite.workdir import sweep, working_directory
from ops.errors import ArtifactInvalid, PreconditionFailed
from ops.utils.formatting import format_size
from ops.utils.progress import Progress, ProgressCallback, Stage, no_progress

PIECE = 4 << 20
"""Bytes."""
KINDS = (Kind.SQLITE_GZIP, Kind.SQLITE)


def read_tables(connection: sqlite3.Connection, on_progress: ProgressCallback) -> Tables:
    """Every table's rows and digest; `ops.databases.sqlite.tables` says how that is made."""

    def table(name: str) -> TableDigest:
        total = tables.count(connection, name)

        def tell(done: int) -> None:
            on_progress(Progress(stage=Stage.COMPARE, item=name, done=done, total=total))

        rows, digest = tables.digest(connection, name, tell)
        return TableDigest(rows=rows, digest=digest)

    return {name: table(name) for name in tables.table_names(connection)}


def read_migrations(connection: sqlite3.Connection) -> tuple[str, ...]:
    if "django_migrations" not in tables.table_names(connection):
        return ()
    rows = connection.execute("SELECT app || '.' || name FROM django_migrations ORDER BY id")
    return tuple(name for (name,) in rows)


@dataclass(kw_only=True)
class SqliteSnapshot:
    """A copy of the live file, checked."""

    path: Path
    description: Description
    migrations: tuple[str, ...]
    taken_at: dt.datetime
    excluded: Mapping[str, str]
    counted: Future[Tables]

    def stream(self, on_progress: ProgressCallback) -> Iterator[bytes]:
        total, done = self.path.stat().st_size, 0
        with self.path.open("rb") as file:
            while piece := file.read(PIECE):
                yield piece
                done += len(piece)
                on_progress(Progress(stage=Stage.DUMP, done=done, total=total))

    def tables(self) -> Tables:
        return self.counted.result()


@contextlib.contextmanager
def hash_in_background(path: Path) -> Iterator[Future[Tables]]:
    """The tables of a file that nobody writes to, read by a thread while others go on; it ends with the block."""
    ended = threading.Event()

    def watch(_progress: Progress) -> None:
        if ended.is_set():
            raise CancelledError

    def read() -> Tables:
        with tables.reading(path) as connection:
            return read_tables(connection, watch)

    with ThreadPoolExecutor(max_workers=1) as pool:
        try:
            yield pool.submit(read)
        finally:
            ended.set()


@dataclass(kw_only=True)
class SqliteScratch:
    """A file in a working directory. `name` is where it is to be in the end."""

    path: Path
    name: str
    live: Path
    kept: bool = False

    def load(self, stream: IO[bytes], *, kind: Kind, on_progress: ProgressCallback) -> Mapping[str, int]:
        require_kind(kind)
        unpack(stream, self.path, stage=Stage.LOAD, on_progress=on_progress)
        check(self.path)
        checkpoint_and_leave_wal(self.path)
        with tables.reading(self.path) as connection:
            return tables.count_rows(connection)

    def analyze(self, on_progress: ProgressCallback) -> None:
        """SQLite plans well enough without statistics for the tables of a home lab."""

    def tables(self, on_progress: ProgressCallback) -> Tables:
        with tables.reading(self.path) as connection:
            return read_tables(connection, on_progress)

    def as_default(self) -> contextlib.AbstractContextManager[BaseDatabaseWrapper]:
        return override_database(sqlite_wrapper(str(self.path)))

    def keep(self) -> None:
        self.kept = True

    def copy_live_rows(self, tables: Collection[str]) -> tuple[str, ...]:
        return copy_rows(self.path, live=self.live, tables=tables)


def require_kind(kind: Kind) -> None:
    if kind not in KINDS:
        raise ArtifactInvalid(
            f"A backup that ends in .{kind} is one of PostgreSQL, and this database is a SQLite file.",
            f"Set {setting_name('DATABASES')} to a PostgreSQL database to restore it there.",
        )


class SqliteEngine:
    """The file at `path`, which may be missing or broken: then it can only be replaced."""

    kind = "sqlite"

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()
        self.database = path.stem
        self.where = f"{self.database} in {self.path}"

    @contextlib.contextmanager
    def locked(self, label: str) -> Iterator[None]:
        with locked(self.path, label):
            yield

    def sweep(self, claimed: Collection[str] = ()) -> tuple[str, ...]:  # noqa: ARG002  # its files know their runs
        found: list[str] = []
        if settled := undo.recover_interrupted_swap(self.path):
            found.append(describe_recovery(settled[0], happened=settled[1]))
        elif undo.read_marker(self.path):
            undo.drop_marker(self.path)
        found += [
            f"A copy that a killed operation left was removed: {path}." for path in undo.remove_orphans(self.path)
        ]
        leftover = sweep(self.path.parent, of=self.path.name)
        return (*found, *(f"What a killed operation was working on was removed: {path}." for path in leftover))

    def kinds(self) -> tuple[Kind, ...]:
        return KINDS

    def size(self) -> int:
        """The file and its write-ahead log."""
        files = (self.path, sibling(self.path, "-wal"))
        return sum(file.stat().st_size for file in files if file.is_file())

    def require_space(self) -> None:
        """Raises PreconditionFailed where the disk of the file has no room for a copy of it."""
        free, needed = shutil.disk_usage(self.path.parent).free, self.path.stat().st_size
        if free < needed:
            raise PreconditionFailed(
                f"A backup copies {self.path} first, which needs {format_size(needed)}, and {format_size(free)} are"
                f" free in {self.path.parent}. Nothing was written.",
                "Free some space there.",
            )

    @contextlib.contextmanager
    def snapshot(self, *, kind: Kind, excluded: Mapping[str, str] = NOTHING) -> Iterator[SqliteSnapshot]:
        require_kind(kind)
        with (
            opened(self.path, hint=f"Does {setting_name('DATABASES')} name the right file?") as source,
            self.working_directory() as directory,
        ):
            self.require_space()
            when = dt.datetime.now(dt.UTC)
            facts = {
                pragma: str(source.connection.execute(f"PRAGMA {pragma}").fetchone()[0])
                for pragma in ("encoding", "page_size", "journal_mode")
            }
            copy = take_snapshot(source=source, destination=directory / self.path.name)
            left_out = leave_out(copy.path, excluded)
            with tables.reading(copy.path) as connection:
                migrations = read_migrations(connection)
            description = Description(
                server_version=sqlite3.sqlite_version,
                tool_version=sqlite3.sqlite_version,
                size=copy.size,
                metadata={"file": str(self.path), **facts},
            )
            with hash_in_background(copy.path) as counted:
                yield SqliteSnapshot(
                    path=copy.path,
                    taken_at=when,
                    migrations=migrations,
                    description=description,
                    excluded=left_out,
                    counted=counted,
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
            check(path)
            with tables.reading(path) as connection:
                yield connection

    def require_ordinary_role(self) -> None:
        """SQLite has no roles."""

    @contextlib.contextmanager
    def untrusted(self, source: RestoreSource) -> Iterator[UntrustedFile]:
        require_kind(source.kind)
        with self.working_directory() as directory:
            yield UntrustedSqliteFile(source, directory, excluded=never_from_untrusted_files())

    @contextlib.contextmanager
    def scratch(
        self,
        *,
        name: str = "",
        for_swap: bool,
        claims: Claims = NO_CLAIMS,  # noqa: ARG002  # a directory of work is locked by its run
    ) -> Iterator[SqliteScratch]:
        final = Path(name) if name else self.path
        if name and for_swap:
            raise ValueError("A scratch with a name of its own stays beside the live database.")
        if name and final.exists():
            raise PreconditionFailed(f"{final} exists already.", "Name a file that does not exist yet.")
        with working_directory(final.parent, of=self.path.name) as directory:
            path = directory / final.name
            create_private(path)
            scratch = SqliteScratch(path=path, name=str(final), live=self.path)
            yield scratch
            if scratch.kept:
                link_into_place(path, final)

    def swap(self, scratch: Scratch, *, run: str, backup: str, claims: Claims = NO_CLAIMS) -> None:  # noqa: ARG002
        if not isinstance(scratch, SqliteScratch):
            raise TypeError(scratch)
        swap(self.path, scratch.path, run=run, backup=backup)

    def previous_database(self) -> PreviousDatabase | None:
        record = undo.read_record(self.path)
        if record is None:
            return None
        return PreviousDatabase(
            name=record.file,
            replaced_at=dt.datetime.fromisoformat(record.when),
            run=record.run,
            backup=record.backup,
            size=self.path.with_name(record.file).stat().st_size,
        )

    def previous_path(self) -> Path:
        record = undo.read_record(self.path)
        if record is None:
            raise PreconditionFailed(
                f"No database is kept that {self.path} could be put back to.",
                "Restore a backup: python manage.py list_backups",
            )
        return self.path.with_name(record.file)

    @contextlib.contextmanager
    def previous_as_staging(self) -> Iterator[SqliteScratch]:
        """A copy, so that the kept file is as it was if it is not put back."""
        kept = self.previous_path()
        with self.scratch(for_swap=True) as scratch:
            if not is_database(kept):
                raise PreconditionFailed(
                    f"The file that was replaced was no database any more; it is kept as {kept}.",
                    f"Save what can be read with: sqlite3 {kept} .recover | sqlite3 recovered.db",
                )
            shutil.copyfile(kept, scratch.path)
            checkpoint_and_leave_wal(scratch.path)
            yield scratch

    def previous_as_default(self) -> contextlib.AbstractContextManager[BaseDatabaseWrapper]:
        return override_database(sqlite_wrapper(read_only_uri(self.previous_path(), immutable=True)))

    def drop_previous(self) -> None:
        undo.drop_undo(self.path)

    def working_directory(self) -> contextlib.AbstractContextManager[Path]:
        return working_directory(self.path.parent, of=self.path.name)


def leave_out(path: Path, excluded: Mapping[str, str]) -> Mapping[str, str]:
    """Write the copy at `path` anew without the rows of the tables `excluded`; returns those that it has, with why."""
    tables = find_tables(path, excluded)
    if references := references_to(path, tables):
        raise cannot_exclude(*references[0])
    empty_tables(path, tables)
    return {table: excluded[name] for table, name in tables.items()}


def link_into_place(path: Path, final: Path) -> None:
    """Under its final name, which nobody must have taken meanwhile."""
    try:
        final.hardlink_to(path)
    except FileExistsError as error:
        raise PreconditionFailed(f"{final} was made by somebody else meanwhile.", "Name another file.") from error
    sync(final)
    sync(final.parent)


def describe_recovery(record: undo.UndoRecord, *, happened: bool) -> str:
    if happened:
        return (
            f"The run {record.run} was killed after it had put {record.backup} in place: that is the live database"
            f" now, and the one before it is kept in {record.file}."
        )
    return f"The run {record.run} was killed before it could put {record.backup} in place: the database is as it was."
