"""A SQLite file is replaced by the content of another one, which is prepared in a working directory."""

import contextlib
import datetime as dt
import shutil
import sqlite3
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from django.db.backends.base.base import BaseDatabaseWrapper

from ops.backups.engines.base import PreviousDatabase, Scratch, SwapStrategy, Tables
from ops.backups.manifest import Kind, TableDigest
from ops.conf import setting_name
from ops.databases.override import override_database, sqlite_wrapper
from ops.databases.postgres.differences import NotKept
from ops.databases.postgres.properties import DatabaseProperties
from ops.databases.sqlite import tables, undo
from ops.databases.sqlite.files import checkpoint_and_leave_wal, read_only_uri, sync
from ops.databases.sqlite.live_rows import copy_rows
from ops.databases.sqlite.snapshot import create_private
from ops.databases.sqlite.swap import is_database, swap
from ops.databases.sqlite.validate import unpack
from ops.databases.sqlite.workdir import working_directory
from ops.errors import ArtifactInvalid, PreconditionFailed
from ops.utils.progress import Progress, ProgressCallback, Stage

KINDS = (Kind.SQLITE_GZIP, Kind.SQLITE)


def require_kind(kind: Kind) -> None:
    if kind not in KINDS:
        raise ArtifactInvalid(
            f"A .{kind} file is a backup of PostgreSQL, and this database is a SQLite file.",
            f"Set {setting_name('DATABASES')} to a PostgreSQL database to restore it there.",
        )


def read_tables(connection: sqlite3.Connection, on_progress: ProgressCallback) -> Tables:
    """Rows and digest of every table (see `ops.databases.sqlite.tables.digest`)."""

    def table(name: str) -> TableDigest:
        total = tables.count(connection, name)

        def on_rows(done: int) -> None:
            on_progress(Progress(stage=Stage.COMPARE, item=name, done=done, total=total))

        rows, digest = tables.digest(connection, name, on_rows)
        return TableDigest(rows=rows, digest=digest)

    return {name: table(name) for name in tables.table_names(connection)}


@dataclass(kw_only=True)
class ScratchFile(Scratch):
    """A file in a working directory. `name` is the path that it gets when it is kept."""

    path: Path
    name: str
    live: Path
    kept: bool = False

    def load(self, stream: IO[bytes], *, kind: Kind, on_progress: ProgressCallback) -> Mapping[str, int]:
        require_kind(kind)
        unpack(stream, self.path, stage=Stage.LOAD, on_progress=on_progress)
        checkpoint_and_leave_wal(self.path)
        with tables.reading(self.path) as connection:
            return tables.count_rows(connection)

    def analyze(self, on_progress: ProgressCallback) -> None:
        """SQLite plans queries well without statistics for tables of this size."""

    def tables(self, on_progress: ProgressCallback) -> Tables:
        with tables.reading(self.path) as connection:
            return read_tables(connection, on_progress)

    def as_default(self) -> contextlib.AbstractContextManager[BaseDatabaseWrapper]:
        return override_database(sqlite_wrapper(str(self.path)))

    def keep(self) -> None:
        self.kept = True

    def copy_live_rows(self, tables: Collection[str]) -> tuple[str, ...]:
        return copy_rows(self.path, live=self.live, tables=tables)

    def keep_properties(self) -> tuple[NotKept, ...]:
        """A file has no properties besides its content."""
        return ()

    def swap(self, *, run: str, backup: str, backup_due: bool = False) -> None:  # noqa: ARG002  # the file stays
        swap(self.live, self.path, run=run, backup=backup)


class FileSwap(SwapStrategy):
    """Replaces the file at `path`, which may be missing or damaged."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextlib.contextmanager
    def scratch(
        self,
        *,
        name: str = "",
        for_swap: bool,
        recorded: DatabaseProperties | None = None,  # noqa: ARG002  # the live database is there
    ) -> Iterator[ScratchFile]:
        final = Path(name) if name else self.path
        if name and for_swap:
            raise ValueError("A scratch database with a name is kept, not swapped in.")
        if name and final.exists():
            raise PreconditionFailed(f"{final} exists already.", "Choose a file name that does not exist yet.")
        with working_directory(final.parent, of=self.path.name) as directory:
            path = directory / final.name
            create_private(path)
            scratch = ScratchFile(path=path, name=str(final), live=self.path)
            yield scratch
            if scratch.kept:
                link_into_place(path, final)

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

    @contextlib.contextmanager
    def previous_as_staging(self) -> Iterator[ScratchFile]:
        """A copy, so that the previous file stays unchanged unless the copy is swapped in."""
        previous = self.path.with_name(self.require_previous().name)
        with self.scratch(for_swap=True) as scratch:
            if not is_database(previous):
                raise PreconditionFailed(
                    f"The previous database {previous} is damaged. Nothing was changed.",
                    f"Save what can be read with: sqlite3 {previous} .recover | sqlite3 recovered.db",
                )
            shutil.copyfile(previous, scratch.path)
            checkpoint_and_leave_wal(scratch.path)
            yield scratch

    def previous_as_default(self) -> contextlib.AbstractContextManager[BaseDatabaseWrapper]:
        previous = self.path.with_name(self.require_previous().name)
        return override_database(sqlite_wrapper(read_only_uri(previous, immutable=True)))

    def drop_previous(self, previous: PreviousDatabase) -> None:  # noqa: ARG002  # there is one
        undo.drop_previous_database(self.path)


def link_into_place(path: Path, final: Path) -> None:
    """Give the file its final name, which no other program may have taken meanwhile."""
    try:
        final.hardlink_to(path)
    except FileExistsError as error:
        raise PreconditionFailed(f"Another program created {final} meanwhile.", "Choose another file name.") from error
    sync(final)
    sync(final.parent)
