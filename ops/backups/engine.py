"""What a kind of database has to be able to do, so that backups and restores are the same for all of them."""

import datetime as dt
from collections.abc import Collection, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import IO, Protocol

from django.db.backends.base.base import BaseDatabaseWrapper

from ops.backups.manifest import Kind, TableDigest
from ops.progress import Report

Tables = Mapping[str, TableDigest]


@dataclass(frozen=True, kw_only=True)
class Description:
    """The live database as a backup's manifest tells of it. `size` is in bytes, 0 where it is not known."""

    server_version: str
    tool_version: str
    size: int
    facts: Mapping[str, str]


class Snapshot(Protocol):
    """The database at one moment. It ends with the context that `Engine.snapshot` gives."""

    description: Description
    migrations: tuple[str, ...]
    when: dt.datetime

    def stream(self, report: Report) -> Iterator[bytes]:
        """The dump before compression, in pieces of some megabytes. Raises ToolFailed rather than ending early."""

    def tables(self) -> Tables:
        """Rows and digest of every table, read from the same snapshot as the dump; may wait until that is counted."""


class Scratch(Protocol):
    """A database beside the live one, gone when its context ends unless it was put in place."""

    name: str

    def load(self, stream: IO[bytes], *, kind: Kind, trusted: bool, report: Report) -> Mapping[str, int]:
        """Fill it from a plain dump; returns the rows by table. Raises ArtifactInvalid for one that is cut off, or does
        what a dump has no business to do.
        """

    def tables(self, report: Report) -> Tables:
        """As `Snapshot.tables`, of what was loaded."""

    def as_default(self) -> AbstractContextManager[BaseDatabaseWrapper]:
        """Within the block "default" is this database for this thread (`ops.django_databases.pointing_at`)."""

    def keep(self) -> None:
        """It stays when the context ends."""


@dataclass(frozen=True, kw_only=True)
class Undo:
    """The database that the last restore replaced. `size` in bytes; `run` is the restore's id."""

    name: str
    when: dt.datetime
    run: str
    backup: str
    """The name of the backup that replaced it, or ``undo``."""
    size: int


class Claims(Protocol):
    """The record of the databases that an operation makes: kept with the backups, where no dump can write."""

    def claim_database(self, name: str) -> None:
        """Before it is made. Should the operation be killed, the next run drops it. Raises OpsError."""

    def leave_database(self, name: str) -> None:
        """It was claimed and could not be dropped: the next run drops it."""


class Unrecorded:
    """Claims that nobody keeps: what an operation leaves behind is never dropped by a later one."""

    def claim_database(self, name: str) -> None:
        """See `Claims`."""

    def leave_database(self, name: str) -> None:
        """See `Claims`."""


UNRECORDED = Unrecorded()


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

    def require_tools(self) -> None:
        """Raises PreconditionFailed, naming the package to install, where a backup could not be made."""

    def snapshot(self, *, kind: Kind) -> AbstractContextManager[Snapshot]:
        """Hold the database at one moment. Raises PreconditionFailed when it can not be read."""

    def count(self, stream: IO[bytes], *, kind: Kind, report: Report) -> Mapping[str, int]:
        """Rows by table in a dump before compression, read to its end. Raises ArtifactInvalid when it is cut off."""

    def keys(self, stream: IO[bytes], *, kind: Kind, columns: Mapping[str, str]) -> Mapping[str, frozenset[str]]:
        """The values, as text, of one column of each table in `columns`, from a dump before compression."""

    def scratch(
        self, *, name: str = "", for_swap: bool, claims: Claims = UNRECORDED
    ) -> AbstractContextManager[Scratch]:
        """An empty database beside the live one; `name` is one to keep for good, refused when it exists."""

    def swap(self, scratch: Scratch, *, run: str, backup: str, claims: Claims = UNRECORDED) -> None:
        """Put it in the place of the live database in one step, keep that as the undo, end its sessions.

        Raises OpsError; then both are as they were.
        """

    def undo_copy(self) -> Undo | None:
        """What `undo` would bring back."""

    def undo_scratch(self) -> AbstractContextManager[Scratch]:
        """The kept database, or a copy of it, for `swap` to put back; it stays kept where that does not happen.

        Raises PreconditionFailed when none is kept.
        """

    def drop_undo(self) -> None:
        """Let the kept database go."""
