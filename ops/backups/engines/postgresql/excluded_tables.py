"""Tables whose rows a dump leaves out: found by name, and refused where other tables refer to them."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from psycopg2.extensions import cursor as Cursor  # noqa: N812

from ops.backups.engines.postgresql.table_digests import ASIDE_SCHEMA, UNDO_SCHEMA
from ops.backups.table_policy import cannot_exclude
from ops.utils.identifiers import quoted

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


@dataclass(frozen=True, kw_only=True)
class NamedTable:
    """A table, and the name by which it was `wanted`."""

    oid: int
    schema: str
    name: str
    wanted: str

    @property
    def qualified_name(self) -> str:
        """The name in manifests (see `dump_reader.table_name`)."""
        return self.name if self.schema == "public" else f"{self.schema}.{self.name}"

    @property
    def pattern(self) -> str:
        """A pattern of pg_dump that matches only this table: quoted characters have no special meaning."""
        return f"{quoted(self.schema)}.{quoted(self.name)}"


def find(cursor: Cursor, names: Collection[str]) -> Sequence[NamedTable]:
    """The tables with these names, with their partitions and the tables that inherit from them.

    Raises PreconditionFailed when another table refers to one of them.
    """
    cursor.execute(FIND, [list(names), UNDO_SCHEMA, ASIDE_SCHEMA])
    tables = [
        NamedTable(oid=oid, schema=schema, name=name, wanted=wanted) for oid, schema, name, wanted in cursor.fetchall()
    ]
    oids = [table.oid for table in tables]
    cursor.execute(REFERENCES, [oids, oids])
    if references := cursor.fetchall():
        raise cannot_exclude(*references[0])
    return tables
