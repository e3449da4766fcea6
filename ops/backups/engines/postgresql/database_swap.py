"""Scratch, staging and previous databases as separate databases, for roles that may create databases."""

import contextlib
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO

import psycopg2
from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg2.extensions import connection as Connection  # noqa: N812
from psycopg2.extensions import cursor as Cursor  # noqa: N812

from ops.backups.engines.base import PreviousDatabase, Scratch, SwapStrategy, Tables, require_backed_up
from ops.backups.engines.postgresql import dump_loader, parallel_build, table_digests, undo_comment
from ops.backups.engines.postgresql.dump_format import plain_sql_chunks
from ops.backups.engines.postgresql.dump_loader import DumpLoader
from ops.backups.engines.postgresql.early_digests import early_digests
from ops.backups.engines.postgresql.live_rows import copy_between
from ops.backups.engines.postgresql.parallel_build import Builder
from ops.backups.manifest import Kind
from ops.databases.leftovers import Claims
from ops.databases.override import override_database
from ops.databases.postgres import databases, rename
from ops.databases.postgres.connection import ConnectionInfo, Session, server_message
from ops.databases.postgres.differences import NotKept
from ops.databases.postgres.kept_properties import keep_properties
from ops.databases.postgres.properties import DatabaseProperties, read_live, read_properties
from ops.databases.postgres.queries import fetch_value
from ops.errors import OpsError, PreconditionFailed
from ops.utils import posix_signals
from ops.utils.progress import Progress, ProgressCallback, Stage

STAGING, RESTORE_TEST, ASIDE = "_ops_new", "_ops_test", "_ops_aside"
"""Suffixes of the live database's name: for a restore, for a restore test, and for a database that a swap renames
twice, or that is dropped after it."""


FUNCTIONS = """
SELECT EXISTS (SELECT FROM pg_proc AS p JOIN pg_language AS l ON l.oid = prolang
               WHERE lanname NOT IN ('internal', 'c') AND prorettype <> ALL('{trigger, event_trigger}'::regtype[])
               AND pronamespace::regnamespace::text !~ '^(pg_catalog|information_schema)$'
               AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_proc'::regclass AND objid = p.oid
                               AND deptype = 'e'))
"""


class ScratchDatabase(Scratch):
    """The database `name`, created for `strategy`."""

    def __init__(self, strategy: "DatabaseSwap", name: str, recorded: DatabaseProperties | None = None) -> None:
        self.name = name
        self.recorded = recorded
        self.address = strategy.address.with_database(name)
        self.kept = False
        self.replaces_earlier = False
        """Whether the swap sets an earlier previous database aside."""
        self.not_kept: tuple[NotKept, ...] = ()
        self._strategy = strategy
        self._digests: Tables = {}
        """Those that were read during the load."""

    def load(self, stream: IO[bytes], *, kind: Kind, on_progress: ProgressCallback) -> Mapping[str, int]:
        """Tables and rows, then indexes and keys on several connections. The digests of tables are read meanwhile.

        What is committed before the end of the dump was seen is dropped with the database when the load fails.
        """
        chunks = plain_sql_chunks(stream, kind=kind, tools_directory=self._strategy.tools_directory)
        with early_digests(self.address) as digests:
            with self.session() as connection:
                loader = DumpLoader(connection, on_progress=on_progress, on_commit=digests.read)
                post_data = loader.load(chunks)
            indexes, others = parallel_build.split(post_data)
            builder = Builder(self.session, loader.settings, on_progress)
            builder.build(indexes)
            digests.read(loader.uncommitted)
            builder.build(others)
            self.analyze(on_progress)
            # Building writes no rows, but the query of a materialized view may call a function that does. Others are
            # called by the expressions of columns and indexes.
            if not any(statement.text.startswith(b"REFRESH ") for statement in post_data):
                self._digests = digests.collect()
        return loader.rows

    @contextlib.contextmanager
    def session(self) -> Iterator[Connection]:
        """A connection that loads, committed when the block ends without an error."""
        with contextlib.closing(self.address.connect()) as connection:
            dump_loader.set_up(connection)
            yield connection
            dump_loader.commit(connection)

    def analyze(self, on_progress: ProgressCallback) -> None:
        """Not with a superuser's rights: the expressions of indexes are executed."""
        on_progress(Progress(stage=Stage.LOAD, item="ANALYZE"))
        with contextlib.closing(self.address.connect(autocommit=True)) as connection, connection.cursor() as cursor:
            if not databases.has_server_access(connection):
                analyze(cursor)

    def tables(self, on_progress: ProgressCallback) -> Tables:
        with contextlib.closing(self.address.connect()) as connection, connection.cursor() as cursor:
            try:
                known, self._digests = {} if has_functions(cursor) else self._digests, {}
                return table_digests.read_digests(cursor, stage=Stage.COMPARE, on_progress=on_progress, known=known)
            except psycopg2.Error as error:
                raise dump_loader.translate_error(error, "the comparison of the loaded tables") from error

    def as_default(self) -> AbstractContextManager[BaseDatabaseWrapper]:
        return override_database(self.address.wrapper())

    def keep(self) -> None:
        self.kept = True

    def copy_live_rows(self, tables: Collection[str]) -> tuple[str, ...]:
        return copy_between(self._strategy.address, self.address, tables)

    def keep_properties(self) -> tuple[NotKept, ...]:
        self.not_kept = self._strategy.keep_properties(self)
        return self.not_kept

    def swap(self, *, run: str, backup: str, backup_due: bool = False) -> None:
        with posix_signals.ignore_interrupts():
            self._strategy.swap_in(self, run=run, backup=backup, backup_due=backup_due)


def has_functions(cursor: Cursor) -> bool:
    """Whether the database has functions of its own that an expression may call. They may write rows."""
    return fetch_value(cursor, FUNCTIONS) is True


def analyze(cursor: Cursor) -> None:
    """Collect statistics on what was loaded. Without names, PostgreSQL would analyze its own tables too."""
    cursor.execute(
        "SELECT oid::regclass::text FROM pg_class WHERE relkind IN ('r', 'm', 'p') AND NOT relispartition"
        " AND relnamespace::regnamespace::text !~ '^(pg_|information_schema$)'"
    )
    if tables := [name for (name,) in cursor.fetchall()]:
        cursor.execute(f"ANALYZE {', '.join(tables)}")


class DatabaseSwap(SwapStrategy):
    """Replaces the database at `address` by renaming; `server` gives a session of the maintenance database."""

    swaps_databases = True

    def __init__(
        self,
        address: ConnectionInfo,
        *,
        server: Callable[[], AbstractContextManager[Session]],
        tools_directory: Path | None,
        claims: Claims,
    ) -> None:
        self.address = address
        self.tools_directory = tools_directory
        self._server = server
        self._claims = claims
        self._live = address.database
        self._staging, self._restore_test, self._previous, self._aside, self._emptied = (
            databases.suffixed_name(self._live, suffix)
            for suffix in (STAGING, RESTORE_TEST, undo_comment.PREVIOUS, ASIDE, databases.EMPTIED)
        )

    def leftovers(self, connection: Connection) -> Collection[str]:
        """As `Engine.leftovers`."""
        made = (self._staging, self._restore_test, self._aside, self._emptied)
        return [name for name in made if databases.exists(connection, name)]

    def sweep(self, connection: Connection, claimed: Collection[str]) -> tuple[str, ...]:
        """As `Engine.sweep`."""
        for name in (self._live, self._staging, self._restore_test, self._previous):
            databases.end_leftover_sessions(connection, name)
        dropped = databases.drop_claimed(connection, claimed, spared=(self._live, self._previous))
        return tuple(f"Dropped the database {name}, which a killed run had left." for name in dropped)

    @contextlib.contextmanager
    def scratch(
        self, *, name: str = "", for_swap: bool, recorded: DatabaseProperties | None = None
    ) -> Iterator[Scratch]:
        if for_swap:
            require_backed_up(self.previous_database())
        chosen = name or (self._staging if for_swap else self._restore_test)
        scratch = ScratchDatabase(self, chosen, recorded)
        with self._server() as connection:
            self._create(connection, scratch)
        try:
            yield scratch
        finally:
            try:
                self._release(scratch)
            except (psycopg2.Error, OpsError):
                # The connection is lost. A database that is kept stays; its comment does no harm.
                if not scratch.kept or scratch.replaces_earlier:
                    self._claims.leave_database(self._aside if scratch.kept else chosen)

    def _create(self, connection: Connection, scratch: ScratchDatabase) -> None:
        """With the settings of the live database, so that a restore test needs them too.

        Default privileges follow after the load: they are for new objects.
        """
        databases.claim(connection, scratch.name, self._claims)
        try:
            wanted = self._wanted(connection, scratch)
            try:
                databases.create(connection, scratch.address, wanted)
            except PreconditionFailed:
                if wanted is None or any(databases.exists(connection, name) for name in (self._live, scratch.name)):
                    raise
                # The backup is of another server, whose locale this one may not have.
                databases.create(connection, scratch.address, databases.with_default_locale(connection, wanted))
            if wanted:
                self._give(scratch, wanted.without_default_privileges())
        except BaseException:
            databases.discard(connection, scratch.name, self._claims, spared=(self._live, self._previous))
            raise

    def _wanted(self, connection: Connection, scratch: ScratchDatabase) -> DatabaseProperties | None:
        """Those of the live database, and of the backup where that does not exist or cannot be read."""
        if live := read_live(connection, self.address):
            return live.completed(scratch.recorded)
        return scratch.recorded.without_missing_owner(connection) if scratch.recorded else None

    def keep_properties(self, scratch: ScratchDatabase) -> tuple[NotKept, ...]:
        """As `Scratch.keep_properties`. The previous database keeps what the one that replaced it could not get."""
        with self._server() as server:
            wanted = self._wanted(server, scratch)
            found = databases.comment_and_size(server, self._previous) if scratch.name == self._previous else None
        if wanted is None:
            return ()
        return self._give(scratch, wanted, except_for=undo_comment.parse_not_kept(found[0]) if found else ())

    def _give(
        self, scratch: ScratchDatabase, wanted: DatabaseProperties, *, except_for: Collection[str] = ()
    ) -> tuple[NotKept, ...]:
        is_previous = scratch.name == self._previous
        replaces = is_previous or scratch.name in (self._staging, self._restore_test)
        name = self._live if replaces else scratch.name
        try:
            with contextlib.closing(scratch.address.connect()) as connection:
                return keep_properties(
                    connection, wanted, live=name, except_for=except_for, others_are_new=not is_previous
                )
        except psycopg2.Error as error:
            raise OpsError(
                f"The owners and privileges of {self._live} could not be copied: {server_message(error)}."
                " Nothing was changed.",
                "Run the command again. If it fails again, read the server's log.",
            ) from error

    def _release(self, scratch: ScratchDatabase) -> None:
        """Drop the scratch database unless it is kept. One that was swapped in has another name by now.

        Only then is the earlier previous database dropped: PostgreSQL writes a checkpoint for that, which takes
        seconds, and the swap blocks writes.
        """
        with self._server() as connection:
            if not scratch.kept:
                databases.drop(connection, scratch.name)
            elif scratch.replaces_earlier:
                with posix_signals.ignore_interrupts():
                    databases.drop(connection, self._aside)
            elif databases.exists(connection, scratch.name):
                rename.comment(connection, scratch.name, "")

    def swap_in(self, scratch: ScratchDatabase, *, run: str, backup: str, backup_due: bool) -> None:
        """As `Scratch.swap`."""
        with self._server() as connection:
            live = read_properties(connection, self._live)
            earlier = self._read_previous(connection)
            renames, comments = [(scratch.name, self._live)], {}
            if live:
                comment = undo_comment.format_comment(
                    run=run, backup=backup, comment=live.comment, not_kept=scratch.not_kept, backup_due=backup_due
                )
                comments = {self._previous: comment}
            if live and scratch.name == self._previous:
                renames = [(self._live, self._aside), *renames, (self._aside, self._previous)]
            elif live:
                renames = [(self._live, self._previous), *renames]
                if earlier:
                    databases.claim(connection, self._aside, self._claims)
                    renames = [(self._previous, self._aside), *renames]
                    comments[self._aside] = databases.OPS_COMMENT
                    scratch.replaces_earlier = True
            rename.rename_databases(
                connection,
                self.address,
                renames=renames,
                comments=comments,
                live=self._live,
                description=live or scratch.recorded,
            )
            scratch.keep()

    def previous_database(self) -> PreviousDatabase | None:
        with self._server() as connection:
            return self._read_previous(connection)

    def mark_backed_up(self) -> None:
        """As `Engine.mark_backed_up`."""
        previous = self.require_previous()
        with self._server() as connection:
            found = databases.comment_and_size(connection, previous.name)
            if found:
                rename.comment(connection, previous.name, undo_comment.without_due_backup(found[0]))

    def _read_previous(self, connection: Connection) -> PreviousDatabase | None:
        found = databases.comment_and_size(connection, self._previous)
        return undo_comment.parse_comment(self._previous, *found) if found else None

    @contextlib.contextmanager
    def previous_as_staging(self) -> Iterator[Scratch]:
        """The previous database itself: a swap renames databases, which needs no copy."""
        self.require_previous()
        with self._server() as connection:
            may_rename = databases.may_create(connection, self._live)
        if not may_rename:
            with contextlib.closing(self.address.connect()) as live, live.cursor() as cursor:
                raise PreconditionFailed(
                    f"The role may not rename databases any more, as it did when {self._previous} was replaced."
                    " Nothing was changed.",
                    f"As an administrator: {databases.how_to_replace(cursor)}",
                )
        yield ScratchDatabase(self, self._previous)

    def previous_as_default(self) -> AbstractContextManager[BaseDatabaseWrapper]:
        self.require_previous()
        with self._server() as connection:
            address = self.address.with_database(self._previous).on_server_of(connection)
        return override_database(address.with_session(undo_comment.READ_ONLY).wrapper())

    def drop_previous(self, previous: PreviousDatabase) -> None:
        with self._server() as connection:
            databases.drop(connection, previous.name)
