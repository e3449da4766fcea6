"""The tables whose rows a dump leaves out: found by name, and no table that others refer to."""

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
"""A name means what it means in a query of the site, or the table of ``public``; another schema is named before it."""
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
    """A table as the server names it, and the name under which it was `wanted`."""

    oid: int
    schema: str
    name: str
    wanted: str

    @property
    def title(self) -> str:
        """How manifests call it (see `digests.Table`)."""
        return self.name if self.schema == "public" else f"{self.schema}.{self.name}"

    @property
    def pattern(self) -> str:
        """A pattern of pg_dump that this table alone fits: within quotes no character has a meaning of its own."""
        return f"{quoted(self.schema)}.{quoted(self.name)}"


def find(cursor: Cursor, names: Collection[str]) -> Sequence[NamedTable]:
    """The tables with these names, and those that hold rows for them: partitions, and tables that inherit from them.

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
