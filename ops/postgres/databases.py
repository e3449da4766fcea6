"""Whole databases of a server: locked, described, made beside each other, and swapped in one transaction."""

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass

import psycopg2
from psycopg2 import errors, sql
from psycopg2.extensions import connection as Connection  # noqa: N812
from psycopg2.extensions import cursor as Cursor  # noqa: N812

from ops.errors import AlreadyRunning, OpsError, PreconditionFailed
from ops.postgres.address import APPLICATION, Address, server_words
from ops.postgres.queries import fetch_row, fetch_value

MARK = "made by ops; may be dropped"
MARK_LIMIT = 1_700_001
"""A connection limit that nobody else gives to a database."""
SWAP_ATTEMPTS = 5
ABOUT_ONE_DATABASE = ("does not exist", "permission denied", "pg_hba.conf", "not currently accepting")
"""Words of a refusal after which another database of the same server may still take the connection."""
LISTS_OF_NAMES = frozenset({"search_path", "temp_tablespaces", "local_preload_libraries", "session_preload_libraries"})
NAME_LIMIT = 63
"""Bytes in a name; PostgreSQL cuts longer ones without a word."""


@dataclass(frozen=True, kw_only=True)
class Description:
    """What `CREATE DATABASE` and a swap have to keep of a database."""

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
    extensions: tuple[str, ...]


@contextlib.contextmanager
def maintenance(address: Address) -> Iterator[Connection]:
    """A connection to a database of the server that no operation replaces, in autocommit mode."""
    connection = connect_first(address, "postgres", "template1", address.database)
    try:
        yield connection
    finally:
        connection.close()


def connect_first(address: Address, *names: str) -> Connection:
    *others, last = names
    for name in others:
        try:
            return address.named(name).connect(autocommit=True)
        except PreconditionFailed as error:
            if not any(words in error.message for words in ABOUT_ONE_DATABASE):
                break
    return address.named(last).connect(autocommit=True)


@contextlib.contextmanager
def locked(connection: Connection, database: str) -> Iterator[None]:
    """One operation at a time on `database`: an advisory lock of this session, which ends with it however it ends.

    Raises AlreadyRunning with what is known of the holder.
    """
    key = f"ops:{database}"
    with connection.cursor() as cursor:
        if not fetch_value(cursor, "SELECT pg_try_advisory_lock(hashtextextended(%s, 0))", [key]):
            raise AlreadyRunning(
                f"Another operation on the database {database} is running{describe_holder(connection, key)}.",
                "Wait until it has ended, or stop it, and run the command again.",
            )
    try:
        yield
    finally:
        if not connection.closed:
            with contextlib.suppress(psycopg2.Error), connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_unlock(hashtextextended(%s, 0))", [key])


def describe_holder(connection: Connection, key: str) -> str:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT activity.pid, to_char(activity.backend_start AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI')"
            " FROM pg_locks JOIN pg_stat_activity AS activity USING (pid)"
            " WHERE locktype = 'advisory' AND granted AND objsubid = 1"
            " AND (classid::bigint << 32 | objid::bigint) = hashtextextended(%s, 0)",
            [key],
        )
        row = cursor.fetchone()
    return f" (server process {row[0]}, since {row[1]} UTC)" if row else ""


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


def describe(connection: Connection, address: Address) -> Description:
    """What has to be kept of the database at `address`; `connection` is to any database of the server."""
    with connection.cursor() as cursor:
        name, owner, encoding, collate, ctype, provider, icu, limit, acl = fetch_row(
            cursor,
            "SELECT datname, pg_get_userbyid(datdba), pg_encoding_to_char(encoding), datcollate, datctype,"
            " datlocprovider::text, coalesce(to_jsonb(d)->>'daticulocale', to_jsonb(d)->>'datlocale', ''),"
            " datconnlimit, coalesce(datacl::text[], '{}') FROM pg_database AS d WHERE datname = %s",
            [address.database],
        )
        cursor.execute(
            "SELECT CASE setrole WHEN 0 THEN '' ELSE pg_get_userbyid(setrole) END, unnest(setconfig)"
            " FROM pg_db_role_setting WHERE setdatabase = (SELECT oid FROM pg_database WHERE datname = %s)",
            [address.database],
        )
        settings = tuple((role, *entry.split("=", 1)) for role, entry in cursor.fetchall())
    with contextlib.closing(address.connect()) as own, own.cursor() as cursor:
        cursor.execute("SELECT extname FROM pg_extension WHERE extname <> 'plpgsql' ORDER BY 1")
        extensions = tuple(row[0] for row in cursor.fetchall())
    return Description(
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
        extensions=extensions,
    )


def side_name(database: str, suffix: str) -> str:
    """A name beside `database`, cut so that PostgreSQL does not cut it."""
    return f"{database.encode()[: NAME_LIMIT - len(suffix)].decode(errors='ignore')}{suffix}"


def create_beside(connection: Connection, name: str, like: Description | None) -> None:
    """Make the empty database `name` with the encoding and locale of `like` (UTF-8 and C.UTF-8 or C without one).

    Raises PreconditionFailed when the server refuses.
    """
    # The connection limit marks it from its first moment; the comment can only come a moment later.
    statement = sql.SQL(
        "CREATE DATABASE {} CONNECTION LIMIT {} TEMPLATE template0 ENCODING {} LC_COLLATE {} LC_CTYPE {}"
    ).format(
        sql.Identifier(name),
        sql.Literal(MARK_LIMIT),
        sql.Literal(like.encoding if like else "UTF8"),
        sql.Literal(like.collate if like else default_locale(connection)),
        sql.Literal(like.ctype if like else default_locale(connection)),
    )
    if like and like.icu_locale:
        statement += sql.SQL(" LOCALE_PROVIDER icu ICU_LOCALE {}").format(sql.Literal(like.icu_locale))
    try:
        with connection.cursor() as cursor:
            cursor.execute(statement)
            cursor.execute(sql.SQL("COMMENT ON DATABASE {} IS {}").format(sql.Identifier(name), sql.Literal(MARK)))
            cursor.execute(sql.SQL("ALTER DATABASE {} CONNECTION LIMIT -1").format(sql.Identifier(name)))
    except psycopg2.Error as error:
        raise PreconditionFailed(f"The database {name} could not be created: {server_words(error)}.") from error


def default_locale(connection: Connection) -> str:
    """The server's own locale where that is UTF-8, C otherwise."""
    with connection.cursor() as cursor:
        locale = str(fetch_value(cursor, "SELECT datcollate FROM pg_database WHERE datname = 'template0'"))
    return locale if re.search(r"utf-?8$", locale, re.IGNORECASE) else "C"


def add_extensions(address: Address, names: tuple[str, ...]) -> None:
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
    """Drop `name` with whoever is connected to it. Does nothing when it is gone."""
    with connection.cursor() as cursor:
        cursor.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


def drop_leftovers(connection: Connection, *names: str) -> None:
    """Drop those of `names` that carry our mark: an earlier run was killed. The caller holds the lock."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT datname FROM pg_database WHERE datname = ANY(%s)"
            " AND (shobj_description(oid, 'pg_database') = %s OR datconnlimit = %s)",
            [list(names), MARK, MARK_LIMIT],
        )
        found = [row[0] for row in cursor.fetchall()]
    for name in found:
        drop(connection, name)


def swap(connection: Connection, *, new: str, live: str, old: str, description: Description | None) -> None:
    """Rename `live` to `old` and `new` to `live` in one transaction, and give it what `live` had.

    Without `description` there is no live database yet. Sessions of `live` are ended. One that is being opened waits
    for the transaction and then gets an error that is worth a retry (SQLSTATE 3D000, "just been dropped or renamed").
    Raises OpsError; then, and when this process is killed, both databases have the names they had.
    """
    for attempt in range(SWAP_ATTEMPTS):
        try:
            with transaction(connection), connection.cursor() as cursor:
                rename_both(cursor, new=new, live=live, old=old, description=description)
        except errors.ObjectInUse as error:
            # A program connected between the end of the others and the lock that RENAME takes.
            if attempt == SWAP_ATTEMPTS - 1:
                raise PreconditionFailed(
                    f"Programs kept connecting to {live}: {server_words(error)}.",
                    "Stop them and run the command again.",
                ) from error
        except psycopg2.Error as error:
            raise OpsError(f"The new database could not take the place of {live}: {server_words(error)}.") from error
        else:
            return


def rename_both(cursor: Cursor, *, new: str, live: str, old: str, description: Description | None) -> None:
    cursor.execute("SET LOCAL lock_timeout = '10s'")
    comment = sql.SQL("COMMENT ON DATABASE {} IS {}")
    if description:
        end_sessions(cursor, live)
        cursor.execute(rename(live, old))
        cursor.execute(comment.format(sql.Identifier(old), sql.Literal(MARK)))
    cursor.execute(rename(new, live))
    cursor.execute(comment.format(sql.Identifier(live), sql.Literal(None)))
    if description:
        keep_properties(cursor, live, description)


def end_sessions(cursor: Cursor, database: str) -> None:
    """End all sessions of the database. Raises PreconditionFailed where the role may not."""
    try:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid()",
            [database],
        )
    except errors.InsufficientPrivilege as error:
        raise PreconditionFailed(
            f"Sessions of other roles are connected to {database}, and this role may not end them.",
            "Stop the programs that use the database, or run the command as their role.",
        ) from error


@contextlib.contextmanager
def transaction(connection: Connection) -> Iterator[None]:
    """A transaction on a connection that is otherwise in autocommit mode."""
    connection.autocommit = False
    try:
        yield
        connection.commit()
    except BaseException:
        connection.rollback()
        raise
    finally:
        connection.autocommit = True


def rename(old: str, new: str) -> sql.Composed:
    return sql.SQL("ALTER DATABASE {} RENAME TO {}").format(sql.Identifier(old), sql.Identifier(new))


def keep_properties(cursor: Cursor, name: str, description: Description) -> None:
    """Owner, connection limit, settings and rights, which belong to a database and not to its name."""
    database = sql.Identifier(name)
    limit = sql.Literal(description.connection_limit)
    cursor.execute(sql.SQL("ALTER DATABASE {} CONNECTION LIMIT {}").format(database, limit))
    for role, setting, value in description.settings:
        whose = sql.SQL("ALTER DATABASE {}").format(database)
        if role:
            whose = sql.SQL("ALTER ROLE {} IN DATABASE {}").format(sql.Identifier(role), database)
        cursor.execute(sql.SQL("{} SET {} = {}").format(whose, setting_name(setting), setting_value(setting, value)))
    if fetch_value(cursor, "SELECT current_user") != description.owner:
        cursor.execute(sql.SQL("ALTER DATABASE {} OWNER TO {}").format(database, sql.Identifier(description.owner)))
    if description.acl:
        keep_rights(cursor, database, description)


def setting_name(name: str) -> sql.Composable:
    """The name of a setting, which may be that of an extension's: ``module.name``."""
    return sql.SQL(".").join(map(sql.Identifier, name.split(".")))


def setting_value(name: str, value: str) -> sql.Composable:
    """The value as SET takes it. Those that are lists of names are kept as one text, and would become one name."""
    if name not in LISTS_OF_NAMES:
        return sql.Literal(value)
    names = re.findall(r'"(?:[^"]|"")*"|[^\s,]+', value)
    bare = [item[1:-1].replace('""', '"') if item.startswith('"') else item for item in names]
    return sql.SQL(", ").join(map(sql.Literal, bare or [""]))


def keep_rights(cursor: Cursor, database: sql.Identifier, description: Description) -> None:
    cursor.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(database))
    cursor.execute(
        "SELECT CASE grantee WHEN 0 THEN '' ELSE pg_get_userbyid(grantee) END, privilege_type, is_grantable"
        " FROM aclexplode(%s::aclitem[])",
        [list(description.acl)],
    )
    for grantee, privilege, grantable in cursor.fetchall():
        cursor.execute(
            sql.SQL("GRANT {} ON DATABASE {} TO {}{}").format(
                sql.SQL(privilege),
                database,
                sql.Identifier(grantee) if grantee else sql.SQL("PUBLIC"),
                sql.SQL(" WITH GRANT OPTION" if grantable and grantee != description.owner else ""),
            )
        )


def end_leftover_sessions(connection: Connection, database: str) -> None:
    """End what a killed run left working in `database`. The caller holds the lock, so no other run is alive."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = %s AND application_name = %s AND pid <> pg_backend_pid() AND usename = current_user",
            [database, APPLICATION],
        )
