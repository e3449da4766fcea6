"""Numbers of rows and content hashes of tables, computed by the server."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from psycopg2.extensions import cursor as Cursor  # noqa: N812

from ops.backups.manifest import TableDigest
from ops.databases.postgres.queries import fetch_column, fetch_row, fetch_value
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
SELECT coalesce(rn.nspname, n.nspname), coalesce(root.relname, c.relname), n.nspname, c.relname,
       coalesce((SELECT e.extcondition[array_position(e.extconfig, c.oid)]
                 FROM pg_extension AS e WHERE c.oid = ANY(e.extconfig)), '') AS condition
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
LEFT JOIN pg_class AS root ON c.relispartition AND root.oid = pg_partition_root(c.oid) AND EXISTS (
    SELECT FROM pg_partition_ancestors(c.oid) AS ancestor JOIN pg_partitioned_table ON partrelid = ancestor
    WHERE (SELECT o.oid FROM pg_opclass AS o JOIN pg_am AS a ON a.oid = opcmethod
           WHERE opcname = 'enum_ops' AND opcnamespace = 'pg_catalog'::regnamespace AND amname = 'hash')
          = ANY(partclass))
LEFT JOIN pg_namespace AS rn ON rn.oid = root.relnamespace
WHERE c.relkind = 'r' AND c.relpersistence <> 't'
  AND n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', %(undo)s, %(aside)s)
  AND (%(only)s::text[] IS NULL
       OR CASE coalesce(rn.nspname, n.nspname) WHEN 'public' THEN '' ELSE coalesce(rn.nspname, n.nspname) || '.' END
          || coalesce(root.relname, c.relname) = ANY(%(only)s))
  AND (NOT EXISTS (SELECT 1 FROM pg_depend AS d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
                   AND d.deptype = 'e')
       OR EXISTS (SELECT 1 FROM pg_extension AS e WHERE c.oid = ANY(e.extconfig)))
ORDER BY pg_relation_size(c.oid) DESC, 1, 2, 3, 4
"""
"""Tables whose rows pg_dump writes, each after the name under which it writes them.

That is the name of another table for partitions by the hash of an enum: of the root of their tree, through which the
rows are loaded. The hash is that of the enum's OIDs, which differ in each database, so that a row may get into another
partition (`forcePartitionRootLoad` in PostgreSQL's pg_dump.c, since 15.3).

The condition is that of an extension's configuration table: ``WHERE …``. `pg_relation_size` waits for the session
that has locked a table, such as a load that is emptying it: only what is asked for is measured.
"""
HASHED_WHOLE = frozenset({"boolean", "bytea", "date", "integer", "smallint", "uuid"})
"""Types whose own hash is of all bits of a value. That of bigint is of 32 of them, and equal numerics have one hash."""
SAME_AS_TEXT = frozenset(
    {"bigint", "character varying", "double precision", "interval", "json", "jsonb", "numeric", "real", "text"}
    | {f"{name} {zone} time zone" for name in ("time", "timestamp") for zone in ("with", "without")}
)
"""Types whose cast to text loses nothing, as that of char(n) does, and calls no function of the database's own."""
COLUMNS = """
SELECT attname, format_type(atttypid, NULL)
FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum
"""
ROW_HASH = "hashtextextended(hash_record_extended(ROW({values}), 0)::text, 0)"
"""The hash of a record is a sum over its values. Hashed again, it shows that two rows have swapped a value."""
NO_ROWS = TableDigest(rows=0, digest="0")


@dataclass(frozen=True)
class Table:
    """A table of any schema."""

    schema: str
    name: str
    parts: tuple["Table", ...] = ()
    """The partitions that have its rows, where these are dumped and loaded under its name."""

    @property
    def qualified_name(self) -> str:
        """The name in manifests (see `dump_reader.table_name`)."""
        return self.name if self.schema == "public" else f"{self.schema}.{self.name}"

    @property
    def quoted(self) -> str:
        """The name in statements, and a pattern of pg_dump that matches only this table."""
        return f"{quoted(self.schema)}.{quoted(self.name)}"


def normalize_output(cursor: Cursor) -> None:
    """Set the parameters that decide about the text of values, until the transaction (in autocommit: session) ends."""
    is_local = not cursor.connection.autocommit
    for name, value in OUTPUT_SETTINGS.items():
        cursor.execute("SELECT set_config(%s, %s, %s)", [name, value, is_local])


def list_tables(cursor: Cursor, only: Collection[str] | None = None) -> dict[Table, str]:
    """All tables under whose names rows are dumped, the largest first.

    Each with the SQL that limits which of its rows are dumped, or ''. `only` are the qualified names of those to list.
    """
    names = None if only is None else list(only)
    cursor.execute(TABLES, {"undo": UNDO_SCHEMA, "aside": ASIDE_SCHEMA, "only": names})
    conditions: dict[Table, str] = {}
    parts: dict[Table, list[Table]] = {}
    for schema, name, own_schema, own_name, condition in cursor.fetchall():
        table, part = Table(schema, name), Table(own_schema, own_name)
        conditions[table] = condition
        parts.setdefault(table, []).extend([part] if part != table else [])
    return {replace(table, parts=tuple(parts[table])): condition for table, condition in conditions.items()}


def read_digests(
    cursor: Cursor,
    *,
    stage: str,
    on_progress: ProgressCallback,
    known: Mapping[str, TableDigest] = MappingProxyType({}),
    only: Collection[str] | None = None,
) -> dict[str, TableDigest]:
    """Rows and digest of every table, or of those in `only`, by qualified name; of those in `known` as they are there.

    The digest is the sum of the rows' 64-bit hashes. It is comparable between servers of all versions and encodings:
    the text of a value is hashed in UTF-8, the encoding of dumps.
    """
    normalize_output(cursor)
    tables = list_tables(cursor, only)
    digests = {}
    for done, (table, condition) in enumerate(tables.items()):
        name = table.qualified_name
        on_progress(Progress(stage=stage, item=name, done=done, total=len(tables)))
        digests[name] = known.get(name) or read_digest(cursor, table, condition)
    return dict(sorted(digests.items()))


def read_digest(cursor: Cursor, table: Table, condition: str) -> TableDigest:
    hashes, source = row_hash(cursor, table), source_of(cursor, table)
    rows, digest = fetch_row(
        cursor, f"SELECT count(*), coalesce(sum({hashes}), 0)::text FROM {source} AS r {condition}"
    )
    return TableDigest(rows=rows, digest=digest)


def source_of(cursor: Cursor, table: Table) -> str:
    """The rows of `table` without those of tables that inherit from it; or those of its parts."""
    if not table.parts:
        return f"ONLY {table.quoted}"
    # The columns may have another order in a partition.
    columns = ", ".join(quoted(name) for name in fetch_column(cursor, COLUMNS, [table.quoted]))
    return f"({' UNION ALL '.join(f'SELECT {columns} FROM ONLY {part.quoted}' for part in table.parts)})"


def row_hash(cursor: Cursor, table: Table) -> str:
    """The hash of the row `r` of `table`. Value by value it takes half the time of the text of the whole row."""
    is_utf8 = fetch_value(cursor, "SHOW server_encoding") == "UTF8"
    cursor.execute(COLUMNS, [table.quoted])
    values = (hashed_value(f"r.{quoted(name)}", type_, is_utf8=is_utf8) for name, type_ in cursor.fetchall())
    return ROW_HASH.format(values=", ".join(values))


def hashed_value(column: str, type_: str, *, is_utf8: bool) -> str:
    """What is hashed of a column: the value, or its text. An empty search path is set, so `type_` is of pg_catalog."""
    if type_ in HASHED_WHOLE:
        return column
    text = f"{column}::text" if type_ in SAME_AS_TEXT else f"ROW({column})::text"
    # In another encoding UTF-8 is no text but bytes, which have the same hash.
    return f'{text} COLLATE "C"' if is_utf8 else f"convert_to({text}, 'UTF8')"


def has_table(cursor: Cursor, name: str) -> bool:
    return fetch_value(cursor, "SELECT to_regclass(%s) IS NOT NULL", [name]) is True
