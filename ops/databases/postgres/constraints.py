"""Indexes and keys of tables: dropped before a bulk load and built again afterwards."""

from collections.abc import Sequence
from dataclasses import dataclass

from psycopg2 import errors
from psycopg2.extensions import cursor as Cursor  # noqa: N812

from ops.databases.postgres.savepoints import savepoint
from ops.utils.identifiers import quoted

NAMES = (
    "ARRAY(SELECT attname::text FROM unnest({numbers}) WITH ORDINALITY AS listed(number, position)"
    " JOIN pg_attribute ON attrelid = {table} AND attnum = number ORDER BY position)"
)
MARKS = """ARRAY(
  SELECT statement FROM pg_index AS marked JOIN pg_class AS i ON i.oid = indexrelid
  CROSS JOIN LATERAL (
    SELECT format('ALTER INDEX %%s SET TABLESPACE %%I', i.oid::regclass, spcname) FROM pg_tablespace AS t
    WHERE t.oid = reltablespace
    UNION ALL SELECT format('ALTER INDEX %%s ALTER %%s SET STATISTICS %%s', i.oid::regclass, attnum, attstattarget)
    FROM pg_attribute WHERE attrelid = i.oid AND attstattarget >= 0
    UNION ALL SELECT format('COMMENT ON INDEX %%s IS %%L', i.oid::regclass, obj_description(i.oid, 'pg_class'))
    WHERE obj_description(i.oid, 'pg_class') IS NOT NULL
    UNION ALL SELECT format('ALTER TABLE %%s CLUSTER ON %%I', indrelid::regclass, i.relname) WHERE indisclustered
    UNION ALL SELECT format('ALTER TABLE %%s REPLICA IDENTITY USING INDEX %%I', indrelid::regclass, i.relname)
    WHERE indisreplident) AS mark(statement)
  WHERE indexrelid = {index})"""
"""Statements for what pg_get_indexdef leaves out."""
COMMENTS = """ARRAY(
  SELECT format('COMMENT ON CONSTRAINT %%I ON %%s IS %%L', conname, conrelid::regclass, description)
  FROM pg_description WHERE classoid = 'pg_constraint'::regclass AND objoid = con.oid)"""
CONSTRAINTS = (
    "SELECT relation.relname, conname, contype::text, pg_get_constraintdef(con.oid), target.relname,"
    f" {NAMES.format(numbers='conkey', table='conrelid')}, {NAMES.format(numbers='confkey', table='confrelid')},"
    f" {COMMENTS} || {MARKS.format(index='nullif(conindid, CASE contype WHEN $$f$$ THEN conindid END)')}"
    " FROM pg_constraint AS con JOIN pg_class AS relation ON relation.oid = conrelid"
    " LEFT JOIN pg_class AS target ON target.oid = confrelid"
    " WHERE con.connamespace = quote_ident(current_schema())::regnamespace AND contype IN ('p', 'u', 'x', 'f')"
    " AND conparentid = 0"
    " AND (relation.relname = ANY(%s) OR target.relname = ANY(%s)) ORDER BY relation.relname, contype, conname"
)
"""Without those of partitions, which come and go with that of their parent."""
INDEXES = (
    "SELECT relation.relname, class.relname,"
    " CASE class.relkind WHEN 'I' THEN regexp_replace(pg_get_indexdef(indexrelid), ' ON ONLY ', ' ON ')"
    " ELSE pg_get_indexdef(indexrelid) END,"
    f" {NAMES.format(numbers='indkey', table='indrelid')}, {MARKS.format(index='class.oid')}"
    " FROM pg_index JOIN pg_class AS class ON class.oid = indexrelid"
    " JOIN pg_class AS relation ON relation.oid = indrelid"
    " WHERE class.relnamespace = quote_ident(current_schema())::regnamespace AND relation.relname = ANY(%s)"
    " AND NOT EXISTS (SELECT 1 FROM pg_constraint WHERE conindid = indexrelid AND contype IN ('p', 'u', 'x'))"
    " AND NOT EXISTS (SELECT 1 FROM pg_inherits WHERE inhrelid = indexrelid) ORDER BY 1, 2"
)
"""Those of partitions come and go with that of their parent, for which pg_get_indexdef writes ONLY."""


@dataclass(frozen=True, kw_only=True)
class DroppableObject:
    """An index or constraint of `columns`: how to drop and create it.

    A foreign key refers to `target_columns` of another table, which it also locks: the only one in `others`.
    """

    table: str
    name: str
    drop: str
    create: str
    columns: tuple[str, ...]
    others: tuple[str, ...] = ()
    target_columns: tuple[str, ...] = ()
    marks: tuple[str, ...] = ()
    """Statements for comments, tablespaces and the like, after all are created: some lock the table."""


@dataclass(frozen=True, kw_only=True)
class IndexesAndKeys:
    """All of the tables' indexes and constraints: `keys` first need their `indexes`."""

    indexes: tuple[DroppableObject, ...]
    keys: tuple[DroppableObject, ...]


def read_indexes_and_keys(cursor: Cursor, tables: Sequence[str]) -> IndexesAndKeys:
    """Foreign keys of and to `tables`, their other constraints that make an index, and their other indexes."""
    cursor.execute(CONSTRAINTS, [list(tables), list(tables)])
    constraints = [
        (
            kind,
            DroppableObject(
                table=table,
                name=name,
                columns=tuple(columns),
                others=(target,) if target else (),
                target_columns=tuple(target_columns),
                marks=tuple(marks),
                **constraint_sql(table, name, text),
            ),
        )
        for table, name, kind, text, target, columns, target_columns, marks in cursor.fetchall()
    ]
    cursor.execute(INDEXES, [list(tables)])
    indexes = [
        DroppableObject(
            table=table,
            name=name,
            columns=tuple(columns),
            marks=tuple(marks),
            drop=f"DROP INDEX {quoted(name)}",
            create=text,
        )
        for table, name, text, columns, marks in cursor.fetchall()
    ]
    unique = [part for kind, part in constraints if kind != "f"]
    return IndexesAndKeys(indexes=(*unique, *indexes), keys=tuple(part for kind, part in constraints if kind == "f"))


def constraint_sql(table: str, name: str, text: str) -> dict[str, str]:
    alter = f"ALTER TABLE {quoted(table)}"
    return {
        "drop": f"{alter} DROP CONSTRAINT {quoted(name)}",
        "create": f"{alter} ADD CONSTRAINT {quoted(name)} {text}",
    }


def drop_indexes_and_keys(cursor: Cursor, parts: IndexesAndKeys) -> IndexesAndKeys:
    """Drop them in the cursor's transaction, and return the dropped ones. One that a view needs is not dropped."""
    dropped_keys = drop_objects(cursor, parts.keys)
    return IndexesAndKeys(indexes=drop_objects(cursor, parts.indexes), keys=dropped_keys)


def drop_objects(cursor: Cursor, parts: tuple[DroppableObject, ...]) -> tuple[DroppableObject, ...]:
    """Drop those on which nothing else depends, and return them: all in one statement, else in halves."""
    if not parts:
        return ()
    try:
        with savepoint(cursor):
            cursor.execute("; ".join(part.drop for part in parts))
    except errors.DependentObjectsStillExist:
        middle = len(parts) // 2
        return (*drop_objects(cursor, parts[:middle]), *drop_objects(cursor, parts[middle:])) if middle else ()
    return parts


def restore_marks(cursor: Cursor, parts: IndexesAndKeys) -> None:
    """Give them the comments, tablespaces, statistics targets and marks that they had before they were dropped."""
    for part in (*parts.indexes, *parts.keys):
        for statement in part.marks:
            cursor.execute(statement)


def lock_tables(cursor: Cursor, part: DroppableObject) -> None:
    """Lock the tables of a foreign key, always in the same order, to avoid deadlocks."""
    names = sorted({part.table, *part.others})
    cursor.execute(f"LOCK TABLE {', '.join(map(quoted, names))} IN SHARE ROW EXCLUSIVE MODE")
