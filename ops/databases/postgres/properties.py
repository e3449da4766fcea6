"""What belongs to a database besides its content: read before a swap, and given to the database that replaces it."""

import re
from dataclasses import dataclass

from psycopg2 import sql
from psycopg2.extensions import connection as Connection  # noqa: N812
from psycopg2.extensions import cursor as Cursor  # noqa: N812
from psycopg2.extras import RealDictCursor

from ops.databases.postgres.queries import fetch_value, select

LISTS_OF_NAMES = frozenset({"search_path", "temp_tablespaces", "local_preload_libraries", "session_preload_libraries"})
PROPERTIES = """
SELECT pg_get_userbyid(datdba) AS owner, pg_encoding_to_char(encoding) AS encoding, datcollate AS collate,
       datctype AS ctype, datconnlimit AS connection_limit,
       coalesce(shobj_description(oid, 'pg_database'), '') AS comment,
       CASE datlocprovider WHEN 'i' THEN coalesce(to_jsonb(d)->>'daticulocale', to_jsonb(d)->>'datlocale') ELSE '' END
           AS icu_locale
FROM pg_database AS d WHERE datname = %s
"""
PRIVILEGES = """
SELECT CASE grantee WHEN 0 THEN '' ELSE pg_get_userbyid(grantee) END, privilege_type, is_grantable
FROM pg_database, aclexplode(datacl) WHERE datname = %s
"""
SETTINGS = """
SELECT CASE setrole WHEN 0 THEN '' ELSE pg_get_userbyid(setrole) END, unnest(setconfig)
FROM pg_db_role_setting JOIN pg_database AS d ON d.oid = setdatabase WHERE datname = %s
"""


@dataclass(frozen=True, kw_only=True)
class DatabaseProperties:
    """The properties of a database that its replacement gets: some when it is created, the others in the swap."""

    owner: str
    encoding: str
    collate: str
    ctype: str
    icu_locale: str
    """'' for the locales of another provider."""
    connection_limit: int
    comment: str
    privileges: tuple[tuple[str, str, bool], ...]
    """(role or '' for PUBLIC, privilege, with grant option); none where they are PostgreSQL's defaults."""
    settings: tuple[tuple[str, str], ...]
    """(role or '', ``name=value``) of ALTER DATABASE … SET."""


def read_properties(connection: Connection, database: str) -> DatabaseProperties | None:
    """The properties of `database`, or None when there is none. It need not accept connections."""
    with connection.cursor(cursor_factory=RealDictCursor) as cursor:
        cursor.execute(PROPERTIES, [database])
        found = cursor.fetchone()
    if found is None:
        return None
    privileges, settings = (tuple(select(connection, query, [database])) for query in (PRIVILEGES, SETTINGS))
    return DatabaseProperties(**found, privileges=privileges, settings=settings)


def copy_properties(cursor: Cursor, name: str, properties: DatabaseProperties) -> None:
    """Owner, connection limit, settings and privileges, which PostgreSQL stores with the database, not its name."""
    database = sql.Identifier(name)
    limit = sql.Literal(properties.connection_limit)
    cursor.execute(sql.SQL("ALTER DATABASE {} CONNECTION LIMIT {}").format(database, limit))
    for role, entry in properties.settings:
        setting, value = entry.split("=", 1)
        target = sql.SQL("ALTER DATABASE {}").format(database)
        if role:
            target = sql.SQL("ALTER ROLE {} IN DATABASE {}").format(sql.Identifier(role), database)
        cursor.execute(sql.SQL("{} SET {} = {}").format(target, setting_name(setting), setting_value(setting, value)))
    if fetch_value(cursor, "SELECT current_user") != properties.owner:
        cursor.execute(sql.SQL("ALTER DATABASE {} OWNER TO {}").format(database, sql.Identifier(properties.owner)))
    if properties.privileges:
        cursor.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(database))
    for grantee, privilege, grantable in properties.privileges:
        cursor.execute(
            sql.SQL("GRANT {} ON DATABASE {} TO {}{}").format(
                sql.SQL(privilege),
                database,
                sql.Identifier(grantee) if grantee else sql.SQL("PUBLIC"),
                sql.SQL(" WITH GRANT OPTION" if grantable and grantee != properties.owner else ""),
            )
        )


def setting_name(name: str) -> sql.Composable:
    """The name of a setting, which may be that of an extension's: ``module.name``."""
    return sql.SQL(".").join(map(sql.Identifier, name.split(".")))


def setting_value(name: str, value: str) -> sql.Composable:
    """The value for SET. The catalog has a list of names as one text, which SET would take as one name."""
    if name not in LISTS_OF_NAMES:
        return sql.Literal(value)
    return sql.SQL(", ").join(map(sql.Literal, list_of_names(value) or [""]))


def list_of_names(value: str) -> list[str]:
    """The names in a setting that is a list of them."""
    names = re.findall(r'"(?:[^"]|"")*"|[^\s,]+', value)
    return [item[1:-1].replace('""', '"') if item.startswith('"') else item for item in names]
