"""What belongs to a database besides its content, read before it is replaced."""

import contextlib

import psycopg2
from msgspec import Struct
from msgspec.structs import replace
from psycopg2 import errors
from psycopg2.extensions import connection as Connection  # noqa: N812
from psycopg2.extras import RealDictCursor

from ops.databases.postgres.connection import ConnectionInfo
from ops.databases.postgres.object_rights import (
    DEFAULT,
    Grant,
    ObjectName,
    ObjectRights,
    read_database_rights,
    read_objects,
)
from ops.databases.postgres.queries import fetch_row, select
from ops.databases.postgres.refusal import TEMPORARY, Refused
from ops.databases.postgres.revoked import unreadable
from ops.errors import PreconditionFailed
from ops.utils.schema import Text

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
LABELS = """
SELECT provider, label FROM pg_shseclabel JOIN pg_database AS d ON objoid = d.oid AND classoid = 'pg_database'::regclass
WHERE datname = %s
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
    labels: tuple[tuple[Text, Text], ...] = ()
    """(provider, security label) of the database itself."""
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

    def without_default_privileges(self) -> "DatabaseProperties":
        return replace(self, objects=tuple(rights for rights in self.objects if rights.name.kind != DEFAULT))

    def essence(self) -> "DatabaseProperties":
        """Without what a new database has anyway: for a manifest, which may be kept for years."""
        (database,) = (rights for rights in self.objects if rights.name.kind == "DATABASE")
        objects = tuple(
            rights
            for rights in self.objects
            if rights is database or not rights.default or rights.owner != database.owner
        )
        places = tuple(place for place in self.tablespaces if place[2])
        return replace(self, objects=objects, tablespaces=places, abridged=True)

    @property
    def given_rights(self) -> dict[ObjectName, tuple[Grant, ...]]:
        """Those that an administrator changed on objects which PostgreSQL or an extension makes in each database."""
        return {rights.name: rights.grants for rights in self.objects if rights.is_given}

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


def read_properties(connection: Connection, database: str) -> DatabaseProperties | None:
    """The properties of `database`, as any session of the server can read them, or None when there is none."""
    with connection.cursor(cursor_factory=RealDictCursor) as cursor:
        cursor.execute(PROPERTIES, [database])
        found = cursor.fetchone()
    if found is None:
        return None
    settings, labels = (tuple(select(connection, query, [database])) for query in (SETTINGS, LABELS))
    with connection.cursor() as cursor:
        objects = read_database_rights(cursor, database)
    return DatabaseProperties(**found, settings=settings, labels=labels, objects=objects)


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

    Damage may prevent sessions in it, and is a reason to restore. Raises PreconditionFailed where the reason is
    temporary or a right of the role: without the rights of the live database, a restore would grant what is revoked
    there.
    """
    properties = read_properties(connection, address.database)
    if properties:
        try:
            with contextlib.closing(address.connect()) as live:
                return read_all(live)
        except errors.InsufficientPrivilege as error:
            raise unreadable(address, error) from error
        except (PreconditionFailed, psycopg2.Error) as error:
            if isinstance(error, Refused) and error.sqlstate in TEMPORARY:
                raise
    return properties


def read_extensions(connection: Connection) -> tuple[Extension, ...]:
    """The extensions in the database of `connection`, without plpgsql."""
    return tuple(Extension(*row) for row in select(connection, EXTENSIONS))
