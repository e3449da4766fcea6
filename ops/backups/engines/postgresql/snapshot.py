"""The live database at one moment: pg_dump and the digests read the same exported snapshot at the same time."""

import contextlib
import datetime as dt
import functools
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor

import psycopg2
from psycopg2 import errors
from psycopg2.extensions import connection as Connection  # noqa: N812
from psycopg2.extensions import cursor as Cursor  # noqa: N812

from ops.backups.engines.base import Snapshot, Tables
from ops.backups.engines.postgresql import excluded_tables
from ops.backups.engines.postgresql.table_digests import NO_ROWS, UNDO_SCHEMA, has_table, read_digests
from ops.backups.manifest import Kind
from ops.databases.migration_state import MIGRATIONS_TABLE, recorded_migrations
from ops.databases.postgres import client_programs
from ops.databases.postgres.client_programs import ClientPrograms
from ops.databases.postgres.connection import ConnectionInfo, server_message
from ops.databases.postgres.properties import read_all
from ops.databases.postgres.queries import cancel_until_done, fetch_column, fetch_row, fetch_value
from ops.databases.postgres.revoked import how_to_grant, unreadable
from ops.errors import PreconditionFailed, ToolFailed
from ops.utils.formatting import join_names, pluralize
from ops.utils.identifiers import quoted
from ops.utils.progress import Progress, ProgressCallback, Stage, no_progress

LOCK_WAIT = 30_000
"""Milliseconds that a backup waits for a session that changes the schema."""
OF_THE_DUMP = """
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = relnamespace
WHERE nspname !~ '^pg_' AND nspname NOT IN ('information_schema', %s)
"""
UNREADABLE = (
    f"SELECT relname {OF_THE_DUMP} AND relkind IN ('r', 'S', 'p') AND NOT (has_schema_privilege(n.oid, 'USAGE')"
    " AND has_table_privilege(c.oid, 'SELECT')) ORDER BY 1"
)
HIDING_ROWS = f"SELECT c.oid::regclass::text {OF_THE_DUMP} AND relrowsecurity AND row_security_active(c.oid) ORDER BY 1"
UNREADABLE_OBJECTS = """
SELECT oid::text FROM pg_largeobject_metadata
WHERE NOT current_setting('lo_compat_privileges')::boolean
  AND NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)
  AND NOT EXISTS (SELECT 1 FROM aclexplode(coalesce(lomacl, acldefault('L', lomowner)))
                  WHERE privilege_type = 'SELECT' AND (grantee = 0 OR pg_has_role(grantee, 'USAGE')))
ORDER BY oid
"""
"""Large objects that the role may not read; PostgreSQL has a function for that since 18."""


@contextlib.contextmanager
def take_snapshot(
    address: ConnectionInfo, programs: ClientPrograms, kind: Kind, *, excluded: Mapping[str, str]
) -> Iterator[Snapshot]:
    """As `ops.backups.engines.base.Engine.snapshot`: an exported snapshot."""
    with contextlib.closing(address.connect()) as connection:
        # pg_dump finds the snapshot on this server only.
        address = address.on_server_of(connection)
        connection.set_session(isolation_level="REPEATABLE READ", readonly=True)
        try:
            with connection.cursor() as cursor:
                cursor.execute("SELECT set_config('lock_timeout', %s, true)", [str(LOCK_WAIT)])
                key, taken_at = fetch_row(cursor, "SELECT pg_export_snapshot(), now()")
                require_readable(cursor, address)
                version, size, metadata = describe(cursor, address)
                properties = read_all(connection).essence()
                migrations = recorded_migrations(cursor) if has_table(cursor, MIGRATIONS_TABLE) else ()
                without_rows = excluded_tables.find(cursor, excluded)
        except psycopg2.Error as error:
            raise unreadable(address, error) from error
        command = client_programs.dump_command(
            programs,
            address,
            custom=kind is Kind.CUSTOM,
            snapshot=key,
            lock_wait=LOCK_WAIT,
            without_schemas=[UNDO_SCHEMA],
            without_rows=[table.quoted for table in without_rows],
        )
        left_out = {table.qualified_name: excluded[name] for table, name in without_rows.items()}
        with count_in_background(connection, left_out) as counted:
            yield Snapshot(
                taken_at=taken_at.astimezone(dt.UTC),
                server_version=version,
                tool_version=f"pg_dump {programs.version}",
                size=size,
                metadata=metadata,
                migrations=migrations,
                excluded=left_out,
                properties=properties,
                stream=functools.partial(dump, command, counted, address),
                tables=functools.partial(tables_of, counted, address),
            )


def dump(
    command: client_programs.Command, counted: Future[Tables], address: ConnectionInfo, on_progress: ProgressCallback
) -> Iterator[bytes]:
    """What pg_dump writes. Raises the error of the digests where they failed first, which ends the snapshot."""
    done = 0
    try:
        with contextlib.closing(client_programs.output_of(command, waiting=address.waiting)) as chunks:
            for chunk in chunks:
                done += len(chunk)
                on_progress(Progress(stage=Stage.DUMP, done=done))
                yield chunk
    except ToolFailed as error:
        if counted.done():
            tables_of(counted, address)
        require_same_server(address)
        if hint := how_to_grant(address, error.message):
            raise ToolFailed(error.message, hint) from error
        raise


def require_same_server(address: ConnectionInfo) -> None:
    """Raises OtherServer where pg_dump may have looked for the snapshot on another server: behind a proxy."""
    with contextlib.suppress(PreconditionFailed):
        address.connect().close()


@contextlib.contextmanager
def count_in_background(connection: Connection, excluded: Collection[str]) -> Iterator[Future[Tables]]:
    """The digests, read by a thread, which ends with the block, whether it is complete or not."""

    def count() -> Tables:
        with connection.cursor() as cursor:
            known = dict.fromkeys(excluded, NO_ROWS)
            return read_digests(cursor, stage=Stage.SNAPSHOT, on_progress=no_progress, known=known)

    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="digests") as executor:
        counted = executor.submit(count)
        try:
            yield counted
        finally:
            cancel_until_done([counted], [connection])


def tables_of(counted: Future[Tables], address: ConnectionInfo) -> Tables:
    """Raises PreconditionFailed where they could not be read."""
    try:
        return counted.result()
    except errors.LockNotAvailable as error:
        raise PreconditionFailed(
            f"Another program has locked a table of {address} for {LOCK_WAIT // 1000} s.",
            "Wait until it has ended (a migration?), and run the command again.",
        ) from error
    except errors.CharacterNotInRepertoire as error:
        raise PreconditionFailed(
            f"A text in {address} is not in UTF-8, as backups are: {server_message(error)}.",
            "Databases of the encoding SQL_ASCII accept any bytes. Convert the texts, for example those in LATIN1:"
            " UPDATE … SET name = convert_from(convert(convert_to(name, 'SQL_ASCII'), 'LATIN1', 'UTF8'), 'SQL_ASCII');",
        ) from error
    except psycopg2.Error as error:
        raise unreadable(address, error) from error


def require_readable(cursor: Cursor, address: ConnectionInfo) -> None:
    """Raises PreconditionFailed with the statements to run when there is something that the role may not read."""
    role = fetch_value(cursor, "SELECT current_user")
    if names := fetch_column(cursor, UNREADABLE, [UNDO_SCHEMA]):
        raise PreconditionFailed(
            f"The role {role} may not read {len(names)} tables and sequences of {address}: {join_names(names, 3)}.",
            f"As an administrator: GRANT pg_read_all_data TO {quoted(role)};",
        )
    if names := fetch_column(cursor, HIDING_ROWS, [UNDO_SCHEMA]):
        raise PreconditionFailed(
            f"Row level security hides rows of {join_names(names, 3)} in {address} from the role {role}.",
            f"As an administrator: ALTER ROLE {quoted(role)} BYPASSRLS; or, if the role owns the tables:"
            f" ALTER TABLE {names[0]} NO FORCE ROW LEVEL SECURITY;",
        )
    if names := fetch_column(cursor, UNREADABLE_OBJECTS):
        raise PreconditionFailed(
            f"The role {role} may not read {pluralize(len(names), 'large object')} of {address}:"
            f" {join_names(names, 3)}.",
            "As an administrator, in psql: SELECT format('GRANT SELECT ON LARGE OBJECT %s TO %I', oid,"
            f" '{role}') FROM pg_largeobject_metadata \\gexec",
        )


def describe(cursor: Cursor, address: ConnectionInfo) -> tuple[str, int, dict[str, str]]:
    """The server's version, the size of the database in bytes, and other facts for the manifest."""
    version, size, encoding, collate, ctype = fetch_row(
        cursor,
        "SELECT current_setting('server_version'), pg_database_size(oid), pg_encoding_to_char(encoding), datcollate,"
        " datctype FROM pg_database WHERE datname = current_database()",
    )
    extensions = fetch_column(
        cursor, "SELECT extname || ' ' || extversion FROM pg_extension WHERE extname <> 'plpgsql' ORDER BY 1"
    )
    return (
        version.split()[0],
        size,
        {
            "host": (address.host and address.host_and_port[0]) or "local socket",
            "encoding": encoding,
            "collation": collate,
            "character type": ctype,
            **({"extensions": ", ".join(extensions)} if extensions else {}),
        },
    )
