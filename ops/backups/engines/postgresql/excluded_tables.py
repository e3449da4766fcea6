"""Tables whose rows a dump leaves out: found by name, and refused where other tables refer to them."""

from collections.abc import Collection, Mapping

from psycopg2.extensions import cursor as Cursor  # noqa: N812

from ops.backups.engines.postgresql.table_digests import ASIDE_SCHEMA, UNDO_SCHEMA, Table
from ops.backups.table_policy import cannot_exclude

NAMED = """
SELECT c.oid, wanted.name
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace JOIN unnest(%s::text[]) AS wanted(name)
    ON c.relname = wanted.name AND (n.nspname = 'public' OR c.oid = to_regclass(quote_ident(wanted.name)))
    OR n.nspname || '.' || c.relname = wanted.name
WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't'
"""
"""A name means the table that a query of the site finds, or that of ``public``; others are ``schema.table``."""
FIND = f"""
WITH RECURSIVE found(oid, name) AS (
    {NAMED} UNION SELECT inhrelid, found.name FROM pg_inherits JOIN found ON inhparent = found.oid
)
SELECT DISTINCT ON (c.oid) c.oid, n.nspname, c.relname, found.name
FROM found JOIN pg_class AS c ON c.oid = found.oid JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', %s, %s) ORDER BY c.oid, found.name
"""
REFERENCES = """
SELECT DISTINCT conrelid::regclass::text, confrelid::regclass::text FROM pg_constraint
WHERE contype = 'f' AND confrelid = ANY(%s::oid[]) AND conrelid <> ALL(%s::oid[]) ORDER BY 1, 2
"""


def find(cursor: Cursor, names: Collection[str]) -> Mapping[Table, str]:
    """The tables with these `names`, their partitions and the tables that inherit from them, each with its name there.

    Raises PreconditionFailed when another table refers to one of them.
    """
    cursor.execute(FIND, [list(names), UNDO_SCHEMA, ASIDE_SCHEMA])
    found = cursor.fetchall()
    oids = [oid for oid, *_ in found]
    cursor.execute(REFERENCES, [oids, oids])
    if references := cursor.fetchall():
        raise cannot_exclude(*references[0])
    return {Table(schema, name): wanted for _, schema, name, wanted in found}
