"""The constraints of the target's tables, as SQL that SQLite can evaluate beforehand."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.expressions import OrderBy
from django.db.models.sql import Query

from ops.engine_migration.names import table_in_postgres


@dataclass(frozen=True, kw_only=True)
class Reference:
    """`column` of a table refers to `target_column` of `target`; the database enforces it."""

    column: str
    target: str
    target_column: str
    collation: str = ""
    """By which the file compares the target's values, where that is not byte by byte."""


@dataclass(frozen=True, kw_only=True)
class RowCheck:
    """A CHECK constraint: `sql` over the table's columns must not be false."""

    name: str
    sql: str


@dataclass(frozen=True, kw_only=True)
class Unique:
    """Rows for which `where` holds must differ in `expressions`; NULLs differ from each other if `nulls_distinct`."""

    name: str
    columns: tuple[str, ...]
    expressions: tuple[str, ...]
    where: str = ""
    nulls_distinct: bool = True
    enforced_by_source: bool = False
    """A unique index of the file enforces it, as long as each value has one text."""


def untyped(owner: object, name: str) -> Any:
    """An attribute that Django has and its type stubs do not declare."""
    return getattr(owner, name)


def find_references(model: type[models.Model]) -> Iterable[Reference]:
    for column in model._meta.local_concrete_fields:
        if isinstance(column, models.ForeignKey) and getattr(column, "db_constraint", True):
            yield Reference(
                column=column.column,
                target=table_in_postgres(column.target_field.model),
                target_column=column.target_field.column,
            )


def find_row_checks(model: type[models.Model], sqlite: BaseDatabaseWrapper) -> Iterable[RowCheck]:
    editor = sqlite.SchemaEditorClass(sqlite, collect_sql=True)
    for constraint in model._meta.constraints:
        if isinstance(constraint, models.CheckConstraint):
            yield RowCheck(name=constraint.name, sql=untyped(constraint, "_get_check_sql")(model, editor))


def find_unique(model: type[models.Model], sqlite: BaseDatabaseWrapper) -> Iterable[Unique]:
    """Every unique rule of the model's table, primary key first."""
    meta = model._meta
    yield plain_unique("primary key", tuple(column.column for column in meta.pk_fields))
    for column in meta.local_concrete_fields:
        if column.unique and not column.primary_key:
            yield plain_unique(column.column, (column.column,))
    for names in meta.unique_together:
        yield plain_unique(", ".join(names), columns_of(model, names))
    for constraint in meta.constraints:
        if isinstance(constraint, models.UniqueConstraint):
            yield declared_unique(model, constraint, sqlite)


def columns_of(model: type[models.Model], names: Iterable[str]) -> tuple[str, ...]:
    return tuple(str(untyped(model._meta.get_field(name), "column")) for name in names)


def plain_unique(name: str, columns: tuple[str, ...]) -> Unique:
    return Unique(name=name, columns=columns, expressions=tuple(f'"{column}"' for column in columns))


def declared_unique(
    model: type[models.Model], constraint: models.UniqueConstraint, sqlite: BaseDatabaseWrapper
) -> Unique:
    """A UniqueConstraint with its expressions and condition in SQLite's SQL."""
    editor = sqlite.SchemaEditorClass(sqlite, collect_sql=True)
    columns = columns_of(model, constraint.fields)
    expressions = tuple(f'"{column}"' for column in columns)
    if constraint.expressions:
        query = Query(model=model, alias_cols=False)
        compiler = query.get_compiler(connection=sqlite)
        resolved = [
            untyped(expression, "resolve_expression")(query, allow_joins=False) for expression in constraint.expressions
        ]
        bare = [item.expression if isinstance(item, OrderBy) else item for item in resolved]
        compiled = [compiler.compile(item) for item in bare]
        expressions = tuple(sql % tuple(editor.quote_value(param) for param in params) for sql, params in compiled)
    return Unique(
        name=constraint.name,
        columns=columns,
        expressions=expressions,
        where=untyped(constraint, "_get_condition_sql")(model, editor) or "",
        nulls_distinct=constraint.nulls_distinct is not False,
    )
