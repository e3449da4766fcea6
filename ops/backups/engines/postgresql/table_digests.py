"""Numbers of rows and content hashes of tables, computed by the server."""

from collections.abc import Collection
from dataclasses import dataclass

from psycopg2.extensions import cursor as Cursor  # noqa: N812

from ops.backups.manifest import TableDigest
from ops.databases.postgres.queries import fetch_row, fetch_value
from ops.utils.identifiers import quoted
from ops.utils.progress import Progress, ProgressCallback

UNDO_SCHEMA = "ops_undo"
"""The previous schema after a schema swap; it is in no backup."""
ASIDE_SCHEMA = "ops_aside"
"""The live schema ``public`` during a schema swap."""
OUTPUT_SETTINGS = {
    "datestyle": "ISO, YMD",
    "timezone": "UTC",
    "intervalstyle": "postgres",
    "extra_float_digits": "3",
    "bytea_output": "hex",
    "xmloption": "content",
    "lc_monetary": "C",
    "search_path": "",
    "row_security": "off",
}
"""Settings of the transaction, with which equal rows have equal text in every session."""
TABLES = """
SELECT n.nspname, c.relname,
       coalesce((SELECT e.extcondition[array_position(e.extconfig, c.oid)]
                 FROM pg_extension AS e WHERE c.oid = ANY(e.extconfig)), '') AS condition
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND c.relpersistence <> 't'
  AND n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', %s, %s)
  AND (NOT EXISTS (SELECT 1 FROM pg_depend AS d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
                   AND d.deptype = 'e')
       OR EXISTS (SELECT 1 FROM pg_extension AS e WHERE c.oid = ANY(e.extconfig)))
ORDER BY pg_relation_size(c.oid) DESC, 1, 2
"""
"""Tables whose rows pg_dump writes. The condition is that of an extension's configuration table: ``WHERE …``."""
HASH = "hashtextextended((r.*)::text, 0)"
HASH_CONVERTED = "hash_record_extended(ROW(convert_to((r.*)::text, 'UTF8')), 0)"
"""The same number for the same text, in a database of another encoding, where UTF-8 is no text but bytes."""


NO_ROWS = TableDigest(rows=0, digest="0")


@dataclass(frozen=True)
class Table:
    """A table of any schema."""

    schema: str
    name: str

    @property
    def qualified_name(self) -> str:
        """The name in manifests (see `dump_reader.table_name`)."""
        return self.name if self.schema == "public" else f"{self.schema}.{self.name}"

    @property
    def quoted(self) -> str:
        """The name in statements, and a pattern of pg_dump that matches only this table."""
        return f"{quoted(self.schema)}.{quoted(self.name)}"


def normalize_output(cursor: Cursor) -> None:
    """Set the parameters that decide about the text of values, until the transaction ends."""
    for name, value in OUTPUT_SETTINGS.items():
        cursor.execute("SELECT set_config(%s, %s, true)", [name, value])


def list_tables(cursor: Cursor) -> dict[Table, str]:
    """All tables with rows of their own, the largest first, with the SQL that limits which rows are dumped, or ''."""
    cursor.execute(TABLES, [UNDO_SCHEMA, ASIDE_SCHEMA])
    return {Table(schema, name): condition for schema, name, condition in cursor.fetchall()}


def read_digests(
    cursor: Cursor, *, stage: str, on_progress: ProgressCallback, excluded: Collection[str] = ()
) -> dict[str, TableDigest]:
    """Rows and digest of every table, by qualified name. The digest is the sum of the rows' 64-bit hashes.

    Tables in `excluded` count as empty. Digests are comparable between servers of all versions and encodings: the text
    of a row is hashed in UTF-8, the encoding of dumps.
    """
    normalize_output(cursor)
    row_hash = HASH if fetch_value(cursor, "SHOW server_encoding") == "UTF8" else HASH_CONVERTED
    tables = list_tables(cursor)
    digests = {}
    for done, (table, condition) in enumerate(tables.items()):
        name = table.qualified_name
        on_progress(Progress(stage=stage, item=name, done=done, total=len(tables)))
        digests[name] = NO_ROWS if name in excluded else read_digest(cursor, table, condition, row_hash)
    return dict(sorted(digests.items()))


def read_digest(cursor: Cursor, table: Table, condition: str, row_hash: str) -> TableDigest:
    rows, digest = fetch_row(
        cursor, f"SELECT count(*), coalesce(sum({row_hash}), 0)::text FROM ONLY {table.quoted} AS r {condition}"
    )
    return TableDigest(rows=rows, digest=digest)


def has_table(cursor: Cursor, name: str) -> bool:
    return fetch_value(cursor, "SELECT to_regclass(%s) IS NOT NULL", [name]) is True
