"""Gives a database the properties of the one that it replaces, and names those that the role may not give.

Locale and tablespace are given when a database is created; comment, connection limit and the mark of a template in the
swap; all others here.
"""

import re
from collections.abc import Collection, Iterator

from psycopg2.extensions import connection as Connection  # noqa: N812

from ops.databases.postgres.differences import Difference, NotKept, remove
from ops.databases.postgres.new_objects import default_privileges, new_objects, usual_owner
from ops.databases.postgres.object_rights import ObjectRights, compare_objects, read_objects, within
from ops.databases.postgres.properties import ROLES, DatabaseProperties, read_all
from ops.databases.postgres.queries import fetch_row, fetch_value, select
from ops.utils.identifiers import quoted, quoted_if_needed

LISTS_OF_NAMES = frozenset({"search_path", "temp_tablespaces", "local_preload_libraries", "session_preload_libraries"})


def keep_properties(
    connection: Connection,
    wanted: DatabaseProperties,
    *,
    live: str,
    except_for: Collection[str] = (),
    others_are_new: bool = True,
) -> tuple[NotKept, ...]:
    """Give the database of `connection` the properties `wanted`, as far as it has their objects, and commit.

    Returns what the role may not give it, with statements for the database `live`. Raises PreconditionFailed where
    a role would have rights that are revoked in the live database. Doing it again changes nothing. `except_for` are
    keys of differences that stay. Objects that are not in `wanted` are new ones, or also stay as they are.
    """
    with connection.cursor() as cursor:
        name: str = fetch_value(cursor, "SELECT current_database()")
    not_kept = remove(
        connection,
        read=lambda: read_all(connection),
        compare=lambda found, database: [
            difference
            for difference in compare(wanted, found, database=quoted(database), others_are_new=others_are_new)
            if difference.key not in except_for
        ],
        name=name,
        live=live,
    )
    connection.commit()
    return (*missing_roles(connection, wanted), *not_kept)


def keep_schema_rights(
    connection: Connection, *, old: str, new: str, except_for: Collection[str], others_are_new: bool
) -> tuple[NotKept, ...]:
    """As `keep_properties`, for the objects of the schema `new`, which get the rights of those of `old`; no commit."""

    def compare_schemas(found: Collection[ObjectRights], name: str) -> list[Difference]:
        before, after = (within(found, schema, renamed=new) for schema in (old, new))
        if others_are_new:
            owner, defaults = usual_owner(before), default_privileges(found)
            before += new_objects(before, after, owner=owner, defaults=defaults, schema=old)
        differences = compare_objects(before, after, database=name)
        return [difference for difference in differences if difference.key not in except_for]

    with connection.cursor() as cursor:
        database, path = fetch_row(cursor, "SELECT current_database(), current_setting('search_path')")
        cursor.execute("SET LOCAL search_path = ''")
        not_kept = remove(
            connection,
            read=lambda: read_objects(cursor, database),
            compare=compare_schemas,
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


def compare(
    wanted: DatabaseProperties, found: DatabaseProperties, *, database: str, others_are_new: bool
) -> Iterator[Difference]:
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
    yield from compare_labels(wanted, found, database)
    yield from compare_extensions(wanted, found)
    yield from compare_objects(
        [*wanted.objects, *other_objects(wanted, found, are_new=others_are_new)], found.objects, database=database
    )
    yield from compare_tablespaces(wanted, found)
    yield from compare_search_path(wanted, found)
    if not wanted.complete:
        yield Difference(
            key="objects",
            what="the owners and privileges in the database",
            statement="",
            reason="no session in the live database could read them; those in the backup were taken, if it has them",
        )


def other_objects(wanted: DatabaseProperties, found: DatabaseProperties, *, are_new: bool) -> Iterator[ObjectRights]:
    """Those that were found and are not `wanted`, with the rights that they get."""
    if wanted.abridged:
        # They had the owner of the database, and no privileges.
        owner = usual_owner([rights for rights in wanted.objects if rights.name.kind == "DATABASE"])
        yield from new_objects(wanted.objects, found.objects, owner=owner, defaults={})
    elif wanted.complete and are_new:
        owner, defaults = usual_owner(wanted.objects), default_privileges(wanted.objects)
        yield from new_objects(wanted.objects, found.objects, owner=owner, defaults=defaults)


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


def compare_labels(wanted: DatabaseProperties, found: DatabaseProperties, database: str) -> Iterator[Difference]:
    there, here = dict(wanted.labels), dict(found.labels)
    for provider in sorted({*there, *here}):
        if (label := there.get(provider)) != here.get(provider):
            yield Difference(
                key=f"label of {provider}",
                what=f"no security label of the database for {provider}"
                if label is None
                else f"the security label {label} of the database for {provider}",
                statement=f"SECURITY LABEL FOR {quoted(provider)} ON DATABASE {database}"
                f" IS {'NULL' if label is None else literal(label)};",
            )


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
