"""Objects outside of schemas, which stay while the schema ``public`` is replaced: publications, servers, casts …"""

import re
from collections.abc import Set

from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor  # noqa: N812

from ops.backups.engines.postgresql.dump_reader import NAME, Statement
from ops.databases.postgres.databases import how_to_replace
from ops.databases.postgres.queries import fetch_column, fetch_value
from ops.databases.postgres.refusal import superuser_hint
from ops.errors import PreconditionFailed
from ops.utils.identifiers import quoted

ABOUT = re.compile(
    rb"(?:CREATE|ALTER|COMMENT ON)(?: OR REPLACE)?(?: TRUSTED)?(?: PROCEDURAL)?"
    rb" (?P<object>(?:ACCESS METHOD|EVENT TRIGGER|FOREIGN DATA WRAPPER|LANGUAGE|PUBLICATION|SCHEMA|SERVER) "
    + NAME
    + rb"|USER MAPPING FOR "
    + NAME
    + rb" SERVER "
    + NAME
    + rb"|CAST \((?:[^()\"]|\"[^\"]*\"|\(\d+\))+\))"
)
"""A statement of pg_dump about such an object."""
EXISTING = """
SELECT CASE type WHEN 'foreign-data wrapper' THEN 'FOREIGN DATA WRAPPER' ELSE upper(type) END || ' ' || identity
FROM (SELECT tableoid, oid FROM pg_am UNION ALL SELECT tableoid, oid FROM pg_event_trigger
      UNION ALL SELECT tableoid, oid FROM pg_foreign_data_wrapper UNION ALL SELECT tableoid, oid FROM pg_language
      UNION ALL SELECT tableoid, oid FROM pg_publication UNION ALL SELECT tableoid, oid FROM pg_namespace
      UNION ALL SELECT tableoid, oid FROM pg_foreign_server) AS kept(class, id), pg_identify_object(class, id, 0)
UNION ALL SELECT format('USER MAPPING FOR %I SERVER %I', usename, srvname) FROM pg_user_mappings
UNION ALL SELECT format('CAST (%s AS %s)', format_type(castsource, NULL), format_type(casttarget, NULL)) FROM pg_cast
"""
"""As pg_dump names them, with an empty search_path."""
NOT_OF_AN_EXTENSION = (
    "NOT EXISTS (SELECT FROM pg_depend AS e WHERE e.classid = {} AND e.objid = {} AND e.deptype = 'e')"
)
USERS = f"""
SELECT pg_describe_object(d.classid, d.objid, 0), p.oid::regprocedure::text, d.classid <> 'pg_cast'::regclass
FROM pg_depend AS d JOIN pg_proc AS p ON d.refclassid = 'pg_proc'::regclass AND d.refobjid = p.oid
WHERE d.classid IN ('pg_event_trigger'::regclass, 'pg_language'::regclass, 'pg_foreign_data_wrapper'::regclass,
                    'pg_am'::regclass, 'pg_cast'::regclass)
  AND p.pronamespace = 'public'::regnamespace AND {NOT_OF_AN_EXTENSION.format("'pg_proc'::regclass", "p.oid")}
  AND NOT (d.classid = 'pg_cast'::regclass AND EXISTS (
      SELECT FROM pg_cast AS c JOIN pg_type AS t ON t.oid IN (castsource, casttarget)
      WHERE c.oid = d.objid AND t.typnamespace = 'public'::regnamespace
      AND {NOT_OF_AN_EXTENSION.format("'pg_type'::regclass", "t.oid")}))
ORDER BY 1
"""
"""Kept objects that use a function of public. A cast of a type of public is replaced with the type."""
OTHERS_PUBLICATIONS = """
SELECT DISTINCT pubname FROM pg_publication AS p JOIN pg_publication_rel ON prpubid = p.oid
JOIN pg_class AS c ON c.oid = prrelid
WHERE relnamespace = 'public'::regnamespace AND NOT pg_has_role(pubowner, 'USAGE') ORDER BY 1
"""
PUBLISHED = """
SELECT pubname, c.relname, coalesce(pg_get_expr(prqual, prrelid), ''),
       (SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM pg_attribute
        WHERE attrelid = prrelid AND attnum = ANY(prattrs)) AS columns,
       to_regclass(format('%%I.%%I', %s::text, c.relname)) IS NOT NULL
FROM pg_publication AS p JOIN pg_publication_rel ON prpubid = p.oid JOIN pg_class AS c ON c.oid = prrelid
WHERE relnamespace = %s::regnamespace ORDER BY 1, 2
"""


def list_existing(cursor: Cursor) -> Set[bytes]:
    """The objects that the database has. The search path of the session becomes empty."""
    cursor.execute("SELECT set_config('search_path', '', false)")
    return frozenset(name.encode() for name in fetch_column(cursor, EXISTING))


def is_about(statement: Statement, existing: Set[bytes]) -> bool:
    """Whether the statement of a dump creates or changes one of the objects."""
    match = ABOUT.match(statement.text)
    return match is not None and match["object"] in existing


def require_replaceable(cursor: Cursor) -> None:
    """Raises PreconditionFailed for objects that would keep using the previous schema after it was replaced."""
    cursor.execute(USERS)
    if users := cursor.fetchall():
        user, routine, is_of_superuser = users[0]
        raise PreconditionFailed(
            f"The {user} calls {routine}, which can only be replaced with the database. Nothing was changed.",
            superuser_hint() if is_of_superuser else f"As an administrator: {how_to_replace(cursor)}",
        )
    if publications := fetch_column(cursor, OTHERS_PUBLICATIONS):
        name, role = publications[0], quoted(fetch_value(cursor, "SELECT current_user"))
        raise PreconditionFailed(
            f"The publication {name} publishes tables of the schema public, which a restore replaces, and belongs to"
            " another role. Nothing was changed.",
            f"As an administrator, one of the two: {how_to_replace(cursor)}"
            f" or ALTER PUBLICATION {quoted(name)} OWNER TO {role};",
        )


def publish(cursor: Cursor, *, new: str, old: str) -> None:
    """Publish the tables of the schema `new` instead of those of `old`, as far as they exist."""
    cursor.execute(PUBLISHED, [new, old])
    for publication, table, condition, columns, exists in cursor.fetchall():
        publication_name = sql.Identifier(publication)
        cursor.execute(
            sql.SQL("ALTER PUBLICATION {} DROP TABLE ONLY {}").format(publication_name, sql.Identifier(old, table))
        )
        if exists:
            cursor.execute(
                sql.SQL("ALTER PUBLICATION {} ADD TABLE ONLY {}{}{}").format(
                    publication_name,
                    sql.Identifier(new, table),
                    sql.SQL(f" ({columns})" if columns else ""),
                    sql.SQL(f" WHERE ({condition})" if condition else ""),
                )
            )
