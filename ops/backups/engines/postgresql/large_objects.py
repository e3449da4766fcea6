"""Large objects, which belong to no schema: kept in a table while the schema ``public`` is replaced.

Their numbers are stored in rows, so a dump creates them with the same ones.
"""

from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor  # noqa: N812

from ops.databases.postgres.databases import how_to_replace
from ops.databases.postgres.queries import fetch_column, fetch_value
from ops.errors import PreconditionFailed
from ops.utils.identifiers import quoted

TABLE = "ops_large_objects"
PART = 1 << 20
"""Bytes of a large object in one row; `lo_get` of more than 1 GB fails."""
OTHERS = "SELECT oid::text FROM pg_largeobject_metadata WHERE NOT pg_has_role(lomowner, 'USAGE') ORDER BY oid LIMIT 5"
CONTENT = f"""
WITH RECURSIVE part(oid, number, data) AS (
    SELECT oid, 0::bigint, lo_get(oid, 0, {PART}) FROM pg_largeobject_metadata UNION ALL
    SELECT oid, number + 1, lo_get(oid, (number + 1) * {PART}, {PART}) FROM part WHERE length(data) = {PART}
)
SELECT oid, number, data FROM part
"""
PROPERTIES = """
SELECT format('GRANT %s ON LARGE OBJECT %s TO %s%s', privilege_type, oid,
              CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END,
              CASE WHEN is_grantable THEN ' WITH GRANT OPTION' END) AS statement
FROM pg_largeobject_metadata, aclexplode(lomacl) WHERE grantee <> lomowner
UNION ALL SELECT format('COMMENT ON LARGE OBJECT %s IS %L', oid, obj_description(oid, 'pg_largeobject'))
FROM pg_largeobject_metadata WHERE obj_description(oid, 'pg_largeobject') IS NOT NULL
UNION ALL SELECT format('ALTER LARGE OBJECT %s OWNER TO %I', oid, pg_get_userbyid(lomowner))
FROM pg_largeobject_metadata WHERE lomowner <> (SELECT oid FROM pg_roles WHERE rolname = current_user)
"""


def set_aside(cursor: Cursor, schema: str) -> None:
    """Move all large objects into a table of `schema`. Raises PreconditionFailed for those of other roles."""
    if others := fetch_column(cursor, OTHERS):
        role = quoted(fetch_value(cursor, "SELECT current_user"))
        raise PreconditionFailed(
            f"Large objects of other roles can only be replaced with the database ({', '.join(others)})."
            " Nothing was changed.",
            f"As an administrator, one of the two: {how_to_replace(cursor)}"
            f" or ALTER LARGE OBJECT {others[0]} OWNER TO {role};",
        )
    if not fetch_value(cursor, "SELECT EXISTS (SELECT FROM pg_largeobject_metadata)"):
        return
    for table, query in ((TABLE, CONTENT), (f"{TABLE}_properties", PROPERTIES)):
        name = sql.Identifier(schema, table)
        cursor.execute(sql.SQL("CREATE TABLE {} AS {}").format(name, sql.SQL(query)))
    cursor.execute("SELECT count(lo_unlink(oid)) FROM pg_largeobject_metadata")


def put_back(cursor: Cursor, schema: str) -> None:
    """Undo `set_aside`, after which `schema` may have got another name."""
    content, properties = (f"{quoted(schema)}.{quoted(name)}" for name in (TABLE, f"{TABLE}_properties"))
    if not fetch_value(cursor, "SELECT to_regclass(%s) IS NOT NULL", [content]):
        return
    cursor.execute(f"SELECT count(lo_create(oid)) FROM {content} WHERE number = 0")
    cursor.execute(f"SELECT lo_put(oid, number * {PART}, data) FROM {content}")
    for statement in fetch_column(cursor, f"SELECT statement FROM {properties}"):
        cursor.execute(statement)
    cursor.execute(f"DROP TABLE {content}, {properties}")
