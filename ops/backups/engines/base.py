"""What a kind of database has to be able to do, so that backups and restores are the same for all of them."""

import datetime as dt
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from types import MappingProxyType
from typing import IO, Protocol

from django.db.backends.base.base import BaseDatabaseWrapper
from msgspec import Struct

from ops.backups.manifest import Kind, TableDigest
from ops.backups.sources import RestoreSource
from ops.databases.claims import NO_CLAIMS, Claims
from ops.utils.progress import ProgressCallback
from ops.utils.schema import Count, Moment, Text

Tables = Mapping[str, TableDigest]
NOTHING: Mapping[str, str] = MappingProxyType({})
Rows = list[tuple[str | None, ...]]
"""Rows of some columns, their values as the database writes them as text; None is NULL."""
Columns = Mapping[str, Sequence[str]]
"""The columns that are wanted, by table."""


@dataclass(frozen=True, kw_only=True)
class Description:
    """The live database as a backup's manifest tells of it. `size` is in bytes, 0 where it is not known."""

    server_version: str
    tool_version: str
    size: int
    metadata: Mapping[str, str]


NEVER_COPIED = "never taken from an untrusted file"
NOT_OURS = "not a table of this project"
UNMATCHED = "refer to a content type or a permission that this version does not have"
UNKNOWN_COLUMNS = "columns that this version does not have"
"""Reasons of `LeftOut`; the names of the columns follow the last one."""


class LeftOut(Struct, frozen=True, kw_only=True):
    """Rows of an untrusted file that are not taken, and why."""

    table: Text
    rows: Count
    reason: Text


def describe_left_out(left_out: Sequence[LeftOut]) -> list[str]:
    """A sentence for each table."""
    return [
        f"Left out {left.rows:,} row{'' if left.rows == 1 else 's'} of {left.table}: {left.reason}."
        if left.rows
        else f"Left out of {left.table}: {left.reason}."
        for left in left_out
    ]


@dataclass(frozen=True, kw_only=True)
class LoadedRows:
    """Rows by table that were taken from an untrusted file, and what was not."""

    rows: Mapping[str, int]
    left_out: tuple[LeftOut, ...]


class UntrustedFile(Protocol):
    """A file that this installation has not signed, as a limited process reads it. Nothing of it is executed.

    `migrations` (``app.name``) and `rows` (by table) are what it says of itself. Everything that reads it raises
    ArtifactInvalid when the file is damaged, or exceeds a limit.
    """

    migrations: tuple[str, ...]
    rows: Mapping[str, int]

    def read_columns(self, columns: Columns) -> Mapping[str, Rows]:
        """As `Engine.read_columns`."""

    def copy_rows(self, scratch: "Scratch", *, on_progress: ProgressCallback) -> LoadedRows:
        """Fill the tables of `scratch`, which the project's migrations have made. Raises ArtifactInvalid for rows that
        break a constraint.
        """


class Snapshot(Protocol):
    """The database at one moment. It ends with the context that `Engine.snapshot` gives."""

    description: Description
    migrations: tuple[str, ...]
    taken_at: dt.datetime
    excluded: Mapping[str, str]
    """Tables whose rows are left out, and why: those of the database among the ones that were to be."""

    def stream(self, on_progress: ProgressCallback) -> Iterator[bytes]:
        """The dump before compression, in pieces of some megabytes. Raises ToolFailed rather than ending early."""

    def tables(self) -> Tables:
        """Rows and digest of every table, read from the same snapshot as the dump; may wait until that is counted."""


class Scratch(Protocol):
    """A database beside the live one, gone when its context ends unless it was put in place."""

    name: str

    def load(self, stream: IO[bytes], *, kind: Kind, on_progress: ProgressCallback) -> Mapping[str, int]:
        """Fill it from a plain dump that this installation has signed; returns the rows by table.

        Raises ArtifactInvalid for one that is cut off.
        """

    def analyze(self, on_progress: ProgressCallback) -> None:
        """Collect the statistics that the query planner needs."""

    def tables(self, on_progress: ProgressCallback) -> Tables:
        """As `Snapshot.tables`, of what was loaded."""

    def as_default(self) -> AbstractContextManager[BaseDatabaseWrapper]:
        """Within the block "default" is this database for this thread (`ops.databases.override.override_database`)."""

    def keep(self) -> None:
        """It stays when the context ends."""

    def copy_live_rows(self, tables: Collection[str]) -> tuple[str, ...]:
        """Replace the rows of these tables by those of the live database, while nobody writes to it.

        A table that either side lacks is passed over, and so are columns that only one of them has. The next insert
        gets a new key, and rows that refer to others find them. A live database that is broken does not stop it: what
        could not be copied is named in the sentences that it returns.

        Raises PreconditionFailed where rows of other tables refer to rows that the live database does not have.
        """


class PreviousDatabase(Struct, frozen=True, kw_only=True):
    """The database that the last restore replaced. `size` in bytes; `run` is the restore's id."""

    name: Text
    replaced_at: Moment
    run: Text
    backup: Text
    """The name of the backup that replaced it, or ``undo``."""
    size: Count


class Engine(Protocol):
    """One database of the project, its kind, and what is beside it."""

    kind: str
    """``postgresql`` or ``sqlite``."""
    database: str
    """Its name, which a person types to confirm."""
    where: str
    """Database and server for a sentence: ``homerack on db:5432``."""

    def locked(self, label: str) -> AbstractContextManager[None]:
        """One operation at a time; `label` says whose it is. Raises AlreadyRunning with the holder's label."""

    def sweep(self, claimed: Collection[str] = ()) -> tuple[str, ...]:
        """Remove what a killed run left, and say what it was in sentences. The caller holds the lock.

        A database is dropped only if it is among those that killed runs `claimed`, and bears the mark of a database
        that is being made; never the live one, nor the one that a restore replaced.
        """

    def kinds(self) -> tuple[Kind, ...]:
        """The files it makes and reads; the first is the default."""

    def size(self) -> int:
        """Bytes of the live database on its disk; 0 where they are unknown."""

    def snapshot(self, *, kind: Kind, excluded: Mapping[str, str] = NOTHING) -> AbstractContextManager[Snapshot]:
        """Hold the database at one moment, without the rows of the tables that `excluded` names with a reason each.

        Raises PreconditionFailed when it cannot be read, or when rows of another table refer to an excluded one.
        """

    def count(self, stream: IO[bytes], *, kind: Kind, on_progress: ProgressCallback) -> Mapping[str, int]:
        """Rows by table in a dump before compression, read to its end. Raises ArtifactInvalid when it is cut off."""

    def read_columns(self, stream: IO[bytes], *, kind: Kind, columns: Columns) -> Mapping[str, Rows]:
        """All rows of the tables in `columns`, from a dump before compression.

        A table that the dump does not have, or that lacks one of the columns, is left out. Raises ArtifactInvalid.
        """

    def untrusted(self, source: RestoreSource) -> AbstractContextManager[UntrustedFile]:
        """`source` as a limited process reads it; it is looked through once for that. Raises ArtifactInvalid."""

    def require_ordinary_role(self) -> None:
        """Raises PreconditionFailed where rows of unknown origin would be loaded with the rights of a superuser."""

    def scratch(self, *, name: str = "", for_swap: bool, claims: Claims = NO_CLAIMS) -> AbstractContextManager[Scratch]:
        """An empty database beside the live one; `name` is one to keep for good, refused when it exists."""

    def swap(self, scratch: Scratch, *, run: str, backup: str, claims: Claims = NO_CLAIMS) -> None:
        """Put it in the place of the live database in one step, keep that as the undo, end its sessions.

        Raises OpsError; then both are as they were.
        """

    def previous_database(self) -> PreviousDatabase | None:
        """What `undo` would bring back."""

    def previous_as_staging(self) -> AbstractContextManager[Scratch]:
        """The kept database, or a copy of it, for `swap` to put back; it stays kept where that does not happen.

        Raises PreconditionFailed when none is kept.
        """

    def previous_as_default(self) -> AbstractContextManager[BaseDatabaseWrapper]:
        """Within the block "default" is the previous database for this thread, which can only read it.

        Raises PreconditionFailed when none is kept.
        """

    def drop_previous(self) -> None:
        """Let the kept database go."""
