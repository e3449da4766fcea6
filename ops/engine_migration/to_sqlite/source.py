"""The PostgreSQL database to migrate, as one exported snapshot shows it."""

import contextlib
import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import psycopg2
from psycopg2.extensions import connection as Connection  # noqa: N812

from ops.databases.migration_state import MIGRATIONS_TABLE, recorded_migrations, require_known
from ops.databases.postgres.connection import APPLICATION, ConnectionInfo, server_message
from ops.databases.postgres.queries import fetch_column, fetch_row, fetch_value
from ops.engine_migration.catalog import CatalogTable, read_tables
from ops.engine_migration.plan import TablePlan
from ops.engine_migration.refusals import PreflightResult
from ops.engine_migration.sessions import PostgresDatabase
from ops.engine_migration.verify import all_but
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
HIDING_ROWS = (
    "SELECT relname FROM pg_class WHERE relnamespace = quote_ident(current_schema())::regnamespace"
    " AND relname = ANY(%s) AND relrowsecurity AND row_security_active(oid) ORDER BY 1"
)


@dataclass(frozen=True, kw_only=True)
class DatabaseSnapshot:
    """A database at the moment `taken_at`, which sessions see while the `holder` of the snapshot lives.

    `newest` is the first transaction that it does not show, and `running` are those that had not ended; both as
    PostgreSQL's xid. `tables` are those of the current schema.
    """

    address: ConnectionInfo
    key: str
    taken_at: dt.datetime
    server: str
    size: int
    tables: Mapping[str, CatalogTable]
    newest: str
    running: Sequence[str]
    holder: Connection

    def count(self, table: str) -> int:
        with self.holder.cursor() as cursor:
            return int(fetch_value(cursor, f"SELECT count(*) FROM {quoted(table)}"))

    def database(self, processes: int) -> PostgresDatabase:
        return PostgresDatabase(address=self.address, processes=processes, snapshot=self.key)


@contextlib.contextmanager
def take_snapshot(address: ConnectionInfo) -> Iterator[DatabaseSnapshot]:
    """Export a snapshot. Raises PreconditionFailed unless the database has exactly the migrations of the code."""
    with contextlib.closing(address.connect()) as connection:
        connection.set_session(isolation_level="REPEATABLE READ", readonly=True)
        try:
            snapshot = describe(connection, address)
        except psycopg2.Error as error:
            raise PreconditionFailed(f"{address} cannot be read: {server_message(error)}.") from error
        yield snapshot


def describe(connection: Connection, address: ConnectionInfo) -> DatabaseSnapshot:
    with connection.cursor() as cursor:
        # A run of the live database ends sessions that have the plain name, because killed runs left them.
        cursor.execute("SELECT set_config('application_name', %s, false)", [f"{APPLICATION}: snapshot"])
        key, taken_at, visible, server, size = fetch_row(
            cursor,
            "SELECT pg_export_snapshot(), now(), pg_current_snapshot()::text, current_setting('server_version'),"
            " pg_database_size(current_database())",
        )
        names = fetch_column(cursor, TABLES)
        if MIGRATIONS_TABLE not in names:
            raise PreconditionFailed(
                f"{address} is not a database of this project: it has no {MIGRATIONS_TABLE};"
                f" {f'its tables are {join_names(names, 8)}' if names else 'it has no tables'}.",
                "Specify the project's database with --postgres-url-file FILE.",
            )
        if pending := require_known(recorded_migrations(cursor), str(address)):
            raise PreconditionFailed(
                f"{address} was written by an older version: it lacks {join_names(pending, 1)}.",
                "Run manage.py migrate on it first.",
            )
        require_readable(connection, address, names)
        tables = read_tables(cursor, names)
    _, newest, running = visible.split(":")
    return DatabaseSnapshot(
        address=address,
        key=key,
        taken_at=taken_at.astimezone(dt.UTC),
        server=server.split()[0],
        size=size,
        tables=tables,
        newest=as_xid(newest),
        running=[as_xid(number) for number in running.split(",") if number],
        holder=connection,
    )


def as_xid(number: str) -> str:
    """The 32 bits of a transaction's number that rows have."""
    return str(int(number) % 2**32)


def require_readable(connection: Connection, address: ConnectionInfo, names: Sequence[str]) -> None:
    """Raises PreconditionFailed for tables that the role may not read, or of which it sees a part."""
    with connection.cursor() as cursor:
        if unreadable := fetch_column(cursor, UNREADABLE, [list(names)]):
            raise PreconditionFailed(
                f"The role {address.user} may not read {join_names(unreadable, 3)} of {address}.",
                f"As an administrator: GRANT pg_read_all_data TO {quoted(address.user)};",
            )
        if hiding := fetch_column(cursor, HIDING_ROWS, [list(names)]):
            raise PreconditionFailed(
                f"Row level security hides rows of {join_names(hiding, 3)} in {address} from the role {address.user}.",
                f"As an administrator: ALTER ROLE {quoted(address.user)} BYPASSRLS;",
            )


def changed_tables(snapshot: DatabaseSnapshot, rows: Mapping[str, int]) -> list[str]:
    """The tables that have been written to since the snapshot, which had so many `rows`.

    A row has the number of the transaction that wrote it; for deleted rows, they are counted.
    """
    changed = []
    with contextlib.closing(snapshot.address.connect()) as connection, connection.cursor() as cursor:
        for name, number in rows.items():
            found, new = fetch_row(
                cursor,
                "SELECT count(*), count(*) FILTER (WHERE age(xmin) BETWEEN 0 AND age(%s::xid)"
                f" OR xmin::text = ANY(%s)) FROM {quoted(name)}",
                [snapshot.newest, list(snapshot.running)],
            )
            if new or found != number:
                changed.append(name)
    return changed


def refused_rows(snapshot: DatabaseSnapshot, preflight: PreflightResult, table: TablePlan) -> list[str]:
    """The refused rows of a table as JSON."""
    with snapshot.holder.cursor() as cursor:
        return fetch_column(
            cursor,
            f"SELECT row_to_json(refused)::text FROM {quoted(table.name)} AS refused"
            f" WHERE NOT ({all_but(cursor, table, preflight.refused[table.name])})",
        )
