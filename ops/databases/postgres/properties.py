"""What belongs to a database besides its content: read before it is replaced, and given to what replaces it.

Locale and tablespace are given when a database is created; comment, connection limit and the mark of a template in the
swap; all others by `keep_properties`, as far as the role may.
"""

import contextlib
import re
from collections.abc import Collection, Iterator

import psycopg2
from msgspec import Struct
from msgspec.structs import replace
from psycopg2.extensions import connection as Connection  # noqa: N812
from psycopg2.extras import RealDictCursor

from ops.databases.postgres.connection import ConnectionInfo
from ops.databases.postgres.differences import Difference, NotKept, remove
from ops.databases.postgres.object_rights import (
    ObjectRights,
    compare_objects,
    read_database_rights,
    read_objects,
    within,
)
from ops.databases.postgres.queries import fetch_row, fetch_value, select
from ops.databases.postgres.refusal import TEMPORARY, Refused
from ops.errors import PreconditionFailed
from ops.utils.identifiers import quoted, quoted_if_needed
from ops.utils.schema import Text

LISTS_OF_NAMES = frozenset({"search_path", "temp_tablespaces", "local_preload_libraries", "session_preload_libraries"})
PROVIDERS = {"c": "libc", "i": "icu", "b": "builtin"}
PROPERTIES = """
SELECT pg_encoding_to_char(encoding) AS encoding, datcollate AS collate, datctype AS ctype,
       datlocprovider::text AS provider,
       coalesce(to_jsonb(d)->>'daticulocale', to_jsonb(d)->>'datlocale', '') AS locale,
       coalesce(to_jsonb(d)->>'daticurules', '') AS icu_rules,
       spcname AS tablespace, datconnlimit AS connection_limit, datistemplate AS is_template,
       coalesce(shobj_description(d.oid, 'pg_database'), '') AS comment
FROM pg_database AS d JOIN pg_tablespace AS t ON t.oid = dattablespace WHERE datname = %s
"""
"""The column of the locale is another one in each of the versions 15 and 17, and that of the rules is new in 16."""
SETTINGS = """
SELECT CASE setrole WHEN 0 THEN '' ELSE quote_ident(pg_get_userbyid(setrole)) END, unnest(setconfig)
FROM pg_db_role_setting JOIN pg_database AS d ON d.oid = setdatabase WHERE datname = %s
"""
ROLES = "SELECT quote_ident(rolname) FROM pg_roles"
EXTENSIONS = """
SELECT quote_ident(extname), extversion, quote_ident(nspname),
       EXISTS (SELECT 1 FROM pg_depend WHERE classid = 'pg_namespace'::regclass AND objid = extnamespace
               AND deptype = 'e')
FROM pg_extension JOIN pg_namespace AS n ON n.oid = extnamespace WHERE extname <> 'plpgsql' ORDER BY pg_extension.oid
"""
"""In the order in which they were created, as one may need another."""
TABLESPACES = """
SELECT CASE relkind WHEN 'i' THEN 'INDEX' WHEN 'I' THEN 'INDEX' WHEN 'm' THEN 'MATERIALIZED VIEW' ELSE 'TABLE' END,
       c.oid::regclass::text, coalesce(quote_ident(spcname), '')
FROM pg_class AS c LEFT JOIN pg_tablespace AS t ON t.oid = reltablespace
WHERE c.oid >= 16384 AND relkind IN ('r', 'p', 'm', 'i', 'I') AND relpersistence <> 't'
      AND relnamespace <> 'pg_toast'::regnamespace
"""


class Extension(Struct, frozen=True):
    """An extension, its version and its schema, which may be its own. Names are quoted as SQL needs them."""

    name: Text
    version: Text
    schema: Text
    owns_schema: bool


class DatabaseProperties(Struct, frozen=True, kw_only=True):
    """The properties of a database, which its replacement gets."""

    encoding: Text
    collate: Text
    ctype: Text
    provider: Text
    """``c``, ``i`` or ``b``, as in pg_database."""
    locale: Text
    """Of a provider other than libc."""
    icu_rules: Text
    tablespace: Text
    connection_limit: int
    is_template: bool
    comment: Text
    settings: tuple[tuple[Text, Text], ...]
    """(quoted role or '', ``name=value``) of ALTER DATABASE … SET."""
    objects: tuple[ObjectRights, ...]
    extensions: tuple[Extension, ...] = ()
    """In the order in which they were created."""
    tablespaces: tuple[tuple[Text, Text, Text], ...] = ()
    """Of tables and indexes: (kind, name, tablespace or '' for that of the database), quoted as SQL needs them."""
    abridged: bool = False
    """Objects that are not in `objects` belong to the owner of the database."""
    complete: bool = False
    """Whether a session in the database has read it. Otherwise `objects` has only the database itself."""

    def completed(self, recorded: "DatabaseProperties | None") -> "DatabaseProperties":
        """With what is `recorded` of the objects, where no session could read theirs."""
        if self.complete or recorded is None:
            return self
        objects = (rights for rights in recorded.objects if rights.name.kind != "DATABASE")
        return replace(
            self,
            objects=(*self.objects, *objects),
            extensions=recorded.extensions,
            tablespaces=recorded.tablespaces,
            abridged=recorded.abridged,
        )

    def without_missing_owner(self, connection: Connection) -> "DatabaseProperties":
        """Where the server does not have the owner of the database, the role that restores takes its place."""
        existing = {role for (role,) in select(connection, ROLES)}
        owners = {rights.owner for rights in self.objects if rights.name.kind == "DATABASE"} - existing
        return replace(
            self,
            objects=tuple(
                replace(rights, has_own_owner=False) if rights.owner in owners else rights for rights in self.objects
            ),
        )

    def essence(self) -> "DatabaseProperties":
        """Without what a new database has anyway: for a manifest, which may be kept for years."""
        owners = [rights.owner for rights in self.objects if rights.name.kind == "DATABASE"]
        objects = tuple(rights for rights in self.objects if not rights.default or rights.owner not in owners)
        places = tuple(place for place in self.tablespaces if place[2])
        return replace(self, objects=objects, tablespaces=places, abridged=True)

    @property
    def described_locale(self) -> str:
        """Encoding and locale for a sentence: ``the locale icu de-u-kn-true (UTF8, C.UTF-8, C)``."""
        own = " ".join(filter(None, (PROVIDERS.get(self.provider, self.provider), self.locale, self.icu_rules)))
        return f"the locale {own} ({self.encoding}, {self.collate}, {self.ctype})"

    @property
    def roles(self) -> set[str]:
        """The roles that are named, quoted as SQL needs them."""
        named = {role for role, _ in self.settings} | {rights.owner for rights in self.objects}
        named |= {grant.grantee for rights in self.objects for grant in rights.grants}
        return named - {"", "PUBLIC"}

    @property
    def schemas(self) -> dict[str, str]:
        """The schemas by their quoted names, and their owners; not those of extensions and of the catalog."""
        return {
            rights.name.identity: rights.owner
            for rights in self.objects
            if rights.name.kind == "SCHEMA" and rights.has_own_owner
        }


# --- Read -------------------------------------------------------------------------------------------------------------
def read_properties(connection: Connection, database: str) -> DatabaseProperties | None:
    """The properties of `database`, as any session of the server can read them, or None when there is none."""
    with connection.cursor(cursor_factory=RealDictCursor) as cursor:
        cursor.execute(PROPERTIES, [database])
        found = cursor.fetchone()
    if found is None:
        return None
    settings = tuple(select(connection, SETTINGS, [database]))
    with connection.cursor() as cursor:
        return DatabaseProperties(**found, settings=settings, objects=read_database_rights(cursor, database))


def read_all(connection: Connection) -> DatabaseProperties:
    """All properties of the database of `connection`, which is not in autocommit mode."""
    with connection.cursor() as cursor:
        database, path = fetch_row(cursor, "SELECT current_database(), current_setting('search_path')")
        # Names are complete then.
        cursor.execute("SET LOCAL search_path = ''")
        properties = read_properties(connection, database)
        if properties is None:
            raise LookupError(database)
        objects, extensions = read_objects(cursor, database), read_extensions(connection)
        tablespaces = tuple(select(connection, TABLESPACES))
        cursor.execute("SELECT set_config('search_path', %s, true)", [path])
    return replace(properties, objects=objects, extensions=extensions, tablespaces=tablespaces, complete=True)


def read_live(connection: Connection, address: ConnectionInfo) -> DatabaseProperties | None:
    """All properties of the database at `address`, or those that `connection` to another one can read.

    Damage may prevent sessions in it, and is a reason to restore. Raises Refused where that is temporary: without the
    rights of the live database, a restore would grant what is revoked there.
    """
    properties = read_properties(connection, address.database)
    if properties:
        try:
            with contextlib.closing(address.connect()) as live:
                return read_all(live)
        except (PreconditionFailed, psycopg2.Error) as error:
            if isinstance(error, Refused) and error.sqlstate in TEMPORARY:
                raise
    return properties


def read_extensions(connection: Connection) -> tuple[Extension, ...]:
    """The extensions in the database of `connection`, without plpgsql."""
    return tuple(Extension(*row) for row in select(connection, EXTENSIONS))


# --- Apply ------------------------------------------------------------------------------------------------------------
def keep_properties(
    connection: Connection, wanted: DatabaseProperties, *, live: str, except_for: Collection[str] = ()
) -> tuple[NotKept, ...]:
    """Give the database of `connection` the properties `wanted`, as far as it has their objects, and commit.

    Returns what the role may not give it, with statements for the database `live`. Raises PreconditionFailed where
    somebody would have rights that are revoked in the live database. Doing it again changes nothing. `except_for` are
    keys of differences that stay.
    """
    with connection.cursor() as cursor:
        name: str = fetch_value(cursor, "SELECT current_database()")
    not_kept = remove(
        connection,
        read=lambda: read_all(connection),
        compare=lambda found, database: [
            difference
            for difference in compare(wanted, found, database=quoted(database))
            if difference.key not in except_for
        ],
        name=name,
        live=live,
    )
    connection.commit()
    return (*missing_roles(connection, wanted), *not_kept)


def keep_schema_rights(
    connection: Connection, *, old: str, new: str, except_for: Collection[str]
) -> tuple[NotKept, ...]:
    """As `keep_properties`, for the objects of the schema `new`, which get the rights of those of `old`; no commit."""
    with connection.cursor() as cursor:
        database, path = fetch_row(cursor, "SELECT current_database(), current_setting('search_path')")
        cursor.execute("SET LOCAL search_path = ''")
        not_kept = remove(
            connection,
            read=lambda: read_objects(cursor, database),
            compare=lambda found, name: [
                difference
                for difference in compare_objects(
                    within(found, old, renamed=new), within(found, new, renamed=new), database=name
                )
                if difference.key not in except_for
            ],
            name=database,
            live=database,
        )
        cursor.execute("SELECT set_config('search_path', %s, true)", [path])
    return not_kept


def missing_roles(connection: Connection, wanted: DatabaseProperties) -> Iterator[NotKept]:
    """Roles of another server that this one lacks."""
    existing = {role for (role,) in select(connection, ROLES)}
    for role in sorted(wanted.roles - existing):
        yield NotKept(
            key=f"role {role}",
            what=f"the role {role}",
            reason="the server does not have it",
            statement=f"CREATE ROLE {role};",
        )


def create_schemas(connection: Connection, wanted: DatabaseProperties) -> None:
    """Create the schemas of `wanted` that the database of `connection` lacks, without a commit."""
    with connection.cursor() as cursor:
        for name in wanted.schemas:
            cursor.execute(f"CREATE SCHEMA IF NOT EXISTS {name}")


def compare(wanted: DatabaseProperties, found: DatabaseProperties, *, database: str) -> Iterator[Difference]:
    """What gives a database the properties `wanted`. `database` is its quoted name in the statements."""
    yield from compare_settings(wanted, found, database)
    if wanted.described_locale != found.described_locale:
        yield Difference(
            key="locale",
            what=f"{wanted.described_locale} of the database, which has {found.described_locale}",
            statement="",
            reason="the server does not have it",
        )
    if wanted.tablespace != found.tablespace:
        yield Difference(
            key="tablespace",
            what=f"the tablespace {wanted.tablespace} of the database",
            statement=f"ALTER DATABASE {database} SET TABLESPACE {quoted(wanted.tablespace)};",
            reason="the role may not create objects in it",
        )
    yield from compare_extensions(wanted, found)
    objects = [*wanted.objects, *unlisted_objects(wanted, found)] if wanted.abridged else wanted.objects
    yield from compare_objects(objects, found.objects, database=database)
    yield from compare_tablespaces(wanted, found)
    yield from compare_search_path(wanted, found)
    if not wanted.complete:
        yield Difference(
            key="objects",
            what="the owners and privileges in the database",
            statement="",
            reason="no session in the live database could read them; those in the backup were taken, if it has them",
        )


def unlisted_objects(wanted: DatabaseProperties, found: DatabaseProperties) -> Iterator[ObjectRights]:
    """Those that were found and are not listed, with the owner that they had."""
    listed = {rights.name for rights in wanted.objects}
    owners = [rights.owner for rights in wanted.objects if rights.name.kind == "DATABASE" and rights.has_own_owner]
    for rights in found.objects:
        if owners and rights.name not in listed and rights.has_own_owner:
            yield replace(rights, owner=owners[0])


def compare_settings(wanted: DatabaseProperties, found: DatabaseProperties, database: str) -> Iterator[Difference]:
    names = {(role, entry.partition("=")[0]) for role, entry in wanted.settings}
    for role, entry in found.settings:
        name = entry.partition("=")[0]
        if (role, name) not in names:
            yield Difference(
                key=f"setting {name} {role}",
                what=f"no setting {name}{f' of the role {role}' if role else ''}",
                statement=f"{alter(role, database)} RESET {setting_name(name)};",
            )
    for role, entry in wanted.settings:
        if (role, entry) not in found.settings:
            name, _, value = entry.partition("=")
            yield Difference(
                key=f"setting {name} {role}",
                what=f"the setting {name} = {value}{f' of the role {role}' if role else ''}",
                statement=f"{alter(role, database)} SET {setting_name(name)} = {setting_value(name, value)};",
            )


def alter(role: str, database: str) -> str:
    return f"ALTER ROLE {role} IN DATABASE {database}" if role else f"ALTER DATABASE {database}"


def setting_name(name: str) -> str:
    """The name of a setting, which may be that of an extension's: ``module.name``."""
    return ".".join(map(quoted, name.split(".")))


def setting_value(name: str, value: str) -> str:
    """The value for SET. The catalog has a list of names as one text, which SET would take as one name."""
    return ", ".join(map(literal, list_of_names(value) or [""])) if name in LISTS_OF_NAMES else literal(value)


def list_of_names(value: str) -> list[str]:
    names = re.findall(r'"(?:[^"]|"")*"|[^\s,]+', value)
    return [item[1:-1].replace('""', '"') if item.startswith('"') else item for item in names]


def literal(value: str) -> str:
    """`value` as a string constant of PostgreSQL, whatever standard_conforming_strings is."""
    escaped = value.replace("'", "''")
    return "E'" + escaped.replace("\\", "\\\\") + "'" if "\\" in escaped else f"'{escaped}'"


def compare_extensions(wanted: DatabaseProperties, found: DatabaseProperties) -> Iterator[Difference]:
    there = {extension.name: extension for extension in found.extensions}
    for extension in wanted.extensions:
        other = there.get(extension.name, extension)
        if extension.version != other.version:
            yield Difference(
                key=f"version of {extension.name}",
                what=f"the version {extension.version} of the extension {extension.name}, which is {other.version} now",
                statement=f"ALTER EXTENSION {extension.name} UPDATE TO {literal(extension.version)};",
            )
        if extension.schema != other.schema:
            yield Difference(
                key=f"schema of {extension.name}",
                what=f"the schema {extension.schema} of the extension {extension.name}",
                statement=f"ALTER EXTENSION {extension.name} SET SCHEMA {extension.schema};",
            )


def compare_tablespaces(wanted: DatabaseProperties, found: DatabaseProperties) -> Iterator[Difference]:
    there = {(kind, name): tablespace for kind, name, tablespace in found.tablespaces}
    for kind, name, tablespace in wanted.tablespaces:
        if tablespace and there.get((kind, name), tablespace) != tablespace:
            yield Difference(
                key=f"tablespace of {name}",
                what=f"the tablespace {tablespace} of the {kind.lower()} {name}",
                statement=f"ALTER {kind} {name} SET TABLESPACE {tablespace};",
            )


def compare_search_path(wanted: DatabaseProperties, found: DatabaseProperties) -> Iterator[Difference]:
    """Schemas that a search_path names, and that only the wanted database has."""
    schemas = wanted.schemas
    paths = [entry.partition("=")[2] for _, entry in wanted.settings if entry.startswith("search_path=")]
    for name in sorted({quoted_if_needed(name) for path in paths for name in list_of_names(path)}):
        if name in schemas and name not in found.schemas:
            yield Difference(
                key=f"schema {name}",
                what=f"the schema {name}, which search_path names",
                statement=f"CREATE SCHEMA {name} AUTHORIZATION {schemas[name]};",
                reason="the backup does not have it",
            )
