"""Backups of a PostgreSQL database."""

import contextlib
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import IO

from django.db.backends.base.base import BaseDatabaseWrapper
from msgspec import structs

from ops.backups.engines.base import NOTHING, Columns, Engine, PreviousDatabase, Rows, Snapshot, UntrustedFile
from ops.backups.engines.postgresql import snapshot, undo_comment, untrusted
from ops.backups.engines.postgresql.database_swap import DatabaseSwap
from ops.backups.engines.postgresql.dump_format import count_rows, plain_sql_chunks
from ops.backups.engines.postgresql.dump_reader import DumpReader, read_columns
from ops.backups.engines.postgresql.schema_swap import SchemaSwap
from ops.backups.engines.postgresql.table_digests import UNDO_SCHEMA
from ops.backups.manifest import Kind
from ops.backups.sources import RestoreSource
from ops.backups.table_policy import never_from_untrusted_files
from ops.databases.leftovers import NO_CLAIMS, Claims
from ops.databases.override import override_database
from ops.databases.postgres import databases, lock, server_id, writable
from ops.databases.postgres.client_programs import ClientPrograms, find_programs
from ops.databases.postgres.connection import RUN_AGAIN, ConnectionInfo, Session
from ops.databases.postgres.properties import DatabaseProperties, read_properties
from ops.databases.postgres.queries import select
from ops.errors import OpsError, PreconditionFailed
from ops.utils.progress import ProgressCallback


class PostgresEngine(Engine):
    """The database at `address`. pg_dump and pg_restore are searched in `tools_directory` first.

    While the lock is held, all connections go to the server that has it.
    """

    kind = "postgresql"
    kinds = (Kind.SQL_GZIP, Kind.SQL, Kind.CUSTOM)

    def __init__(self, address: ConnectionInfo, *, tools_directory: Path | None = None) -> None:
        self.address = address
        self.database = address.database
        self.where = str(address)
        self._tools_directory = tools_directory
        self._lock: Session | None = None
        self._relock: Callable[[float], Session]
        """Takes the lock in a new session, within so many seconds."""

    # --- One at a time --------------------------------------------------------------------------------------------
    @contextlib.contextmanager
    def locked(self, label: str) -> Iterator[None]:
        named = self.address
        with contextlib.ExitStack() as stack:
            connection = stack.enter_context(databases.maintenance_connection(named))
            stack.enter_context(lock.locked(connection, self.database, label))
            self.address, self._lock = named.on_server_of(connection), connection
            self._relock = lambda within: stack.enter_context(lock.relocked(named, label, within=within))
            try:
                yield
            finally:
                self.address, self._lock = named, None

    @contextlib.contextmanager
    def _server(self) -> Iterator[Session]:
        """The session that holds the lock, so that losing the lock ends the work; without a lock a new one."""
        if self._lock:
            with lock.naming_loss(self._lock, self.database):
                yield self._lock
            return
        with databases.maintenance_connection(self.address) as connection:
            yield connection

    def require_lock(self) -> None:
        with self._server() as server:
            select(server, "SELECT 1")

    @contextlib.contextmanager
    def relocked(self, *, within: float) -> Iterator[BaseDatabaseWrapper]:
        if self._lock:
            # It may be whole, if the lost session is another one.
            self._lock.close()
        self._lock = self._relock(within)
        self.address = self.address.on_server_of(self._lock)
        if not databases.exists(self._lock, self.database):
            raise OpsError(lock.NOT_DONE, RUN_AGAIN)
        # Where the schema was replaced, by another session than that of the lock, it was done there.
        with lock.after_lost_commit(self._live_session, self.database, within=within):
            pass
        with override_database(self.address.wrapper()) as wrapper:
            yield wrapper

    def _live_session(self) -> AbstractContextManager[Session]:
        return contextlib.closing(self.address.connect(autocommit=True))

    def replaced_server(self) -> str | None:
        with self._server() as server, server.cursor() as cursor:
            return server_id.read_server_id(cursor)

    def is_at(self, address: ConnectionInfo) -> bool:
        """Whether `address` is that of the live database, perhaps written in another way or with other options."""
        if address.database != self.database:
            return False
        with self._server() as ours, databases.maintenance_connection(address) as theirs:
            return databases.is_same_server(ours, theirs)

    def leftovers(self) -> Collection[str]:
        with self._server() as connection:
            return self._database_swap().leftovers(connection)

    def sweep(self, claimed: Collection[str] = ()) -> tuple[str, ...]:
        with self._server() as connection:
            with connection.cursor() as cursor:
                reason, _ = writable.explain_read_only(cursor)
            if reason:
                left = [name for name in claimed if databases.exists(connection, name)]
                return tuple(f"The database {name} of a killed run cannot be dropped: {reason}." for name in left)
            return self._database_swap().sweep(connection, claimed)

    # --- Backups --------------------------------------------------------------------------------------------------
    def _find_programs(self) -> ClientPrograms:
        with self._server() as connection:
            return find_programs(connection.server_version // 10000, self._tools_directory)

    def size(self) -> int | None:
        with self._server() as connection:
            return databases.size(connection, self.address.database)

    def is_empty(self) -> bool:
        with self._server() as server:
            if not databases.exists(server, self.database):
                return True
        with contextlib.closing(self.address.connect()) as live:
            return databases.is_empty(live)

    def snapshot(self, *, kind: Kind, excluded: Mapping[str, str] = NOTHING) -> AbstractContextManager[Snapshot]:
        return snapshot.take_snapshot(self.address, self._find_programs(), kind, excluded=excluded)

    def count(self, stream: IO[bytes], *, kind: Kind, on_progress: ProgressCallback) -> Mapping[str, int]:
        return count_rows(plain_sql_chunks(stream, kind=kind, tools_directory=self._tools_directory), on_progress)

    def read_columns(self, stream: IO[bytes], *, kind: Kind, columns: Columns) -> Mapping[str, Rows]:
        chunks = plain_sql_chunks(stream, kind=kind, tools_directory=self._tools_directory)
        return read_columns(DumpReader(chunks).blocks(), columns)

    def explain_read_only(self) -> tuple[str, str]:
        """As its sessions see it, or those of another database where it has none."""
        try:
            live = self.address.connect()
        except PreconditionFailed:
            with self._server() as server, server.cursor() as cursor:
                return writable.explain_read_only(cursor)
        with contextlib.closing(live), live.cursor() as cursor:
            return writable.explain_read_only(cursor)

    def require_ordinary_role(self) -> None:
        with self._server() as server:
            untrusted.require_ordinary_role(server)

    def untrusted(self, source: RestoreSource) -> AbstractContextManager[UntrustedFile]:
        excluded = never_from_untrusted_files()
        return contextlib.nullcontext(
            untrusted.UntrustedDump(source, tools_directory=self._tools_directory, excluded=excluded)
        )

    # --- Restores -------------------------------------------------------------------------------------------------
    def swap_strategy(self, claims: Claims = NO_CLAIMS) -> DatabaseSwap | SchemaSwap:
        """A separate database where the role may create one, a schema in one transaction otherwise."""
        with self._server() as connection:
            may_create = databases.may_create(connection, self.database)
        return self._database_swap(claims) if may_create else self._schema_swap()

    def previous_database(self) -> PreviousDatabase | None:
        """Of both strategies, that which this role may use now first."""
        chosen = self.swap_strategy()
        if previous := chosen.previous_database():
            return previous
        other = self._schema_swap() if chosen.swaps_databases else self._database_swap()
        # There may be no live database, or an unrelated object may have the name.
        with contextlib.suppress(PreconditionFailed):
            return other.previous_database()
        return None

    def strategy_of(self, previous: PreviousDatabase, claims: Claims = NO_CLAIMS) -> DatabaseSwap | SchemaSwap:
        return self._schema_swap() if previous.name == UNDO_SCHEMA else self._database_swap(claims)

    def find_backup_due(self) -> PreviousDatabase | None:
        with self._server() as connection, connection.cursor() as cursor:
            return undo_comment.find_backup_due(cursor, self.database)

    def mark_backed_up(self) -> None:
        self._database_swap().mark_backed_up()

    def for_previous(self, previous: PreviousDatabase) -> "PreviousPostgres":
        return PreviousPostgres(self.address, previous, lock=self._lock, tools_directory=self._tools_directory)

    def _schema_swap(self) -> SchemaSwap:
        return SchemaSwap(self.address, tools_directory=self._tools_directory)

    def _database_swap(self, claims: Claims = NO_CLAIMS) -> DatabaseSwap:
        return DatabaseSwap(self.address, server=self._server, tools_directory=self._tools_directory, claims=claims)


class PreviousPostgres(PostgresEngine):
    """The previous database of the one at `live`, for its backup: with the name of that one, and only to be read."""

    def __init__(
        self,
        live: ConnectionInfo,
        previous: PreviousDatabase,
        *,
        lock: Session | None,
        tools_directory: Path | None,
    ) -> None:
        """`lock`: the session that holds the lock of the live database, if the caller has it."""
        address = live.with_database(previous.name).with_session(undo_comment.READ_ONLY)
        super().__init__(address, tools_directory=tools_directory)
        self.database = live.database
        self._lock = lock
        self._replaced_at = previous.replaced_at

    @contextlib.contextmanager
    def snapshot(self, *, kind: Kind, excluded: Mapping[str, str] = NOTHING) -> Iterator[Snapshot]:
        """Of the moment of the swap, whenever it is taken: its rows have not changed since.

        Lists, the retention policy and comparisons go by that time. A backup of the database that is live now, made
        before this one, has newer rows.
        """
        with super().snapshot(kind=kind, excluded=excluded) as taken:
            properties = taken.properties and self._as_live(taken.properties)
            yield replace(taken, taken_at=self._replaced_at, properties=properties)

    def _as_live(self, properties: DatabaseProperties) -> DatabaseProperties:
        """With what the swap has passed on to the database that is live now (see `rename.rename_databases`)."""
        with self._server() as server:
            live = read_properties(server, self.database)
        return structs.replace(properties, comment=live.comment, is_template=live.is_template) if live else properties
