"""The schema ``public``: set aside for an empty one, which replaces it or is dropped."""

import contextlib

from psycopg2 import errors, sql
from psycopg2.extensions import cursor as Cursor  # noqa: N812

from ops.backups.engines.postgresql.table_digests import ASIDE_SCHEMA
from ops.databases.postgres.databases import how_to_replace
from ops.databases.postgres.queries import fetch_column, fetch_row, fetch_value
from ops.databases.postgres.savepoints import savepoint
from ops.errors import PreconditionFailed
from ops.utils.identifiers import quoted

AT_ONCE = 500
"""Statements."""
PUBLIC, NEW_SCHEMA = "public", "ops_new"
STATEMENTS = {
    "composite type": "TYPE",
    "statistics object": "STATISTICS",
    "aggregate": "ROUTINE",
    "function": "ROUTINE",
}
"""Words of ALTER, where they are not those of pg_identify_object."""
IS_FIXED = """
SELECT EXISTS (SELECT FROM pg_extension WHERE extnamespace = %s::regnamespace)
    OR EXISTS (SELECT FROM pg_default_acl WHERE defaclnamespace = %s::regnamespace)
    OR EXISTS (SELECT FROM pg_publication_namespace WHERE pnnspid = %s::regnamespace)
"""
"""Whether the schema has what cannot leave it."""
CONTENT = """
SELECT type, identity, CASE d.classid WHEN 'pg_proc'::regclass THEN 1 WHEN 'pg_operator'::regclass THEN 2
                                      WHEN 'pg_class'::regclass THEN 4 ELSE 3 END AS place,
       (SELECT refobjid::regtype::text FROM pg_depend AS made WHERE made.classid = d.classid AND made.objid = d.objid
        AND made.deptype = 'i' AND made.refclassid = 'pg_type'::regclass) AS type_of_routine
FROM pg_depend AS d, pg_identify_object(d.classid, d.objid, 0)
WHERE refclassid = 'pg_namespace'::regclass AND refobjid = %s::regnamespace AND deptype = 'n'
  AND d.classid <> 'pg_extension'::regclass AND NOT EXISTS (
      SELECT FROM pg_depend AS other WHERE other.classid = d.classid AND other.objid = d.objid
      AND (other.deptype = 'e' OR d.classid = 'pg_class'::regclass AND other.deptype IN ('a', 'i')
           AND (SELECT relkind FROM pg_class WHERE oid = d.objid) = 'S'))
"""
"""Objects with a schema of their own, routines before the types of their arguments, whose names change."""
NOT_OURS = """
  AND NOT pg_has_role(coalesce((SELECT relowner FROM pg_class WHERE oid = objid AND classid = 'pg_class'::regclass),
                               (SELECT proowner FROM pg_proc WHERE oid = objid AND classid = 'pg_proc'::regclass),
                               (SELECT typowner FROM pg_type WHERE oid = objid AND classid = 'pg_type'::regclass),
                               (SELECT oid FROM pg_roles WHERE rolname = current_user)), 'USAGE')
LIMIT 1
"""
OWNER_AND_COMMENT = (
    "SELECT pg_get_userbyid(nspowner), obj_description(oid, 'pg_namespace') FROM pg_namespace WHERE nspname = %s"
)
PRIVILEGES = """
SELECT CASE grantee WHEN 0 THEN '' ELSE pg_get_userbyid(grantee) END, privilege_type, is_grantable
FROM pg_namespace, aclexplode(nspacl) WHERE nspname = %s AND grantee <> nspowner
"""


def set_aside(cursor: Cursor, *, for_swap: bool, replacement: str = "") -> None:
    """Rename it, and rename the schema `replacement` to ``public``, or create an empty one.

    The new one has the same owner, privileges and comment, and the extensions that the role may move. Other sessions
    do not wait for that. Raises PreconditionFailed `for_swap` where `keep_previous` would fail.
    """
    rename(cursor, PUBLIC, ASIDE_SCHEMA)
    if replacement:
        rename(cursor, replacement, PUBLIC)
    else:
        cursor.execute("CREATE SCHEMA public")
    copy_properties(cursor, ASIDE_SCHEMA, PUBLIC)
    move_extensions(cursor, ASIDE_SCHEMA, PUBLIC)
    if for_swap and fetch_value(cursor, IS_FIXED, [ASIDE_SCHEMA] * 3):
        require_movable(cursor)


def require_movable(cursor: Cursor) -> None:
    """Raises PreconditionFailed for an object that `move_objects` cannot move."""
    cursor.execute(CONTENT + NOT_OURS, [ASIDE_SCHEMA])
    if not (found := cursor.fetchone()):
        return
    kind, identity, _, range_type = found
    user = quoted(fetch_value(cursor, "SELECT current_user"))
    hint = how_to_replace(cursor)
    described = f"{kind} {identity.replace(f'{ASIDE_SCHEMA}.', 'public.', 1)}"
    if range_type:
        # The functions that PostgreSQL makes for it belong to a superuser.
        described = f"type {range_type.replace(f'{ASIDE_SCHEMA}.', '', 1)}"
    else:
        hint = f"one of the two: {hint} or ALTER {kind.upper()} {described.removeprefix(f'{kind} ')} OWNER TO {user};"
    raise PreconditionFailed(
        f"The {described} cannot be moved out of the schema public, which has extensions, publications or default"
        " privileges that can only be replaced with the database. Nothing was changed.",
        f"As an administrator{': ' if range_type else ', '}{hint}",
    )


def keep_previous(cursor: Cursor, name: str) -> None:
    """Keep the schema that was set aside under this name.

    Where it has what cannot leave it, it becomes ``public`` again, and all other objects move. Their tables are locked
    from then on, so the other sessions of the role are ended first.
    """
    if not fetch_value(cursor, IS_FIXED, [ASIDE_SCHEMA] * 3):
        rename(cursor, ASIDE_SCHEMA, name)
        return
    end_own_sessions(cursor)
    cursor.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(name)))
    move_objects(cursor, ASIDE_SCHEMA, name)
    rename(cursor, PUBLIC, NEW_SCHEMA)
    rename(cursor, ASIDE_SCHEMA, PUBLIC)
    move_extensions(cursor, NEW_SCHEMA, PUBLIC)
    move_objects(cursor, NEW_SCHEMA, PUBLIC)
    cursor.execute(sql.SQL("DROP SCHEMA {}").format(sql.Identifier(NEW_SCHEMA)))


def move_objects(cursor: Cursor, old: str, new: str) -> None:
    """Move what belongs to no extension; indexes, sequences of columns and types of tables follow their tables."""
    cursor.execute(CONTENT + "ORDER BY place", [old])
    statements = [
        f"ALTER {STATEMENTS.get(kind, kind.upper())} {identity} SET SCHEMA {quoted(new)}"
        for kind, identity, *_ in cursor.fetchall()
    ]
    for first in range(0, len(statements), AT_ONCE):
        cursor.execute(";".join(statements[first : first + AT_ONCE]))


def end_own_sessions(cursor: Cursor) -> None:
    """End the other sessions of this role in the database; they may have cached the old tables."""
    cursor.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
        " AND pid <> pg_backend_pid() AND usename = current_user"
    )


def rename(cursor: Cursor, old: str, new: str) -> None:
    cursor.execute(sql.SQL("ALTER SCHEMA {} RENAME TO {}").format(sql.Identifier(old), sql.Identifier(new)))


def comment_on(cursor: Cursor, schema: str, text: str | None) -> None:
    cursor.execute(sql.SQL("COMMENT ON SCHEMA {} IS {}").format(sql.Identifier(schema), sql.Literal(text)))


def copy_properties(cursor: Cursor, old: str, new: str) -> None:
    """Give the schema `new` the owner, the privileges and the comment of `old`."""
    schema = sql.Identifier(new)
    owner, comment = fetch_row(cursor, OWNER_AND_COMMENT, [old])
    comment_on(cursor, new, comment)
    if owner != fetch_row(cursor, OWNER_AND_COMMENT, [new])[0]:
        cursor.execute(sql.SQL("ALTER SCHEMA {} OWNER TO {}").format(schema, sql.Identifier(owner)))
    cursor.execute(PRIVILEGES, [new])
    for grantee in {grantee for grantee, *_ in cursor.fetchall()}:
        cursor.execute(sql.SQL("REVOKE ALL ON SCHEMA {} FROM {}").format(schema, role(grantee)))
    cursor.execute(PRIVILEGES, [old])
    for grantee, privilege, grantable in cursor.fetchall():
        option = sql.SQL(" WITH GRANT OPTION" if grantable else "")
        statement = sql.SQL("GRANT {} ON SCHEMA {} TO {}{}")
        cursor.execute(statement.format(sql.SQL(privilege), schema, role(grantee), option))


def role(name: str) -> sql.Composable:
    return sql.Identifier(name) if name else sql.SQL("PUBLIC")


def move_extensions(cursor: Cursor, old: str, new: str) -> None:
    """Move the extensions that the role may move. They are not replaced: dumps do not contain their objects."""
    query = "SELECT extname FROM pg_extension WHERE extnamespace = %s::regnamespace ORDER BY 1"
    for name in fetch_column(cursor, query, [old]):
        statement = sql.SQL("ALTER EXTENSION {} SET SCHEMA {}").format(sql.Identifier(name), sql.Identifier(new))
        with contextlib.suppress(errors.InsufficientPrivilege, errors.FeatureNotSupported), savepoint(cursor):
            cursor.execute(statement)
