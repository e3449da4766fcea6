"""SQL of PostgreSQL for the keys and values of a migrated table."""

from collections.abc import Sequence

from psycopg2.extensions import cursor as Cursor  # noqa: N812

from ops.engine_migration.plan import ColumnPlan, TablePlan
from ops.utils.identifiers import quoted

Key = tuple[str, ...]
"""The texts of the columns of a primary key, as PostgreSQL writes them."""


def all_but(cursor: Cursor, table: TablePlan, keys: Sequence[Key]) -> str:
    """SQL of PostgreSQL that is false for the rows with these `key_texts`."""
    if not keys:
        return "true"
    listed = b", ".join(cursor.mogrify("%s", [key]) for key in keys).decode()
    return f"({key_texts(table)}) NOT IN (VALUES {listed})"


def key_texts(table: TablePlan) -> str:
    """SQL of PostgreSQL for the texts of a row's primary key."""
    return ", ".join(key_text(table.column(name)) for name in table.key)


def key_text(column: ColumnPlan) -> str:
    return column.type.key_text.format(c=quoted(column.name)) or target_text(column)


def key_order(table: TablePlan) -> str:
    """SQL of PostgreSQL to sort by the primary key, also where a column of the result has the name of a key."""
    return ", ".join(f"{quoted(table.name)}.{quoted(name)}" for name in table.key)


def target_text(column: ColumnPlan) -> str:
    return column.type.target_text.format(c=quoted(column.name))


def target_key(column: ColumnPlan) -> str:
    """SQL of PostgreSQL to sort by, with the same order as in SQLite: of the type, or of the bytes of its text."""
    if column.type.native_order:
        return quoted(column.name)
    return f'({target_text(column)}) COLLATE "C"'


def value_in_line(column: ColumnPlan) -> str:
    """PostgreSQL: the same text as `SourceTable.value_in_line`."""
    if column.type.document or column.type.floating:
        return f"({quoted(column.name)} IS NULL)::int"
    text = target_text(column)
    return f"coalesce('=' || {text}, '')" if column.null else text
