"""Names of tables and columns: SQLite ignores the case of ASCII letters, PostgreSQL cuts names to 63 bytes."""

import string
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from django.db import models
from django.db.backends.utils import strip_quotes, truncate_name
from django.db.models.sql.datastructures import BaseTable

from ops.errors import PreconditionFailed

LONGEST = 63
"""Bytes of a name in PostgreSQL."""
SYSTEM_COLUMNS = frozenset({"cmax", "cmin", "ctid", "tableoid", "xmax", "xmin"})
"""Every table of PostgreSQL has them."""
LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)
RENAME_ONE = "Rename it in the model (db_table, db_column), and migrate the file with Django first."
RENAME = "Rename one of them in the models (db_table, db_column), and migrate the file with Django first."


def folded(name: str) -> str:
    """The same for all names that are one to SQLite."""
    return name.translate(LOWER)


def in_postgres(name: str) -> str:
    """What PostgreSQL makes of `name`."""
    return name.encode()[:LONGEST].decode(errors="ignore")


def table_in_sqlite(model: type[models.Model]) -> str:
    return table_name(model, None)


def table_in_postgres(model: type[models.Model]) -> str:
    return in_postgres(table_name(model, LONGEST))


def table_name(model: type[models.Model], longest: int | None) -> str:
    """The name of the model's table where names have at most `longest` characters.

    Django has shortened it for the database that was "default" when the models were imported.
    """
    actual = strip_quotes(model._meta.db_table)
    names = {limit: default_name(model, limit) for limit in (None, LONGEST)}
    return names[longest] if actual in names.values() else actual


def default_name(model: type[models.Model], longest: int | None) -> str:
    """The name that Django gives to the model's table; '' if the model names it."""
    if field := automatic_field(model):
        name = f"{table_name(field.model, longest)}_{field.name}"
    elif "db_table" in model._meta.original_attrs:
        return ""
    else:
        name = f"{model._meta.app_label}_{model._meta.model_name}"
    return truncate_name(name, longest)


def automatic_field(model: type[models.Model]) -> Any:
    """The many-to-many field for which Django made this model and named its table; None for any other model."""
    owner: Any = model._meta.auto_created
    if not owner:
        return None
    fields = (field for field in owner._meta.local_many_to_many if field.remote_field.through is model)
    return next((field for field in fields if not field.db_table), None)


def rows_in(table: str, model: type[models.Model]) -> "models.QuerySet[models.Model, Any]":
    """The rows of `table`, which is the model's with the name that it has in the database "default".

    Not by the model's managers, which may hide rows.
    """
    query: models.QuerySet[models.Model, models.Model] = models.QuerySet(model, using="default").order_by()
    alias = query.query.get_initial_alias()
    query.query.alias_map[alias] = BaseTable(table, alias)
    return query


def check_names(found: Iterable[type[models.Model]]) -> None:
    """Raises PreconditionFailed for names of tables or columns that one of the databases cannot keep apart."""
    tables = {}
    for model in found:
        tables[table_in_sqlite(model)] = table_in_postgres(model)
        columns = {column.column: in_postgres(column.column) for column in model._meta.local_concrete_fields}
        check_distinct(columns, f"columns of {model._meta.label}")
        if broken := [name for name in (table_in_sqlite(model), *columns) if "%" in name]:
            raise PreconditionFailed(
                f"{model._meta.label} has the name {broken[0]}, and Django cannot read names with a % from PostgreSQL,"
                " where it begins a parameter.",
                RENAME_ONE,
            )
        if taken := SYSTEM_COLUMNS.intersection(columns):
            raise PreconditionFailed(
                f"{model._meta.label} has a column {min(taken)}, and PostgreSQL has a system column of that name in"
                " every table.",
                RENAME_ONE,
            )
    check_distinct(tables, "tables")


def check_distinct(names: Mapping[str, str], what: str) -> None:
    """`names`: those in SQLite, and what they are in PostgreSQL."""
    for same, where in ((folded, "SQLite, which ignores case"), (names.get, "PostgreSQL, which keeps 63 bytes")):
        if pair := first_pair(names, same):
            raise PreconditionFailed(f"The {what} {pair[0]} and {pair[1]} have one name in {where}.", RENAME)


def first_pair(names: Iterable[str], same: Callable[[str], str | None]) -> tuple[str, str] | None:
    """The first two of which `same` makes one."""
    seen: dict[str | None, str] = {}
    for name in names:
        if (other := seen.setdefault(same(name), name)) != name:
            return other, name
    return None
