"""PostgreSQL as an engine of backups: everything that `ops.backups.engine.Engine` promises."""

import contextlib
import datetime as dt
import json
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import connection as Connection  # noqa: N812

from ops import signals
from ops.backups.engine import Scratch, Snapshot, Undo
from ops.backups.manifest import Kind
from ops.backups.postgresql import snapshot
from ops.backups.postgresql.beside import Beside
from ops.backups.postgresql.dumps import count_rows, plain_pieces, read_keys
from ops.errors import OpsError, PreconditionFailed
from ops.identifiers import quoted
from ops.postgres import databases, swapping
from ops.postgres.address import Address
from ops.postgres.tools import Tools, find_tools
from ops.progress import Report

NEW, DRILL, UNDO, ASIDE = "_ops_new", "_ops_drill", "_ops_undo", "_ops_aside"
"""What is added to the live database's name: for a restore, for a drill, for what a restore replaced, and for an
earlier undo or a database that is on its way elsewhere, within a swap."""


class PostgresEngine:
    """Implements `ops.backups.engine.Engine` for the database at `address`.

    `tools_directory` is where pg_dump and pg_restore are looked for first.
    """

    kind = "postgresql"

    def __init__(self, address: Address, *, tools_directory: Path | None = None) -> None:
        self.address = address
        self.database = address.database
        self.where = str(address)
        self._tools_directory = tools_directory
        self._lock: Connection | None = None

    # --- One at a time --------------------------------------------------------------------------------------------
    @contextlib.contextmanager
    def locked(self, label: str) -> Iterator[None]:
        """See `ops.backups.engine.Engine`."""
        with databases.maintenance(self.address) as connection, databases.locked(connection, self.database, label):
            self._lock = connection
            try:
                yield
            finally:
                self._lock = None

    @contextlib.contextmanager
    def _server(self) -> Iterator[Connection]:
        """The session that holds the lock, so that nothing is done when the lock was lost; without a lock another."""
        if self._lock:
            yield self._lock
            return
        with databases.maintenance(self.address) as connection:
            yield connection

    def sweep(self) -> tuple[str, ...]:
        """See `ops.backups.engine.Engine`."""
        with self._server() as connection:
            for name in (self.database, self._beside(NEW), self._beside(DRILL)):
                databases.end_leftover_sessions(connection, name)
            dropped = databases.drop_leftovers(connection, self._beside(NEW), self._beside(DRILL), self._beside(ASIDE))
        return tuple(f"The database {name} was left by a run that was killed; it was dropped." for name in dropped)

    def _beside(self, suffix: str) -> str:
        return databases.side_name(self.database, suffix)

    # --- Backups --------------------------------------------------------------------------------------------------
    def kinds(self) -> tuple[Kind, ...]:
        """See `ops.backups.engine.Engine`."""
        return Kind.SQL_GZIP, Kind.SQL, Kind.CUSTOM

    def require_tools(self) -> None:
        """See `ops.backups.engine.Engine`."""
        self._find_tools()

    def _find_tools(self) -> Tools:
        with self._server() as connection:
            return find_tools(connection.server_version // 10000, self._tools_directory)

    def snapshot(self, *, kind: Kind) -> AbstractContextManager[Snapshot]:
        """See `ops.backups.engine.Engine`."""
        return snapshot.taken(self.address, self._find_tools(), kind)

    def count(self, stream: IO[bytes], *, kind: Kind, report: Report) -> Mapping[str, int]:
        """See `ops.backups.engine.Engine`."""
        return count_rows(plain_pieces(stream, kind=kind, find=self._find_tools), report)

    def keys(self, stream: IO[bytes], *, kind: Kind, columns: Mapping[str, str]) -> Mapping[str, frozenset[str]]:
        """See `ops.backups.engine.Engine`."""
        return read_keys(plain_pieces(stream, kind=kind, find=self._find_tools), columns)

    # --- Restores -------------------------------------------------------------------------------------------------
    @contextlib.contextmanager
    def scratch(self, *, name: str = "", for_swap: bool) -> Iterator[Scratch]:
        """See `ops.backups.engine.Engine`."""
        chosen = name or self._beside(NEW if for_swap else DRILL)
        with self._server() as connection:
            if databases.exists(connection, chosen):
                raise PreconditionFailed(
                    f"There is a database {chosen} already. Nothing was changed.",
                    f"Name another one, or drop it: DROP DATABASE {quoted(chosen)};",
                )
            databases.create_beside(connection, chosen, databases.describe(connection, self.database))
        place = Beside(self.address.named(chosen), self._find_tools)
        try:
            yield place
        finally:
            self._leave(place)

    def _leave(self, place: Beside) -> None:
        """Drop the scratch database unless it was put in place or is to be kept."""
        with contextlib.suppress(psycopg2.Error, OpsError), self._server() as connection:
            if not place.kept:
                databases.drop(connection, place.name)
            elif place.name not in (self.database, self._beside(NEW)):
                with connection.cursor() as cursor:
                    cursor.execute(sql.SQL("COMMENT ON DATABASE {} IS NULL").format(sql.Identifier(place.name)))

    def swap(self, scratch: Scratch, *, run: str, backup: str) -> None:
        """See `ops.backups.engine.Engine`."""
        undo, aside = self._beside(UNDO), self._beside(ASIDE)
        with self._server() as connection, signals.held():
            description = databases.describe(connection, self.database)
            earlier = self._kept(connection) if description else None
            renames = [(self.database, undo)] if description else []
            comments = {undo: undo_comment(run=run, backup=backup, comment=description.comment)} if description else {}
            if scratch.name == undo:
                # The kept database comes back: it and the live one change places, by way of a third name.
                renames, new = [(undo, aside), *renames], aside
            else:
                new = scratch.name
                if earlier:
                    renames = [(undo, aside), *renames]
                    comments[aside] = databases.MARK
            swapping.exchange(
                connection,
                renames=[*renames, (new, self.database)],
                comments=comments,
                live=self.database,
                description=description,
            )
            scratch.keep()
            # The restore is in place: an earlier undo that is left over must not look like a failure.
            with contextlib.suppress(psycopg2.Error):
                databases.drop_leftovers(connection, aside)

    # --- Undo -----------------------------------------------------------------------------------------------------
    def undo_copy(self) -> Undo | None:
        """See `ops.backups.engine.Engine`."""
        with self._server() as connection:
            return self._kept(connection)

    def _kept(self, connection: Connection) -> Undo | None:
        """The kept database. Raises PreconditionFailed when one that is not ours has its name."""
        name = self._beside(UNDO)
        found = databases.comment_and_size(connection, name)
        if found is None:
            return None
        comment, size = found
        return read_undo(name, comment, size)

    @contextlib.contextmanager
    def undo_scratch(self) -> Iterator[Scratch]:
        """The kept database itself: it needs no copy, since a swap is a matter of names."""
        with self._server() as connection:
            kept = self._require_undo(connection)
        yield Beside(self.address.named(kept.name), self._find_tools)

    def _require_undo(self, connection: Connection) -> Undo:
        if kept := self._kept(connection):
            return kept
        raise PreconditionFailed(f"No database is kept from a restore of {self.where}.")

    def drop_undo(self) -> None:
        """See `ops.backups.engine.Engine`."""
        with self._server() as connection:
            databases.drop(connection, self._require_undo(connection).name)


def undo_comment(*, run: str, backup: str, comment: str) -> str:
    """What is written on a kept database; `comment` is what was written there before."""
    when = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
    return json.dumps({"ops": "undo", "when": when, "run": run, "backup": backup, "comment": comment})


def read_undo(name: str, comment: str, size: int) -> Undo:
    """Raises PreconditionFailed when the comment is not one of ours."""
    try:
        said = json.loads(comment)
        if said["ops"] == "undo":
            when = dt.datetime.fromisoformat(said["when"])
            return Undo(name=name, when=when, run=said["run"], backup=said["backup"], size=size)
    except (ValueError, KeyError, TypeError):
        pass
    raise PreconditionFailed(
        f"{name} is where the replaced database would be kept, and there is one that no restore has left.",
        f"Rename it: ALTER DATABASE {quoted(name)} RENAME TO …",
    )
