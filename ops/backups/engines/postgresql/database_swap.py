"""Databases beside the live one, for roles that may create databases: scratch, drill, and what a restore replaced."""

import contextlib
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import IO

import psycopg2
from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg2.extensions import connection as Connection  # noqa: N812

from ops.backups.engines.base import PreviousDatabase, Scratch, Tables
from ops.backups.engines.postgresql import dump_loader, table_digests, undo_comment
from ops.backups.engines.postgresql.dump_format import plain_sql_chunks
from ops.backups.engines.postgresql.dump_loader import DumpLoader
from ops.backups.engines.postgresql.live_rows import copy_between
from ops.backups.manifest import Kind
from ops.databases.claims import Claims
from ops.databases.override import override_database
from ops.databases.postgres import databases, rename
from ops.databases.postgres.client_programs import ClientPrograms
from ops.databases.postgres.connection import ConnectionInfo
from ops.errors import OpsError, PreconditionFailed
from ops.utils.identifiers import quoted
from ops.utils.progress import Progress, ProgressCallback, Stage

NEW, DRILL, UNDO, ASIDE = "_ops_new", "_ops_drill", "_ops_undo", "_ops_aside"
"""What is added to the live database's name: for a restore, for a drill, for what a restore replaced, and for an
earlier undo, or a database that is on its way elsewhere, within a swap."""


class ScratchDatabase:
    """Implements `ops.backups.engines.base.Scratch`: a database of its own, which nobody else knows."""

    def __init__(self, address: ConnectionInfo, find: Callable[[], ClientPrograms], *, live: ConnectionInfo) -> None:
        self.name = address.database
        self.address = address
        self._live = live
        self.kept = False
        self._find = find

    def load(self, stream: IO[bytes], *, kind: Kind, on_progress: ProgressCallback) -> Mapping[str, int]:
        """See `ops.backups.engines.base.Scratch`."""
        rows = fill(self.address, plain_sql_chunks(stream, kind=kind, find=self._find), on_progress=on_progress)
        self.analyze(on_progress)
        return rows

    @contextlib.contextmanager
    def session(self) -> Iterator[Connection]:
        """See `ops.backups.engines.base.Scratch`."""
        with contextlib.closing(self.address.connect()) as connection:
            dump_loader.set_up(connection)
            yield connection
            connection.commit()

    def analyze(self, on_progress: ProgressCallback) -> None:
        """See `Scratch`. Expressions of indexes are computed: not with a superuser's rights."""
        on_progress(Progress(stage=Stage.LOAD, item="ANALYZE"))
        with contextlib.closing(self.address.connect(autocommit=True)) as connection, connection.cursor() as cursor:
            if not databases.has_server_access(connection):
                cursor.execute("ANALYZE")

    def tables(self, on_progress: ProgressCallback) -> Tables:
        """See `ops.backups.engines.base.Scratch`."""
        with contextlib.closing(self.address.connect()) as connection, connection.cursor() as cursor:
            return table_digests.read_digests(cursor, stage=Stage.COMPARE, on_progress=on_progress)

    def as_default(self) -> AbstractContextManager[BaseDatabaseWrapper]:
        """See `ops.backups.engines.base.Scratch`."""
        return override_database(self.address.wrapper())

    def keep(self) -> None:
        """See `ops.backups.engines.base.Scratch`."""
        self.kept = True

    def copy_live_rows(self, tables: Collection[str]) -> tuple[str, ...]:
        """See `ops.backups.engines.base.Scratch`."""
        return copy_between(self._live, self.address, tables)


def fill(address: ConnectionInfo, pieces: Iterator[bytes], *, on_progress: ProgressCallback) -> Mapping[str, int]:
    """Tables and rows in one transaction, and what is built upon them on several connections. Returns rows by table."""

    def session() -> Connection:
        connection = address.connect()
        dump_loader.set_up(connection)
        return connection

    with contextlib.closing(session()) as connection:
        load = DumpLoader(connection, on_progress=on_progress)
        later = load.load(pieces)
        connection.commit()
    dump_loader.build_parallel(session, later, on_progress)
    return load.rows


class DatabaseSwap:
    """The place of restores for the database at `address`; `server` gives a session of the maintenance database."""

    def __init__(
        self,
        address: ConnectionInfo,
        *,
        server: Callable[[], AbstractContextManager[Connection]],
        find: Callable[[], ClientPrograms],
    ) -> None:
        self._address = address
        self._live = address.database
        self._server = server
        self._find = find
        self._new, self._drill, self._undo, self._aside = (
            databases.suffixed_name(self._live, suffix) for suffix in (NEW, DRILL, UNDO, ASIDE)
        )

    def sweep(self, connection: Connection, claimed: Collection[str]) -> tuple[str, ...]:
        """See `ops.backups.engines.base.Engine`."""
        for name in (self._live, self._new, self._drill):
            databases.end_leftover_sessions(connection, name)
        dropped = databases.drop_claimed(connection, claimed, spared=(self._live, self._undo))
        return tuple(f"The database {name} was left by a run that was killed; it was dropped." for name in dropped)

    @contextlib.contextmanager
    def scratch(self, *, name: str, for_swap: bool, claims: Claims) -> Iterator[Scratch]:
        """See `ops.backups.engines.base.Engine`."""
        chosen = name or (self._new if for_swap else self._drill)
        with self._server() as connection:
            self._create(connection, chosen, claims)
        place = ScratchDatabase(self._address.with_database(chosen), self._find, live=self._address)
        try:
            yield place
        finally:
            try:
                self._leave_database(place)
            except (psycopg2.Error, OpsError):
                # The connection is gone. What is kept stays, and bears a mark for which nobody looks.
                if not place.kept:
                    claims.leave_database(chosen)

    def _claim(self, connection: Connection, name: str, claims: Claims) -> None:
        """Only a name that is free: what is there already is not ours, whatever is written on it."""
        if len(name.encode()) > databases.NAME_LIMIT or databases.exists(connection, name):
            raise PreconditionFailed(
                f"There is a database {name} already, or the name is too long. Nothing was changed.",
                f"Choose another name, or look into that database, and drop it: DROP DATABASE {quoted(name)};",
            )
        claims.claim_database(name)

    def _create(self, connection: Connection, name: str, claims: Claims) -> None:
        self._claim(connection, name, claims)
        extensions: tuple[str, ...] = ()
        # A live database that takes no connections is one of the reasons to restore; dumps name their extensions, too.
        with contextlib.suppress(PreconditionFailed, psycopg2.Error):
            extensions = databases.read_extensions(self._address)
        template = databases.template_with(connection, self._address, extensions)
        try:
            databases.create_staging(
                connection, name, databases.read_properties(connection, self._live), template=template
            )
            databases.add_extensions(self._address.with_database(name), extensions)
        except BaseException:
            self._discard(connection, name, claims)
            raise

    def _discard(self, connection: Connection, name: str, claims: Claims) -> None:
        """Drop what was claimed and may have been made; one that somebody else made meanwhile bears no mark."""
        try:
            databases.drop_claimed(connection, [name], spared=(self._live, self._undo))
        except psycopg2.Error:
            claims.leave_database(name)

    def _leave_database(self, place: ScratchDatabase) -> None:
        """Drop the scratch database unless it is to be kept; one that was put in place has another name by now."""
        with self._server() as connection:
            if not place.kept:
                databases.drop(connection, place.name)
            elif databases.exists(connection, place.name):
                rename.comment(connection, place.name, "")

    def swap(self, scratch: Scratch, *, run: str, backup: str, claims: Claims) -> None:
        """See `ops.backups.engines.base.Engine`."""
        with self._server() as connection:
            live = databases.read_properties(connection, self._live)
            earlier = self._kept(connection)
            renames, comments = [(scratch.name, self._live)], {}
            if live:
                comments = {self._undo: undo_comment.format_comment(run=run, backup=backup, comment=live.comment)}
            if live and scratch.name == self._undo:
                renames = [(self._live, self._aside), *renames, (self._aside, self._undo)]
            elif live:
                renames = [(self._live, self._undo), *renames]
                if earlier:
                    self._claim(connection, self._aside, claims)
                    renames = [(self._undo, self._aside), *renames]
                    comments[self._aside] = databases.OPS_COMMENT
            rename.rename_databases(connection, renames=renames, comments=comments, live=self._live, description=live)
            scratch.keep()
            # The restore is in place: an earlier undo that is left over must not look like a failure.
            if self._aside in comments:
                try:
                    databases.drop(connection, self._aside)
                except psycopg2.Error:
                    claims.leave_database(self._aside)

    def previous_database(self) -> PreviousDatabase | None:
        """See `ops.backups.engines.base.Engine`."""
        with self._server() as connection:
            return self._kept(connection)

    def _kept(self, connection: Connection) -> PreviousDatabase | None:
        found = databases.comment_and_size(connection, self._undo)
        return undo_comment.parse_comment(self._undo, *found) if found else None

    @contextlib.contextmanager
    def previous_as_staging(self) -> Iterator[Scratch]:
        """The kept database itself: a swap is a matter of names, and needs no copy."""
        with self._server() as connection:
            self._require_previous(connection)
        yield ScratchDatabase(self._address.with_database(self._undo), self._find, live=self._address)

    @contextlib.contextmanager
    def previous_as_default(self) -> Iterator[BaseDatabaseWrapper]:
        """See `ops.backups.engines.base.Engine`."""
        with self._server() as connection:
            self._require_previous(connection)
        with override_database(
            self._address.with_database(self._undo).with_session(undo_comment.READ_ONLY).wrapper()
        ) as wrapper:
            yield wrapper

    def _require_previous(self, connection: Connection) -> None:
        if not self._kept(connection):
            raise undo_comment.undo_missing(str(self._address))

    def drop_previous(self) -> None:
        """See `ops.backups.engines.base.Engine`."""
        with self._server() as connection:
            self._require_previous(connection)
            databases.drop(connection, self._undo)
