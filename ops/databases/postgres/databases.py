"""Whole databases of a server: describe, claim, create and drop them."""

import contextlib
import re
from collections.abc import Collection, Iterator, Sequence

import psycopg2
from msgspec.structs import replace
from psycopg2 import errors, sql
from psycopg2.extensions import connection as Connection  # noqa: N812
from psycopg2.extensions import cursor as Cursor  # noqa: N812

from ops.databases.leftovers import Claims
from ops.databases.postgres.connection import APPLICATION, ConnectionInfo, Session, server_message
from ops.databases.postgres.properties import DatabaseProperties, Extension, read_all
from ops.databases.postgres.queries import fetch_row, select
from ops.databases.postgres.refusal import NOT_ADMITTED, OF_ONE_DATABASE, Refused
from ops.errors import PreconditionFailed
from ops.utils.identifiers import quoted

COMMENT = "SELECT coalesce(shobj_description(oid, 'pg_database'), '') FROM pg_database WHERE datname = %s"
OPS_COMMENT = "made by ops; may be dropped"
OPS_CONNECTION_LIMIT = 1_700_001
"""A connection limit by which a database of ours is recognised."""
EMPTIED = "_ops_old"
"""The suffix that the name of an empty database gets when a migration replaces it. It is dropped then."""
NAME_LIMIT = 63
"""Bytes in a name; PostgreSQL truncates longer ones."""


@contextlib.contextmanager
def maintenance_connection(address: ConnectionInfo) -> Iterator[Session]:
    """A connection to a database of the server that no operation replaces, in autocommit mode."""
    connection = connect_first(address, "postgres", "template1", address.database)
    try:
        yield connection
    finally:
        connection.close()


def connect_first(address: ConnectionInfo, *names: str) -> Session:
    *others, last = (address.with_database(name) for name in names)
    for other in others:
        try:
            return other.connect(autocommit=True)
        except Refused as error:
            if error.is_temporary:
                # Of the server: another attempt would only take as long again.
                raise error.with_message(error.message.replace(str(other), str(last), 1)) from error
            if error.sqlstate not in OF_ONE_DATABASE:
                break
    return last.connect(autocommit=True)


def is_same_server(one: Connection, other: Connection) -> bool:
    """Whether both sessions are on one server, however their addresses are written."""
    found = (select(connection, "SELECT pg_postmaster_start_time()") for connection in (one, other))
    return len({tuple(rows) for rows in found}) == 1


def exists(connection: Connection, name: str) -> bool:
    return bool(select(connection, "SELECT 1 FROM pg_database WHERE datname = %s", [name]))


def is_empty(connection: Connection) -> bool:
    """Whether the database has no tables and sequences but those of extensions."""
    return not select(
        connection,
        "SELECT FROM pg_class AS c WHERE relkind IN ('r', 'p', 'v', 'm', 'f', 'S')"
        " AND relnamespace::regnamespace::text !~ '^(pg_|information_schema$)' AND NOT EXISTS"
        " (SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = c.oid AND deptype = 'e') LIMIT 1",
    )


def may_create(connection: Connection, database: str) -> bool:
    """Whether the role may create databases, and rename `database` where that exists.

    It has to own that for it, and reach another database: nobody can rename the one they are connected to.
    """
    ((allowed,),) = select(
        connection,
        "SELECT current_database() <> %s AND (rolsuper OR rolcreatedb AND NOT EXISTS (SELECT 1 FROM pg_database"
        " WHERE datname = %s AND NOT pg_has_role(datdba, 'USAGE'))) FROM pg_roles WHERE rolname = current_user",
        [database, database],
    )
    return bool(allowed)


def how_to_replace(cursor: Cursor) -> str:
    """What an administrator has to do so that the role can replace this database as a whole (see `may_create`)."""
    role, creates, owns, database = fetch_row(
        cursor,
        "SELECT rolname, rolsuper OR rolcreatedb, pg_has_role(datdba, 'USAGE'), datname"
        " FROM pg_roles, pg_database WHERE rolname = current_user AND datname = current_database()",
    )
    if not creates:
        return f"ALTER ROLE {quoted(role)} CREATEDB;"
    if not owns:
        return f"ALTER DATABASE {quoted(database)} OWNER TO {quoted(role)};"
    return f"GRANT CONNECT ON DATABASE postgres TO {quoted(role)}; (and a line in pg_hba.conf)"


SERVER_FILE_ROLES = ["pg_execute_server_program", "pg_read_server_files", "pg_write_server_files"]


def has_server_access(connection: Connection) -> bool:
    """Whether the role may run programs or access files on the server."""
    ((allowed,),) = select(
        connection,
        "SELECT rolsuper OR EXISTS (SELECT 1 FROM pg_roles AS other WHERE other.rolname = ANY(%s)"
        " AND pg_has_role(current_user, other.oid, 'MEMBER')) FROM pg_roles WHERE rolname = current_user",
        [SERVER_FILE_ROLES],
    )
    return bool(allowed)


def suffixed_name(database: str, suffix: str) -> str:
    """`database` with `suffix`, shortened to the limit of PostgreSQL."""
    return f"{database.encode()[: NAME_LIMIT - len(suffix)].decode(errors='ignore')}{suffix}"


# --- Staging and scratch databases: claimed, created, and dropped by the operation that claimed them ------------------
def claim(connection: Connection, name: str, claims: Claims, *, target: str = "") -> None:
    """Claim a free name: an existing database is not ours, whatever its comment says. Raises PreconditionFailed."""
    if len(name.encode()) > NAME_LIMIT:
        raise PreconditionFailed(
            f"The name {name} is longer than {NAME_LIMIT} bytes. Nothing was changed.", "Choose a shorter name."
        )
    if exists(connection, name):
        raise PreconditionFailed(
            f"The database {name} exists already. Nothing was changed.",
            f"Choose another name, or examine that database and drop it: DROP DATABASE {quoted(name)};",
        )
    claims.claim_database(name, target=target)


def create(connection: Connection, address: ConnectionInfo, like: DatabaseProperties | None) -> None:
    """Create the empty database at `address` with the encoding, locale, tablespace and extensions of `like`.

    Raises PreconditionFailed when the server refuses.
    """
    template = template_for(connection, address, like) if like else "template0"
    create_staging(connection, address.database, like, template=template)
    try:
        add_extensions(address, like.extensions if like else ())
    except Refused as error:
        if error.sqlstate != NOT_ADMITTED:
            raise
        raise PreconditionFailed(
            f"The server does not admit {address.user} to the new database {address.database}. Nothing was changed.",
            f"As an administrator: add all databases of {address.user} to pg_hba.conf; or ALTER ROLE"
            f" {quoted(address.user)} NOCREATEDB, so that the content of the one database is replaced instead.",
        ) from error


def create_staging(
    connection: Connection, name: str, like: DatabaseProperties | None, *, template: str = "template0"
) -> None:
    """Create the empty database `name` with the locale and tablespace of `like` (UTF-8 and C.UTF-8 or C without one).

    Raises PreconditionFailed when the server refuses.
    """
    # The connection limit identifies it at once; a comment can only be set after it was created.
    options = {"CONNECTION LIMIT": sql.Literal(OPS_CONNECTION_LIMIT), "TEMPLATE": sql.Identifier(template)}
    if like:
        options |= {option: sql.Literal(value) for option, value in locale_options(like).items()}
        if may_use_tablespace(connection, like.tablespace):
            options["TABLESPACE"] = sql.Identifier(like.tablespace)
    else:
        locale = sql.Literal(default_locale(connection))
        options |= {"ENCODING": sql.Literal("UTF8"), "LC_COLLATE": locale, "LC_CTYPE": locale}
    database = sql.Identifier(name)
    statement = sql.SQL("CREATE DATABASE {} {}").format(
        database, sql.SQL(" ").join(sql.SQL(option) + sql.SQL(" ") + value for option, value in options.items())
    )
    try:
        with connection.cursor() as cursor:
            cursor.execute(statement)
            cursor.execute(sql.SQL("COMMENT ON DATABASE {} IS {}").format(database, sql.Literal(OPS_COMMENT)))
            cursor.execute(sql.SQL("ALTER DATABASE {} CONNECTION LIMIT -1").format(database))
    except psycopg2.Error as error:
        raise PreconditionFailed(f"The database {name} could not be created: {server_message(error)}.") from error


def locale_options(like: DatabaseProperties) -> dict[str, str]:
    """Options of CREATE DATABASE."""
    options = {"ENCODING": like.encoding, "LC_COLLATE": like.collate, "LC_CTYPE": like.ctype}
    match like.provider:
        case "i":
            rules = {"ICU_RULES": like.icu_rules} if like.icu_rules else {}
            return {**options, "LOCALE_PROVIDER": "icu", "ICU_LOCALE": like.locale, **rules}
        case "b":
            return {**options, "LOCALE_PROVIDER": "builtin", "BUILTIN_LOCALE": like.locale}
    return {**options, "LOCALE_PROVIDER": "libc"}


def with_default_locale(connection: Connection, like: DatabaseProperties) -> DatabaseProperties:
    locale = default_locale(connection)
    return replace(like, encoding="UTF8", provider="c", locale="", icu_rules="", collate=locale, ctype=locale)


def may_use_tablespace(connection: Connection, name: str) -> bool:
    """Whether the role may create a database there. All may use the default one, which needs no privilege."""
    found = select(
        connection,
        "SELECT has_tablespace_privilege(oid, 'CREATE') FROM pg_tablespace WHERE spcname = %s"
        " AND spcname <> 'pg_default'",
        [name],
    )
    return found == [(True,)]


def default_locale(connection: Connection) -> str:
    """The server's own locale where that is UTF-8, C otherwise."""
    ((locale,),) = select(connection, "SELECT datcollate FROM pg_database WHERE datname = 'template0'")
    return locale if re.search(r"utf-?8$", locale, re.IGNORECASE) else "C"


def template_for(connection: Connection, address: ConnectionInfo, like: DatabaseProperties) -> str:
    """``template1`` where that has what the role may not give a new database: extensions, and rights on given objects.

    ``template0`` otherwise, which has neither.
    """
    needed = select(
        connection,
        "SELECT quote_ident(name) FROM pg_available_extensions"
        " JOIN pg_available_extension_versions AS version USING (name)"
        " WHERE version.version = default_version AND superuser AND NOT trusted AND quote_ident(name) = ANY(%s)",
        [[extension.name for extension in like.extensions]],
    )
    rights = like.given_rights
    if not (needed or rights) or is_superuser(connection):
        return "template0"
    with contextlib.closing(address.with_database("template1").connect()) as session:
        template = read_all(session)
    existing = {extension.name for extension in template.extensions}
    same = rights.items() <= template.given_rights.items() and like.described_locale == template.described_locale
    return "template1" if {name for (name,) in needed} <= existing and (needed or same) else "template0"


def is_superuser(connection: Connection) -> bool:
    return bool(select(connection, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user")[0][0])


def add_extensions(address: ConnectionInfo, extensions: Sequence[Extension]) -> None:
    """Create `extensions` in their schemas, in the same versions where the server still has these.

    Raises PreconditionFailed for one that the role may not create, or that the server does not have.
    """
    with contextlib.closing(address.connect(autocommit=True)) as connection, connection.cursor() as cursor:
        versions = "SELECT quote_ident(name), version FROM pg_available_extension_versions"
        available = set(select(connection, versions)) if extensions else set()
        for extension in extensions:
            statement = f"CREATE EXTENSION IF NOT EXISTS {extension.name}"
            if not extension.owns_schema:
                statement += f" SCHEMA {extension.schema}"
            if (extension.name, extension.version) in available:
                statement += f" VERSION {quoted(extension.version)}"
            try:
                if not (extension.owns_schema or extension.schema.startswith("pg_")):
                    cursor.execute(f"CREATE SCHEMA IF NOT EXISTS {extension.schema}")
                cursor.execute(statement)
            except errors.InsufficientPrivilege as error:
                raise PreconditionFailed(
                    f"The database has the extension {extension.name}, which this role may not create in a new one.",
                    f"Ask for it in the template: psql -d template1 -c 'CREATE EXTENSION {extension.name}'",
                ) from error
            except psycopg2.Error as error:
                raise PreconditionFailed(
                    f"The database has the extension {extension.name}, which the server cannot create in a new one:"
                    f" {server_message(error)}.",
                    "Install the package of the extension on the server.",
                ) from error


def drop(connection: Connection, name: str) -> None:
    """Drop `name` and end its sessions. Does nothing when there is no such database."""
    with connection.cursor() as cursor:
        cursor.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


def discard(connection: Connection, name: str, claims: Claims, *, spared: tuple[str, ...], target: str = "") -> None:
    """Drop what was claimed and may exist. If the connection is lost, a later operation drops it.

    What another program created meanwhile has no comment of ours, and stays.
    """
    try:
        drop_claimed(connection, [name], spared=spared)
    except psycopg2.Error:
        claims.leave_database(name, target=target)


def drop_claimed(connection: Connection, claimed: Collection[str], *, spared: Collection[str]) -> tuple[str, ...]:
    """Drop the databases that killed runs had `claimed` and that have our comment or limit. Returns their names.

    Both are required: a dump may set the comment, and another database may have got the name since. Databases in
    `spared`, and those of the server, are never dropped. The caller holds the lock.
    """
    found = select(
        connection,
        "SELECT datname FROM pg_database WHERE datname = ANY(%s) AND datname <> ALL(%s)"
        " AND NOT datistemplate AND datname <> current_database() AND pg_has_role(datdba, 'USAGE')"
        " AND (shobj_description(oid, 'pg_database') = %s OR datconnlimit = %s) ORDER BY datname",
        [list(claimed), [*spared, "postgres"], OPS_COMMENT, OPS_CONNECTION_LIMIT],
    )
    for (name,) in found:
        drop(connection, name)
    return tuple(name for (name,) in found)


def comment_and_size(connection: Connection, name: str) -> tuple[str, int | None] | None:
    """The comment of the database, and its size as `size` returns it; None when there is no such database."""
    for (comment,) in select(connection, COMMENT, [name]):
        return comment, size(connection, name)
    return None


SIZE_UNKNOWN = (errors.InsufficientPrivilege, errors.InvalidCatalogName, errors.UndefinedFile, errors.IoError)
"""The role may not read the size, there is no such database, or its files are damaged."""


def size(connection: Connection, name: str) -> int | None:
    """Bytes of the database; None where that is unknown (see `SIZE_UNKNOWN`). Needs autocommit.

    Raises psycopg2.Error for other errors, such as a lost connection.
    """
    try:
        ((found,),) = select(connection, "SELECT pg_database_size(%s)", [name])
    except SIZE_UNKNOWN:
        return None
    return int(found)


def end_leftover_sessions(connection: Connection, database: str) -> None:
    """End the sessions of killed runs in `database`. The caller holds the lock, so no other run is alive."""
    select(
        connection,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = %s AND application_name = %s AND pid <> pg_backend_pid() AND usename = current_user",
        [database, APPLICATION],
    )
