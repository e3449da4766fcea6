"""The live database at one moment: pg_dump and the digests read the same exported snapshot at the same time."""

import contextlib
import datetime as dt
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor

import psycopg2
from psycopg2 import errors
from psycopg2.extensions import connection as Connection  # noqa: N812
from psycopg2.extensions import cursor as Cursor  # noqa: N812

from ops.backups.engines.base import Description, Snapshot, Tables
from ops.backups.engines.postgresql import excluded_tables, table_digests
from ops.backups.manifest import Kind
from ops.databases.migration_state import MIGRATIONS_TABLE, recorded_migrations
from ops.databases.postgres import client_programs
from ops.databases.postgres.client_programs import ClientPrograms
from ops.databases.postgres.connection import ConnectionInfo, server_message
from ops.databases.postgres.queries import fetch_row, fetch_value
from ops.errors import PreconditionFailed
from ops.utils.identifiers import quoted
from ops.utils.progress import Progress, ProgressCallback, Stage, no_progress

LOCK_WAIT = 30_000
"""Milliseconds that a backup waits for a session that changes the schema."""
UNREADABLE = (
    "SELECT relname FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = relnamespace WHERE relkind IN ('r', 'S', 'p')"
    " AND nspname !~ '^pg_' AND nspname NOT IN ('information_schema', %s) AND NOT has_table_privilege(c.oid, 'SELECT')"
    " ORDER BY 1"
)


class PostgresSnapshot(Snapshot):
    """An exported snapshot; `take_snapshot` creates it."""

    def __init__(
        self,
        address: ConnectionInfo,
        programs: ClientPrograms,
        kind: Kind,
        connection: Connection,
        excluded: Mapping[str, str],
    ) -> None:
        self._address = address
        self._programs = programs
        self._custom = kind is Kind.CUSTOM
        with connection.cursor() as cursor:
            cursor.execute("SELECT set_config('idle_in_transaction_session_timeout', '0', true)")
            cursor.execute("SELECT set_config('lock_timeout', %s, true)", [str(LOCK_WAIT)])
            self._id: str = fetch_value(cursor, "SELECT pg_export_snapshot()")
            self.taken_at: dt.datetime = fetch_value(cursor, "SELECT now()").astimezone(dt.UTC)
            require_readable(cursor, address)
            self.description = describe(cursor, address, programs)
            self.migrations = read_migrations(cursor)
            self._without_rows = excluded_tables.find(cursor, excluded)
            self.excluded: Mapping[str, str] = {
                table.qualified_name: excluded[table.wanted] for table in self._without_rows
            }
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="digests")
        self._tables: Future[Tables] = self._executor.submit(self._count, connection)

    def _count(self, connection: Connection) -> Tables:
        with connection.cursor() as cursor:
            return table_digests.read_digests(
                cursor, stage=Stage.SNAPSHOT, on_progress=no_progress, excluded=self.excluded
            )

    def stream(self, on_progress: ProgressCallback) -> Iterator[bytes]:
        command = client_programs.dump_command(
            self._programs,
            self._address,
            custom=self._custom,
            snapshot=self._id,
            lock_wait=LOCK_WAIT,
            without_schemas=[table_digests.UNDO_SCHEMA],
            without_rows=[table.pattern for table in self._without_rows],
        )
        done = 0
        with contextlib.closing(client_programs.output_of(command)) as chunks:
            for chunk in chunks:
                done += len(chunk)
                on_progress(Progress(stage=Stage.DUMP, done=done))
                yield chunk

    def tables(self) -> Tables:
        """Raises PreconditionFailed where they could not be read."""
        try:
            return self._tables.result()
        except errors.LockNotAvailable as error:
            raise PreconditionFailed(
                f"Another program has locked a table of {self._address} for {LOCK_WAIT // 1000} s.",
                "Wait until it has ended (a migration?), and run the command again.",
            ) from error
        except psycopg2.Error as error:
            raise PreconditionFailed(f"The rows of {self._address} cannot be read: {server_message(error)}.") from error

    def close(self, connection: Connection) -> None:
        """End the counting, whether it is complete or not."""
        if not self._tables.done():
            with contextlib.suppress(psycopg2.Error):
                connection.cancel()
        self._executor.shutdown()


@contextlib.contextmanager
def take_snapshot(
    address: ConnectionInfo, programs: ClientPrograms, kind: Kind, *, excluded: Mapping[str, str]
) -> Iterator[PostgresSnapshot]:
    """As `ops.backups.engines.base.Engine.snapshot`."""
    with contextlib.closing(address.connect()) as connection:
        connection.set_session(isolation_level="REPEATABLE READ", readonly=True)
        try:
            snapshot = PostgresSnapshot(address, programs, kind, connection, excluded)
        except psycopg2.Error as error:
            raise PreconditionFailed(f"The database {address} cannot be read: {server_message(error)}.") from error
        try:
            yield snapshot
        finally:
            snapshot.close(connection)


def require_readable(cursor: Cursor, address: ConnectionInfo) -> None:
    """Raises PreconditionFailed with the exact GRANT when there are tables that the role may not read."""
    cursor.execute(UNREADABLE, [table_digests.UNDO_SCHEMA])
    names = [name for (name,) in cursor.fetchall()]
    if not names:
        return
    role = fetch_value(cursor, "SELECT current_user")
    listed = ", ".join(names[:3]) + (" …" if len(names) > 3 else "")
    raise PreconditionFailed(
        f"The role {role} may not read {len(names)} tables and sequences of {address}: {listed}.",
        f"As an administrator: GRANT pg_read_all_data TO {quoted(role)};",
    )


def describe(cursor: Cursor, address: ConnectionInfo, programs: ClientPrograms) -> Description:
    """The database in the manifest."""
    version, size, encoding, collate, ctype = fetch_row(
        cursor,
        "SELECT current_setting('server_version'), pg_database_size(oid), pg_encoding_to_char(encoding), datcollate,"
        " datctype FROM pg_database WHERE datname = current_database()",
    )
    cursor.execute("SELECT extname || ' ' || extversion FROM pg_extension WHERE extname <> 'plpgsql' ORDER BY 1")
    extensions = ", ".join(name for (name,) in cursor.fetchall())
    facts = {
        "host": address.host or "local socket",
        "encoding": encoding,
        "collation": collate,
        "character type": ctype,
        **({"extensions": extensions} if extensions else {}),
    }
    return Description(
        server_version=version.split()[0], tool_version=f"pg_dump {programs.version}", size=size, metadata=facts
    )


def read_migrations(cursor: Cursor) -> tuple[str, ...]:
    return recorded_migrations(cursor) if table_digests.has_table(cursor, MIGRATIONS_TABLE) else ()
