"""Whole databases of a server: describe, create and drop them."""

import contextlib
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass

import psycopg2
from psycopg2 import errors, sql
from psycopg2.extensions import connection as Connection  # noqa: N812

from ops.databases.postgres.connection import APPLICATION, ConnectionInfo, server_message
from ops.databases.postgres.queries import fetch_value
from ops.errors import PreconditionFailed

OPS_COMMENT = "made by ops; may be dropped"
OPS_CONNECTION_LIMIT = 1_700_001
"""A connection limit by which a database of ours is recognised."""
ERRORS_OF_ONE_DATABASE = ("does not exist", "permission denied", "pg_hba.conf", "not currently accepting")
"""Errors after which a connection to another database of the server may succeed."""
NAME_LIMIT = 63
"""Bytes in a name; PostgreSQL truncates longer ones."""


@dataclass(frozen=True, kw_only=True)
class DatabaseProperties:
    """The properties of a database that its replacement gets."""

    name: str
    owner: str
    encoding: str
    collate: str
    ctype: str
    provider: str
    icu_locale: str
    connection_limit: int
    acl: tuple[str, ...]
    settings: tuple[tuple[str, str, str], ...]
    """(role or '', name, value) of ALTER DATABASE … SET."""
    comment: str


@contextlib.contextmanager
def maintenance_connection(address: ConnectionInfo) -> Iterator[Connection]:
    """A connection to a database of the server that no operation replaces, in autocommit mode."""
    connection = connect_first(address, "postgres", "template1", address.database)
    try:
        yield connection
    finally:
        connection.close()


def connect_first(address: ConnectionInfo, *names: str) -> Connection:
    *others, last = names
    for name in others:
        try:
            return address.with_database(name).connect(autocommit=True)
        except PreconditionFailed as error:
            if not any(words in error.message for words in ERRORS_OF_ONE_DATABASE):
                break
    return address.with_database(last).connect(autocommit=True)


def exists(connection: Connection, name: str) -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name])
        return cursor.fetchone() is not None


def may_create(connection: Connection, database: str) -> bool:
    """The role may create databases, and owns `database` if that exists, so that it may rename it."""
    with connection.cursor() as cursor:
        allowed = fetch_value(
            cursor,
            "SELECT rolsuper OR rolcreatedb AND NOT EXISTS (SELECT 1 FROM pg_database WHERE datname = %s"
            " AND NOT pg_has_role(datdba, 'USAGE')) FROM pg_roles WHERE rolname = current_user",
            [database],
        )
        return bool(allowed)


SERVER_FILE_ROLES = ["pg_execute_server_program", "pg_read_server_files", "pg_write_server_files"]


def has_server_access(connection: Connection) -> bool:
    """Whether the role may run programs or access files on the server."""
    with connection.cursor() as cursor:
        return bool(
            fetch_value(
                cursor,
                "SELECT rolsuper OR EXISTS (SELECT 1 FROM pg_roles AS other WHERE other.rolname = ANY(%s)"
                " AND pg_has_role(current_user, other.oid, 'MEMBER')) FROM pg_roles WHERE rolname = current_user",
                [SERVER_FILE_ROLES],
            )
        )


def read_properties(connection: Connection, database: str) -> DatabaseProperties | None:
    """The properties of `database`, or None when there is none. It need not accept connections."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT datname, pg_get_userbyid(datdba), pg_encoding_to_char(encoding), datcollate, datctype,"
            " datlocprovider::text, coalesce(to_jsonb(d)->>'daticulocale', to_jsonb(d)->>'datlocale', ''),"
            " datconnlimit, coalesce(datacl::text[], '{}'), coalesce(shobj_description(oid, 'pg_database'), '')"
            " FROM pg_database AS d WHERE datname = %s",
            [database],
        )
        row = cursor.fetchone()
        if row is None:
            return None
        name, owner, encoding, collate, ctype, provider, icu, limit, acl, comment = row
        cursor.execute(
            "SELECT CASE setrole WHEN 0 THEN '' ELSE pg_get_userbyid(setrole) END, unnest(setconfig)"
            " FROM pg_db_role_setting WHERE setdatabase = (SELECT oid FROM pg_database WHERE datname = %s)",
            [database],
        )
        settings = tuple((role, *entry.split("=", 1)) for role, entry in cursor.fetchall())
    return DatabaseProperties(
        name=name,
        owner=owner,
        encoding=encoding,
        collate=collate,
        ctype=ctype,
        provider=provider,
        icu_locale=icu if provider == "i" else "",
        connection_limit=limit,
        acl=tuple(acl),
        settings=settings,
        comment=comment,
    )


def read_extensions(address: ConnectionInfo) -> tuple[str, ...]:
    """The names of the extensions in the database at `address`, without plpgsql."""
    with contextlib.closing(address.connect()) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT extname FROM pg_extension WHERE extname <> 'plpgsql' ORDER BY 1")
        return tuple(row[0] for row in cursor.fetchall())


def suffixed_name(database: str, suffix: str) -> str:
    """`database` with `suffix`, shortened to the limit of PostgreSQL."""
    return f"{database.encode()[: NAME_LIMIT - len(suffix)].decode(errors='ignore')}{suffix}"


def create_staging(
    connection: Connection, name: str, like: DatabaseProperties | None, *, template: str = "template0"
) -> None:
    """Create the empty database `name` with the encoding and locale of `like` (UTF-8 and C.UTF-8 or C without one).

    Raises PreconditionFailed when the server refuses.
    """
    # The connection limit identifies it at once; a comment can only be set after it was created.
    statement = sql.SQL(
        "CREATE DATABASE {} CONNECTION LIMIT {} TEMPLATE {} ENCODING {} LC_COLLATE {} LC_CTYPE {}"
    ).format(
        sql.Identifier(name),
        sql.Literal(OPS_CONNECTION_LIMIT),
        sql.Identifier(template),
        sql.Literal(like.encoding if like else "UTF8"),
        sql.Literal(like.collate if like else default_locale(connection)),
        sql.Literal(like.ctype if like else default_locale(connection)),
    )
    if like and like.icu_locale:
        statement += sql.SQL(" LOCALE_PROVIDER icu ICU_LOCALE {}").format(sql.Literal(like.icu_locale))
    try:
        with connection.cursor() as cursor:
            cursor.execute(statement)
            cursor.execute(
                sql.SQL("COMMENT ON DATABASE {} IS {}").format(sql.Identifier(name), sql.Literal(OPS_COMMENT))
            )
            cursor.execute(sql.SQL("ALTER DATABASE {} CONNECTION LIMIT -1").format(sql.Identifier(name)))
    except psycopg2.Error as error:
        raise PreconditionFailed(f"The database {name} could not be created: {server_message(error)}.") from error


def default_locale(connection: Connection) -> str:
    """The server's own locale where that is UTF-8, C otherwise."""
    with connection.cursor() as cursor:
        locale = str(fetch_value(cursor, "SELECT datcollate FROM pg_database WHERE datname = 'template0'"))
    return locale if re.search(r"utf-?8$", locale, re.IGNORECASE) else "C"


def template_with(connection: Connection, address: ConnectionInfo, extensions: tuple[str, ...]) -> str:
    """The template for a database that needs `extensions`: ``template1`` where it has those the role may not create."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT name FROM pg_available_extensions JOIN pg_available_extension_versions AS version USING (name)"
            " WHERE version.version = default_version AND superuser AND NOT trusted AND name = ANY(%s)"
            " AND NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)",
            [list(extensions)],
        )
        needed = {name for (name,) in cursor.fetchall()}
    if needed and needed <= set(read_extensions(address.with_database("template1"))):
        return "template1"
    return "template0"


def add_extensions(address: ConnectionInfo, names: tuple[str, ...]) -> None:
    with contextlib.closing(address.connect(autocommit=True)) as connection, connection.cursor() as cursor:
        for name in names:
            try:
                cursor.execute(sql.SQL("CREATE EXTENSION IF NOT EXISTS {}").format(sql.Identifier(name)))
            except errors.InsufficientPrivilege as error:
                raise PreconditionFailed(
                    f"The database has the extension {name}, which this role may not create in a new one.",
                    f"Ask for it in the template: psql -d template1 -c 'CREATE EXTENSION {name}'",
                ) from error


def drop(connection: Connection, name: str) -> None:
    """Drop `name` and end its sessions. Does nothing when there is no such database."""
    with connection.cursor() as cursor:
        cursor.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


def comment_and_size(connection: Connection, name: str) -> tuple[str, int] | None:
    """The comment of the database and its size in bytes; None when there is no such database."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT coalesce(shobj_description(oid, 'pg_database'), ''), pg_database_size(oid) FROM pg_database"
            " WHERE datname = %s",
            [name],
        )
        return cursor.fetchone()


def drop_claimed(connection: Connection, claimed: Collection[str], *, spared: Collection[str]) -> tuple[str, ...]:
    """Drop the databases that killed runs had `claimed` and that have our comment or limit. Returns their names.

    Both are required: a dump may set the comment, and another database may have got the name since. Databases in
    `spared`, and those of the server, are never dropped. The caller holds the lock.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT datname FROM pg_database WHERE datname = ANY(%s) AND datname <> ALL(%s)"
            " AND NOT datistemplate AND datname <> current_database() AND pg_has_role(datdba, 'USAGE')"
            " AND (shobj_description(oid, 'pg_database') = %s OR datconnlimit = %s) ORDER BY datname",
            [list(claimed), [*spared, "postgres"], OPS_COMMENT, OPS_CONNECTION_LIMIT],
        )
        found = [row[0] for row in cursor.fetchall()]
    for name in found:
        drop(connection, name)
    return tuple(found)


def end_leftover_sessions(connection: Connection, database: str) -> None:
    """End the sessions of killed runs in `database`. The caller holds the lock, so no other run is alive."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = %s AND application_name = %s AND pid <> pg_backend_pid() AND usename = current_user",
            [database, APPLICATION],
        )
