"""The interface of a kind of database: backups and restores are the same for all that implement it."""

import datetime as dt
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from types import MappingProxyType
from typing import IO

from django.db.backends.base.base import BaseDatabaseWrapper
from msgspec import Struct

from ops.backups.manifest import Kind, TableDigest
from ops.backups.sources import RestoreSource
from ops.databases.leftovers import NO_CLAIMS, Claims
from ops.databases.migration_state import MIGRATIONS_TABLE
from ops.databases.postgres.differences import NotKept
from ops.databases.postgres.properties import DatabaseProperties
from ops.errors import PreconditionFailed
from ops.utils.formatting import pluralize
from ops.utils.progress import ProgressCallback
from ops.utils.schema import Count, Moment, Text

Tables = Mapping[str, TableDigest]
NOTHING: Mapping[str, str] = MappingProxyType({})
Rows = list[tuple[str | None, ...]]
"""Rows of some columns. Values are in the database's text form; None is NULL."""
Columns = Mapping[str, Sequence[str]]
"""Names of columns by table."""


NEVER_COPIED = "rows of this table are never copied from an untrusted file"
NOT_OURS = "it is not a table of this project"
UNMATCHED = "this version does not have the content type or the permission that they refer to"
UNKNOWN_COLUMNS = "this version does not have the columns"
"""Reasons of `LeftOut`; the names of the columns follow the last one."""


class LeftOut(Struct, frozen=True, kw_only=True):
    """Rows of an untrusted file that are not taken, and why."""

    table: Text
    rows: Count
    reason: Text


def rows_left_out(rows: Mapping[str, int], *, known: Collection[str]) -> tuple[LeftOut, ...]:
    """What is left out where the `rows` of these tables are not copied. `known` are tables of the project."""
    return tuple(
        LeftOut(table=table, rows=number, reason=NEVER_COPIED if table in known else NOT_OURS)
        for table, number in sorted(rows.items())
        if number and table != MIGRATIONS_TABLE
    )


def parts_left_out(
    *, unmatched: Mapping[str, int], unknown_columns: Mapping[str, Sequence[str]]
) -> tuple[LeftOut, ...]:
    """What is left out of tables that are copied: rows without a match here, and columns."""
    return (
        *(LeftOut(table=table, rows=rows, reason=UNMATCHED) for table, rows in unmatched.items() if rows),
        *(
            LeftOut(table=table, rows=0, reason=f"{UNKNOWN_COLUMNS} {', '.join(columns)[:200]}")
            for table, columns in unknown_columns.items()
        ),
    )


def describe_left_out(left_out: Sequence[LeftOut], *, is_done: bool) -> list[str]:
    """A sentence for each table, before the restore or after it."""
    are, is_ = ("were not copied:", "was not copied:") if is_done else ("will not be copied, because",) * 2
    return [
        f"{pluralize(left.rows, 'row') if left.rows else 'Some columns'} of {left.table}"
        f" {is_ if left.rows == 1 else are} {left.reason}."
        for left in left_out
    ]


@dataclass(frozen=True, kw_only=True)
class LoadedRows:
    """Rows by table that were copied from an untrusted file, and what was left out."""

    rows: Mapping[str, int]
    left_out: tuple[LeftOut, ...]


class UntrustedFile(ABC):
    """A file that this installation has not signed, as a limited process reads it. Nothing of it is executed.

    `migrations` (``app.name``) and `rows` (by table) are what the file records. Every method raises ArtifactInvalid
    where the file is damaged or exceeds a limit.
    """

    migrations: tuple[str, ...]
    rows: Mapping[str, int]

    @abstractmethod
    def read_columns(self, columns: Columns) -> Mapping[str, Rows]:
        """As `Engine.read_columns`."""

    @abstractmethod
    def copy_rows(self, scratch: "Scratch", *, on_progress: ProgressCallback) -> LoadedRows:
        """Fill the tables of `scratch`, which the project's migrations have created.

        Raises ArtifactInvalid for rows that break a constraint.
        """


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """The database at one moment, with facts for the manifest. Released when the context of `Engine.snapshot` ends."""

    taken_at: dt.datetime
    server_version: str
    tool_version: str
    size: int
    """Bytes of the database, 0 where it is unknown."""
    metadata: Mapping[str, str]
    migrations: tuple[str, ...]
    excluded: Mapping[str, str]
    """The tables of the database whose rows are left out, each with the reason."""
    properties: DatabaseProperties | None = None
    """What belongs to the database besides its content."""
    stream: Callable[[ProgressCallback], Iterator[bytes]]
    """The dump before compression, in blocks of some megabytes. Raises ToolFailed rather than ending early."""
    tables: Callable[[], Tables]
    """Rows and digest of every table, read from the same snapshot as the dump. Waits until they are counted."""


class Scratch(ABC):
    """A separate database that is dropped when its context ends, unless it was swapped in or kept."""

    name: str

    @abstractmethod
    def load(self, stream: IO[bytes], *, kind: Kind, on_progress: ProgressCallback) -> Mapping[str, int]:
        """Load a plain dump that this installation has signed. Returns rows by table.

        Raises ArtifactInvalid for a truncated dump.
        """

    @abstractmethod
    def analyze(self, on_progress: ProgressCallback) -> None:
        """Collect the statistics that the query planner needs."""

    @abstractmethod
    def tables(self, on_progress: ProgressCallback) -> Tables:
        """As `Snapshot.tables`, of what was loaded."""

    @abstractmethod
    def as_default(self) -> AbstractContextManager[BaseDatabaseWrapper]:
        """Within the block "default" is this database for this thread (`ops.databases.override.override_database`)."""

    @abstractmethod
    def keep(self) -> None:
        """Do not drop it when the context ends."""

    @abstractmethod
    def copy_live_rows(self, tables: Collection[str]) -> tuple[str, ...]:
        """Replace the rows of these tables by those of the live database. The caller has blocked writes to it.

        Tables and columns that one side lacks are skipped. Sequences continue after the copied keys, and foreign keys
        hold. A damaged live database does not stop the restore: returns sentences on what could not be copied.

        Raises PreconditionFailed where rows of other tables refer to rows that the live database does not have.
        """

    @abstractmethod
    def keep_properties(self) -> tuple[NotKept, ...]:
        """Give it what belongs to the live database besides its content: owners, privileges, settings.

        Objects that the live database lacks keep theirs. Returns what the role may not give it.

        Raises PreconditionFailed where a role would have a right that is revoked in the live database.
        """

    @abstractmethod
    def swap(self, *, run: str, backup: str, backup_due: bool = False) -> None:
        """Replace the live database in one step, keep that one as the previous database, and end its sessions.

        `backup_due`: the previous database is still to be backed up, which the same step records. Only where whole
        databases are swapped (`SwapStrategy.swaps_databases`).

        Raises OpsError; then both are unchanged.
        """


class PreviousDatabase(Struct, frozen=True, kw_only=True):
    """The database that the last restore replaced. `size` in bytes, None if unknown; `run` is the restore's id.

    With `backup_due` its pre-restore backup is still to be made, and nothing may drop it.
    """

    name: Text
    replaced_at: Moment
    run: Text
    backup: Text
    """The name of the backup that replaced it, or ``undo``."""
    size: Count | None
    backup_due: bool = False


def require_previous(previous: PreviousDatabase | None) -> PreviousDatabase:
    """`previous`. Raises PreconditionFailed when there is none."""
    if previous is None:
        raise PreconditionFailed(
            "There is nothing to undo: no previous database is kept.",
            "A backup from before it may be there: list_backups",
        )
    return previous


def require_backed_up(previous: PreviousDatabase | None) -> None:
    """Raises PreconditionFailed while the pre-restore backup of `previous` is due."""
    if previous and previous.backup_due:
        raise PreconditionFailed(
            f"The previous database {previous.name} has no verified backup yet. Nothing was changed.",
            "Make that backup: manage.py backup_database. Or return to that database: manage.py undo_restore. To"
            " give it up: manage.py drop_previous_database --without-backup",
        )


class SwapStrategy(ABC):
    """How databases are replaced here: builds a scratch or staging database, and keeps the previous one."""

    swaps_databases = False
    """Whether whole databases are swapped, so that the previous one can be backed up after the swap."""

    @abstractmethod
    def scratch(
        self, *, name: str = "", for_swap: bool, recorded: DatabaseProperties | None = None
    ) -> AbstractContextManager[Scratch]:
        """An empty database, `for_swap` the staging database. With a `name` it may be kept.

        `recorded` are the properties of the database that was backed up. They stand in for those of a live database
        that does not exist or cannot be read.

        Raises PreconditionFailed where a database of that name exists, and as `require_backed_up` for a swap, after
        which the database that is the previous one now is dropped.
        """

    @abstractmethod
    def previous_database(self) -> PreviousDatabase | None:
        """What an undo would restore."""

    def require_previous(self) -> PreviousDatabase:
        """As `previous_database`. Raises PreconditionFailed when there is none."""
        return require_previous(self.previous_database())

    @abstractmethod
    def previous_as_staging(self) -> AbstractContextManager[Scratch]:
        """The previous database, or a copy of it, to be swapped in. It stays the previous one unless that happens.

        Raises PreconditionFailed when there is none.
        """

    @abstractmethod
    def previous_as_default(self) -> AbstractContextManager[BaseDatabaseWrapper]:
        """Within the block "default" is the previous database for this thread, read-only.

        Raises PreconditionFailed when there is none.
        """

    @abstractmethod
    def drop_previous(self, previous: PreviousDatabase) -> None:
        """Drop the `previous` database, which is that of `previous_database`."""


class Engine(ABC):
    """The project's live database."""

    kind: str
    """``postgresql`` or ``sqlite``."""
    kinds: tuple[Kind, ...]
    """The kinds of files that it writes and reads; the first is the default."""
    database: str
    """Its name, which a user types to confirm."""
    where: str
    """Database and server for a sentence: ``homerack on db:5432``."""

    @abstractmethod
    def locked(self, label: str) -> AbstractContextManager[None]:
        """One operation at a time. Raises AlreadyRunning with the label of the holder."""

    @abstractmethod
    def require_lock(self) -> None:
        """Raises OpsError if the lock of `locked` was lost meanwhile: another run may have begun, and cleaned up."""

    def relocked(self, *, within: float) -> AbstractContextManager[BaseDatabaseWrapper]:
        """Take the lock again after its session was lost, on the server that takes writes.

        Waits up to `within` seconds for such a server.
        Within the block "default" is the live database on that server. Raises OutcomeUnknown, and OpsError where there
        is no such database.
        """
        raise NotImplementedError

    def replaced_server(self) -> str | None:
        """The id of the server whose database a swap replaces (`read_server_id`); None where no failover loses one.

        It is asked in the session that holds the lock. Raises OpsError if that is lost.
        """
        return None

    def leftovers(self) -> Collection[str]:
        """The names of databases that there should not be while no run is running: a run creates and drops them."""
        return ()

    @abstractmethod
    def sweep(self, claimed: Collection[str] = ()) -> tuple[str, ...]:
        """Remove what killed runs left. Returns a sentence for each. The caller holds the lock.

        A database is dropped only if a killed run `claimed` it and it has the comment or the connection limit of a
        database that ops creates; never the live and the previous one.
        """

    @abstractmethod
    def size(self) -> int | None:
        """Bytes of the live database on its disk; None where they are unknown."""

    @abstractmethod
    def is_empty(self) -> bool:
        """Whether the live database has no tables, or does not exist. Raises PreconditionFailed if it is unreadable."""

    @abstractmethod
    def snapshot(self, *, kind: Kind, excluded: Mapping[str, str] = NOTHING) -> AbstractContextManager[Snapshot]:
        """Hold the database at one moment, without the rows of the tables that `excluded` maps to a reason.

        Raises PreconditionFailed when it cannot be read, or when rows of another table refer to an excluded one.
        """

    @abstractmethod
    def count(self, stream: IO[bytes], *, kind: Kind, on_progress: ProgressCallback) -> Mapping[str, int]:
        """Rows by table in a dump before compression, read to its end. Raises ArtifactInvalid when it is truncated."""

    @abstractmethod
    def read_columns(self, stream: IO[bytes], *, kind: Kind, columns: Columns) -> Mapping[str, Rows]:
        """All rows of the tables in `columns`, from a dump before compression.

        A table that the dump does not have, or that lacks one of the columns, is left out. Raises ArtifactInvalid.
        """

    @abstractmethod
    def untrusted(self, source: RestoreSource) -> AbstractContextManager[UntrustedFile]:
        """`source`, read once to its end by a limited process. Raises ArtifactInvalid."""

    @abstractmethod
    def explain_read_only(self) -> tuple[str, str]:
        """Why the database cannot be written, and what to do about it; two empty texts where it can."""

    def require_writable(self) -> None:
        """Raises PreconditionFailed where the database cannot be written; it can be backed up all the same."""
        reason, hint = self.explain_read_only()
        if reason:
            raise PreconditionFailed(
                f"The database {self.where} cannot be written: {reason}. Nothing was changed.", hint
            )

    @abstractmethod
    def require_ordinary_role(self) -> None:
        """Raises PreconditionFailed where rows of unknown origin would be loaded with the rights of a superuser."""

    def for_previous(self, previous: PreviousDatabase) -> "Engine":
        """The previous database, to be backed up as the live one at the moment of the swap: under its name.

        Only where whole databases are swapped (`SwapStrategy.swaps_databases`).
        """
        raise NotImplementedError

    def find_backup_due(self) -> PreviousDatabase | None:
        """The previous database, without its size, if its pre-restore backup is due.

        Only where whole databases are swapped (`SwapStrategy.swaps_databases`).
        """
        return None

    def require_backed_up(self) -> None:
        """Raises PreconditionFailed while the pre-restore backup of the previous database is due.

        It also raises that where the previous database cannot get its name.
        """
        self.swap_strategy().previous_database()
        require_backed_up(self.find_backup_due())

    def mark_backed_up(self) -> None:
        """Record that the previous database has its pre-restore backup. Only where `find_backup_due` finds one."""
        raise NotImplementedError

    @abstractmethod
    def swap_strategy(self, claims: Claims = NO_CLAIMS) -> SwapStrategy:
        """The strategy that the rights of this installation allow. `claims` records the databases that it creates."""

    def previous_database(self) -> PreviousDatabase | None:
        """What an undo would restore. The rights of this installation may have changed since it was replaced."""
        return self.swap_strategy().previous_database()

    def require_previous(self) -> PreviousDatabase:
        """As `previous_database`. Raises PreconditionFailed when there is none."""
        return require_previous(self.previous_database())

    def strategy_of(self, previous: PreviousDatabase, claims: Claims = NO_CLAIMS) -> SwapStrategy:  # noqa: ARG002  # there is one
        """The strategy that has kept `previous`."""
        return self.swap_strategy(claims)
