"""The PostgreSQL database to migrate, as one exported snapshot shows it."""

import contextlib
import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import psycopg2
from psycopg2.extensions import connection as Connection  # noqa: N812
from psycopg2.extensions import cursor as Cursor  # noqa: N812

from ops.databases.migration_state import MIGRATIONS_TABLE, recorded_migrations, require_known
from ops.databases.postgres.connection import APPLICATION, ConnectionInfo, server_message
from ops.databases.postgres.queries import fetch_column, fetch_row, fetch_value
from ops.engine_migration.catalog import CatalogTable, read_tables
from ops.engine_migration.plan import ColumnPlan, TablePlan
from ops.engine_migration.refusals import PreflightResult
from ops.engine_migration.sessions import LOCK_WAIT, OLDEST_SERVER, PostgresDatabase
from ops.engine_migration.target_sql import all_but
from ops.errors import PreconditionFailed
from ops.utils.formatting import join_names
from ops.utils.identifiers import quoted

TABLES = (
    "SELECT relname FROM pg_class AS c WHERE relnamespace = quote_ident(current_schema())::regnamespace"
    " AND relkind IN ('r', 'p', 'f') AND NOT relispartition AND NOT EXISTS (SELECT 1 FROM pg_depend"
    " WHERE classid = 'pg_class'::regclass AND objid = c.oid AND deptype = 'e') ORDER BY 1"
)
"""Without partitions, whose rows are those of their parent, and tables of extensions."""
UNREADABLE = (
    "SELECT relname FROM pg_class WHERE relnamespace = quote_ident(current_schema())::regnamespace"
    " AND relname = ANY(%s) AND NOT has_table_privilege(oid, 'SELECT') ORDER BY 1"
)
UNREADABLE_SEQUENCES = (
    "SELECT sequence.relname FROM pg_depend JOIN pg_class AS sequence ON sequence.oid = objid"
    " JOIN pg_class AS owner ON owner.oid = refobjid"
    " WHERE pg_depend.classid = 'pg_class'::regclass AND refclassid = 'pg_class'::regclass AND deptype IN ('a', 'i')"
    " AND owner.relnamespace = quote_ident(current_schema())::regnamespace AND owner.relname = ANY(%s)"
    " AND CASE sequence.relkind WHEN 'S' THEN NOT has_sequence_privilege(sequence.oid, 'SELECT') ELSE false END"
    " ORDER BY 1"
)
HIDING_ROWS = (
    "SELECT relname FROM pg_class WHERE relnamespace = quote_ident(current_schema())::regnamespace"
    " AND relname = ANY(%s) AND relrowsecurity AND row_security_active(oid) ORDER BY 1"
)


LOCKABLE = (
    "SELECT quote_ident(relname) FROM pg_class WHERE relnamespace = quote_ident(current_schema())::regnamespace"
    " AND relname = ANY(%s) AND relkind IN ('r', 'p') ORDER BY 1"
)
ATTEMPTS = 5
"""At locking the tables that there are: others may create and drop some meanwhile."""


@dataclass(frozen=True, kw_only=True)
class DatabaseSnapshot:
    """A database at the moment `taken_at`, which sessions see while the `holder` of the snapshot lives.

    All transactions before `oldest` had ended; `newest` is the first one that had not begun. Both are PostgreSQL's xid.
    `tables` are those of the current schema; the holder has locked them, so that they are neither emptied nor altered.
    """

    address: ConnectionInfo
    key: str
    taken_at: dt.datetime
    server: str
    size: int
    tables: Mapping[str, CatalogTable]
    oldest: str
    newest: str
    holder: Connection

    def require_alive(self) -> None:
        """Raises psycopg2.Error where the session of the holder has ended, and with it the snapshot and its locks."""
        with self.holder.cursor() as cursor:
            cursor.execute("SELECT 1")

    def count(self, table: str) -> int:
        with self.holder.cursor() as cursor:
            return int(fetch_value(cursor, f"SELECT count(*) FROM {quoted(table)}"))

    def database(self, processes: int, *, temporary_tables: bool = False) -> PostgresDatabase:
        """Its sessions read every digit of a floating-point number, whatever role and database have set."""
        return PostgresDatabase(
            address=self.address.with_session("-c extra_float_digits=1"),
            processes=processes,
            snapshot=self.key,
            temporary_tables=temporary_tables,
        )


@contextlib.contextmanager
def take_snapshot(address: ConnectionInfo) -> Iterator[DatabaseSnapshot]:
    """Lock the tables and export a snapshot.

    Raises PreconditionFailed unless the database has exactly the migrations of the code, and can be read.
    """
    with contextlib.closing(address.connect()) as connection:
        # All sessions that read the snapshot, and that of the lock, have to be on this server.
        address = address.on_server_of(connection)
        require_version(connection)
        connection.set_session(isolation_level="REPEATABLE READ", readonly=True)
        try:
            names = lock_tables(connection, address)
            snapshot = describe(connection, address, names)
        except psycopg2.errors.LockNotAvailable:
            raise
        except psycopg2.Error as error:
            raise PreconditionFailed(
                f"{address} cannot be read: {server_message(error)}. Nothing was changed."
            ) from error
        yield snapshot


def lock_tables(connection: Connection, address: ConnectionInfo) -> list[str]:
    """Lock all tables before the snapshot of the transaction is taken, as pg_dump does after it. Returns their names.

    TRUNCATE and some forms of ALTER TABLE take effect in older snapshots, too
    (postgresql.org/docs/current/mvcc-caveats.html).
    """
    with connection.cursor() as cursor:
        for _ in range(ATTEMPTS):
            names = fetch_column(cursor, TABLES)
            require_project(address, names)
            require_readable(connection, address, names)
            lockable = fetch_column(cursor, LOCKABLE, [names])
            connection.rollback()
            cursor.execute(f"SET LOCAL lock_timeout = '{LOCK_WAIT}s'")
            if lockable:
                cursor.execute(f"LOCK TABLE {', '.join(lockable)} IN ACCESS SHARE MODE")
            if fetch_column(cursor, TABLES) == names:
                return names
            connection.rollback()
    raise PreconditionFailed(
        f"The tables of {address} change all the time. Nothing was changed.", "Stop the program that creates them."
    )


def describe(connection: Connection, address: ConnectionInfo, names: Sequence[str]) -> DatabaseSnapshot:
    with connection.cursor() as cursor:
        # A run of the live database ends sessions that have the plain name, because killed runs left them.
        cursor.execute("SELECT set_config('application_name', %s, false)", [f"{APPLICATION}: snapshot"])
        key, taken_at, visible, server, size = fetch_row(
            cursor,
            "SELECT pg_export_snapshot(), now(), pg_current_snapshot()::text, current_setting('server_version'),"
            " pg_database_size(current_database())",
        )
        if pending := require_known(recorded_migrations(cursor), str(address)):
            raise PreconditionFailed(
                f"{address} was written by an older version: it lacks {join_names(pending, 1)}. Nothing was changed.",
                "Run manage.py migrate on it first.",
            )
        tables = read_tables(cursor, names)
    oldest, newest, _ = visible.split(":")
    return DatabaseSnapshot(
        address=address,
        key=key,
        taken_at=taken_at.astimezone(dt.UTC),
        server=server.split()[0],
        size=size,
        tables=tables,
        oldest=as_xid(oldest),
        newest=as_xid(newest),
        holder=connection,
    )


def as_xid(number: str) -> str:
    """The 32 bits of a transaction's number that rows have."""
    return str(int(number) % 2**32)


def require_version(connection: Connection) -> None:
    """Raises PreconditionFailed for a server that is too old."""
    version = connection.server_version
    if version < OLDEST_SERVER:
        raise PreconditionFailed(
            f"The server runs PostgreSQL {version // 10000}; {OLDEST_SERVER // 10000} or newer is required."
            " Nothing was changed."
        )


def require_project(address: ConnectionInfo, names: Sequence[str]) -> None:
    """Raises PreconditionFailed unless these are tables of a project of Django."""
    if MIGRATIONS_TABLE not in names:
        raise PreconditionFailed(
            f"{address} is not a database of this project: it has no {MIGRATIONS_TABLE};"
            f" {f'its tables are {join_names(names, 8)}' if names else 'it has no tables'}. Nothing was changed.",
            "Specify the project's database with --postgres-url-file FILE.",
        )


def require_readable(connection: Connection, address: ConnectionInfo, names: Sequence[str]) -> None:
    """Raises PreconditionFailed for tables that the role may not read, or of which it sees a part."""
    with connection.cursor() as cursor:
        for query in (UNREADABLE, UNREADABLE_SEQUENCES):
            if unreadable := fetch_column(cursor, query, [list(names)]):
                raise PreconditionFailed(
                    f"The role {address.user} may not read {join_names(unreadable, 3)} of {address}."
                    " Nothing was changed.",
                    f"As an administrator: GRANT pg_read_all_data TO {quoted(address.user)};",
                )
        if hiding := fetch_column(cursor, HIDING_ROWS, [list(names)]):
            raise PreconditionFailed(
                f"Row level security hides rows of {join_names(hiding, 3)} in {address} from the role {address.user}."
                " Nothing was changed.",
                f"As an administrator: ALTER ROLE {quoted(address.user)} BYPASSRLS;",
            )


def require_temporary_tables(snapshot: DatabaseSnapshot, columns: Sequence[tuple[TablePlan, ColumnPlan]]) -> None:
    """Raises PreconditionFailed where `columns` are compared in temporary tables, and the role cannot create any."""
    if not columns:
        return
    address, role = snapshot.address, snapshot.address.user
    with snapshot.holder.cursor() as cursor:
        in_recovery, may_create = fetch_row(
            cursor, "SELECT pg_is_in_recovery(), has_database_privilege(current_database(), 'TEMPORARY')"
        )
    named = join_names([f"{table.name}.{column.name}" for table, column in columns], 3)
    needed = f"They are needed to compare {named}. Nothing was changed."
    if in_recovery:
        raise PreconditionFailed(
            f"The server of {address} is in recovery (a standby), which creates no temporary tables. {needed}",
            "Connect to the primary server.",
        )
    if not may_create:
        raise PreconditionFailed(
            f"The role {role} may not create temporary tables in {address}. {needed}",
            f"As an administrator: GRANT TEMPORARY ON DATABASE {quoted(address.database)} TO {quoted(role)};",
        )


# --- What has been written since the snapshot -------------------------------------------------------------------------
def changed_tables(snapshot: DatabaseSnapshot, rows: Mapping[str, int]) -> list[str]:
    """Those of the tables that differ from the snapshot, which had so many `rows`, and those that are new.

    A row has the number of the transaction that wrote it; where rows were only deleted, fewer are left. Whatever was
    committed before the call is noticed. Raises OpsError or psycopg2.Error where the snapshot has ended.
    """
    with contextlib.closing(snapshot.address.connect()) as connection:
        # One moment for all tables, and one for `age`: it is that since the first call in a transaction.
        connection.set_session(isolation_level="REPEATABLE READ", readonly=True)
        with connection.cursor() as cursor, snapshot.holder.cursor() as holder:
            snapshot.require_alive()
            cursor.execute(f"SET LOCAL lock_timeout = '{LOCK_WAIT}s'")
            new = set(fetch_column(cursor, TABLES)) - snapshot.tables.keys()
            changed = [name for name, number in rows.items() if has_changed(cursor, holder, snapshot, name, number)]
    return [*changed, *sorted(new)]


def has_changed(cursor: Cursor, holder: Cursor, snapshot: DatabaseSnapshot, table: str, rows: int) -> bool:
    age = {name: f"age('{getattr(snapshot, name)}'::xid)" for name in ("oldest", "newest")}
    # Transactions that had begun when the snapshot was taken, of which some had ended.
    unsure = f"age(xmin) > {age['newest']} AND age(xmin) <= {age['oldest']}"
    found, written, writers = fetch_row(
        cursor,
        f"SELECT count(*), count(*) FILTER (WHERE age(xmin) BETWEEN 0 AND {age['newest']}),"
        f" coalesce(array_agg(DISTINCT xmin::text) FILTER (WHERE {unsure}), '{{}}') FROM {quoted(table)}",
    )
    if written or found != rows:
        return True
    if not writers:
        return False
    # Only the snapshot itself shows which subtransactions had ended.
    query = f"SELECT DISTINCT xmin::text FROM {quoted(table)} WHERE {unsure}"
    return not set(writers) <= set(fetch_column(holder, query))


def refused_rows(snapshot: DatabaseSnapshot, preflight: PreflightResult, table: TablePlan) -> list[str]:
    """The refused rows of a table as JSON."""
    with snapshot.holder.cursor() as cursor:
        return fetch_column(
            cursor,
            f"SELECT row_to_json(refused)::text FROM {quoted(table.name)} AS refused"
            f" WHERE NOT ({all_but(cursor, table, preflight.refused[table.name])})",
        )
