"""The tables as Django's migrations have made them in PostgreSQL, which may not be what the models declare."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import groupby

from psycopg2.extensions import cursor as Cursor  # noqa: N812

from ops.engine_migration.names import in_postgres
from ops.engine_migration.plan import ColumnPlan, TablePlan
from ops.engine_migration.types import GENERIC, is_same_type
from ops.errors import PreconditionFailed

COLUMNS = """
SELECT relname, relkind::text, attname, format_type(atttypid, atttypmod), attgenerated <> '',
       attnotnull AND NOT atthasdef AND attidentity = ''
FROM pg_class AS relation JOIN pg_attribute ON attrelid = relation.oid
WHERE relnamespace = quote_ident(current_schema())::regnamespace AND relname = ANY(%s)
      AND attnum > 0 AND NOT attisdropped
ORDER BY relname, attnum
"""
SEARCH_VECTOR = "tsvector"


@dataclass(frozen=True, kw_only=True)
class CatalogColumn:
    """A column of PostgreSQL. `needed`: each row must have a value for it."""

    name: str
    type: str
    generated: bool
    needed: bool


@dataclass(frozen=True, kw_only=True)
class CatalogTable:
    """A table of PostgreSQL with its columns by name; `kind` is ``r``, ``p`` (partitioned) or ``f`` (foreign)."""

    kind: str
    columns: Mapping[str, CatalogColumn]


def read_tables(cursor: Cursor, names: Iterable[str]) -> dict[str, CatalogTable]:
    """Those of the current schema."""
    cursor.execute(COLUMNS, [list(names)])
    return {
        name: CatalogTable(
            kind=kind,
            columns={
                column: CatalogColumn(name=column, type=db_type, generated=generated, needed=needed)
                for _, _, column, db_type, generated, needed in rows
            },
        )
        for (name, kind), rows in groupby(cursor.fetchall(), key=lambda row: row[:2])
    }


def match_catalog(cursor: Cursor, tables: Iterable[TablePlan]) -> tuple[TablePlan, ...]:
    """`tables` with the types that their columns have in PostgreSQL. Raises PreconditionFailed if they do not fit."""
    tables = tuple(tables)
    found = read_tables(cursor, [table.name for table in tables])
    matched = match_tables(tables, found)
    for table in matched:
        known = {in_postgres(column.name) for column in table.columns}
        for column in found[table.name].columns.values():
            if column.needed and column.name not in known and table.rows:
                raise mismatch(
                    table,
                    f"In PostgreSQL, the table {table.name} has the column {column.name}, which must not be NULL and"
                    " which the file does not have.",
                )
    return matched


def match_tables(tables: Iterable[TablePlan], found: Mapping[str, CatalogTable]) -> tuple[TablePlan, ...]:
    """As `match_catalog`, for tables of PostgreSQL that were read; the file need not have all of their columns."""
    return tuple(match_table(table, found.get(table.name)) for table in tables)


def match_table(table: TablePlan, found: CatalogTable | None) -> TablePlan:
    if found is None:
        raise mismatch(table, f"The migrations create no table {table.name} in PostgreSQL, and the file has it.")
    columns = tuple(match_column(table, column, found) for column in table.columns)
    return replace(table, columns=columns, partitioned=found.kind == "p")


def match_column(table: TablePlan, column: ColumnPlan, found: CatalogTable) -> ColumnPlan:
    actual = found.columns.get(in_postgres(column.name))
    if actual is None:
        raise mismatch(table, f"In PostgreSQL, the table {table.name} has no column {column.name}; the file has it.")
    if actual.type == SEARCH_VECTOR != column.db_type:
        raise mismatch(
            table,
            f"In PostgreSQL, the column {column.name} of the table {table.name} is a search vector, which PostgreSQL"
            " makes of a text; the file has another value.",
        )
    kind = column.type if is_same_type(column.db_type, actual.type) else GENERIC
    return replace(column, type=kind, db_type=actual.type, generated=actual.generated)


def mismatch(table: TablePlan, message: str) -> PreconditionFailed:
    return PreconditionFailed(
        f"{message} Nothing was changed.",
        f"Correct the migrations, or skip the table and fill it in PostgreSQL: --skip-table {table.source}",
    )
