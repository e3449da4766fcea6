"""PostgreSQL as an engine of backups: everything that `ops.backups.engines.base.Engine` promises."""

import contextlib
from collections.abc import Collection, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO

import psycopg2
from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg2.extensions import connection as Connection  # noqa: N812

from ops.backups.engines.base import NOTHING, Columns, PreviousDatabase, Rows, Scratch, Snapshot, UntrustedFile
from ops.backups.engines.postgresql import snapshot, untrusted
from ops.backups.engines.postgresql.database_swap import DatabaseSwap
from ops.backups.engines.postgresql.dump_format import count_rows, plain_sql_chunks, read_columns
from ops.backups.engines.postgresql.schema_swap import SchemaSwap
from ops.backups.manifest import Kind
from ops.backups.sources import RestoreSource
from ops.backups.table_policy import never_from_untrusted_files
from ops.databases.claims import NO_CLAIMS, Claims
from ops.databases.postgres import databases
from ops.databases.postgres.client_programs import ClientPrograms, find_programs
from ops.databases.postgres.connection import ConnectionInfo
from ops.utils import posix_signals
from ops.utils.progress import ProgressCallback


class PostgresEngine:
    """Implements `ops.backups.engines.base.Engine` for the database at `address`.

    `tools_directory` is where pg_dump and pg_restore are looked for first.
    """

    kind = "postgresql"

    def __init__(self, address: ConnectionInfo, *, tools_directory: Path | None = None) -> None:
        self.address = address
        self.database = address.database
        self.where = str(address)
        self._tools_directory = tools_directory
        self._lock: Connection | None = None

    # --- One at a time --------------------------------------------------------------------------------------------
    @contextlib.contextmanager
    def locked(self, label: str) -> Iterator[None]:
        """See `ops.backups.engines.base.Engine`."""
        with (
            databases.maintenance_connection(self.address) as connection,
            databases.locked(connection, self.database, label),
        ):
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
        with databases.maintenance_connection(self.address) as connection:
            yield connection

    def sweep(self, claimed: Collection[str] = ()) -> tuple[str, ...]:
        """See `ops.backups.engines.base.Engine`."""
        with self._server() as connection:
            beside = DatabaseSwap(self.address, server=self._server, find=self._find_tools)
            return beside.sweep(connection, claimed)

    # --- Backups --------------------------------------------------------------------------------------------------
    def kinds(self) -> tuple[Kind, ...]:
        """See `ops.backups.engines.base.Engine`."""
        return Kind.SQL_GZIP, Kind.SQL, Kind.CUSTOM

    def _find_tools(self) -> ClientPrograms:
        with self._server() as connection:
            return find_programs(connection.server_version // 10000, self._tools_directory)

    def size(self) -> int:
        """See `ops.backups.engines.base.Engine`."""
        # A damaged database may have no size; the snapshot says what is wrong with it.
        with self._server() as connection, contextlib.suppress(psycopg2.Error):
            found = databases.comment_and_size(connection, self.database)
            return found[1] if found else 0
        return 0

    def snapshot(self, *, kind: Kind, excluded: Mapping[str, str] = NOTHING) -> AbstractContextManager[Snapshot]:
        """See `ops.backups.engines.base.Engine`."""
        return snapshot.take_snapshot(self.address, self._find_tools(), kind, excluded=excluded)

    def count(self, stream: IO[bytes], *, kind: Kind, on_progress: ProgressCallback) -> Mapping[str, int]:
        """See `ops.backups.engines.base.Engine`."""
        return count_rows(plain_sql_chunks(stream, kind=kind, find=self._find_tools), on_progress)

    def read_columns(self, stream: IO[bytes], *, kind: Kind, columns: Columns) -> Mapping[str, Rows]:
        """See `ops.backups.engines.base.Engine`."""
        return read_columns(plain_sql_chunks(stream, kind=kind, find=self._find_tools), columns)

    def require_ordinary_role(self) -> None:
        """See `ops.backups.engines.base.Engine`."""
        with self._server() as server:
            untrusted.require_ordinary_role(server)

    @contextlib.contextmanager
    def untrusted(self, source: RestoreSource) -> Iterator[UntrustedFile]:
        """See `ops.backups.engines.base.Engine`."""
        yield untrusted.UntrustedDump(source, find=self._find_tools, excluded=never_from_untrusted_files())

    # --- Restores -------------------------------------------------------------------------------------------------
    def _place(self) -> DatabaseSwap | SchemaSwap:
        """Where restores are built: beside the live database when the role may, within it otherwise."""
        with self._server() as connection:
            beside = databases.may_create(connection, self.database)
        if beside:
            return DatabaseSwap(self.address, server=self._server, find=self._find_tools)
        return SchemaSwap(self.address, find=self._find_tools)

    def scratch(self, *, name: str = "", for_swap: bool, claims: Claims = NO_CLAIMS) -> AbstractContextManager[Scratch]:
        """See `ops.backups.engines.base.Engine`."""
        return self._place().scratch(name=name, for_swap=for_swap, claims=claims)

    def swap(self, scratch: Scratch, *, run: str, backup: str, claims: Claims = NO_CLAIMS) -> None:
        """See `ops.backups.engines.base.Engine`."""
        with posix_signals.ignore_interrupts():
            self._place().swap(scratch, run=run, backup=backup, claims=claims)

    def previous_database(self) -> PreviousDatabase | None:
        """See `ops.backups.engines.base.Engine`."""
        return self._place().previous_database()

    def previous_as_staging(self) -> AbstractContextManager[Scratch]:
        """See `ops.backups.engines.base.Engine`."""
        return self._place().previous_as_staging()

    def previous_as_default(self) -> AbstractContextManager[BaseDatabaseWrapper]:
        """See `ops.backups.engines.base.Engine`."""
        return self._place().previous_as_default()

    def drop_previous(self) -> None:
        """See `ops.backups.engines.base.Engine`."""
        self._place().drop_previous()
