"""Compares values as Django reads them from SQLite and from PostgreSQL."""

import datetime as dt
import numbers
from collections.abc import Callable
from functools import partial
from typing import Any

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper

from ops.engine_migration.types.documents import nested


def conversions(column: "models.Field[Any, Any] | None", wrapper: BaseDatabaseWrapper) -> list[Callable[[Any], Any]]:
    """What Django applies to the values that it reads from the column."""
    if column is None:
        return []
    expression = column.get_col(column.model._meta.db_table)
    found = [*wrapper.ops.get_db_converters(expression), *expression.get_db_converters(wrapper)]
    return [partial(convert, expression=expression, connection=wrapper) for convert in found]


def comparable(value: Any) -> Any:
    """Equal for the same moment and for the same bytes, whatever zone and class they are in."""
    if isinstance(value, dt.datetime) and value.tzinfo:
        return value.astimezone(dt.UTC)
    if isinstance(value, memoryview):
        return bytes(value)
    return tuple(map(comparable, value)) if isinstance(value, tuple) else value


def equal(left: Any, right: Any, *, json: bool = False) -> bool:
    """Whether both are one value of one type. With `json`, numbers have no type but their digits: 1e3 is 1000."""
    try:
        return is_equal(left, right, json=json)
    except RecursionError:
        with nested():
            return is_equal(left, right, json=json)


def is_equal(left: Any, right: Any, *, json: bool) -> bool:
    left, right = comparable(left), comparable(right)
    if json and is_number(left) and is_number(right):
        return as_float(left) == as_float(right)
    if type(left) is not type(right):
        return False
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(is_equal(left[key], right[key], json=json) for key in left)
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(is_equal(*pair, json=json) for pair in zip(left, right, strict=True))
    if hasattr(left, "__dict__") and not any("__eq__" in vars(kind) for kind in type(left).__mro__[:-1]):
        return is_equal(vars(left), vars(right), json=json)
    return bool(left == right)


def written_alike(
    column: "models.Field[Any, Any] | None",
    left: Any,
    right: Any,
    wrapper: BaseDatabaseWrapper,
    *,
    json: bool = False,
) -> bool:
    """Whether the field would write the same for two objects of one class, which need not be comparable."""
    if column is None or type(left) is not type(right):
        return False
    try:
        prepared = [column.get_db_prep_save(value, connection=wrapper) for value in (left, right)]
    except Exception:  # noqa: BLE001 - the project's fields may raise anything
        return False
    return equal(*prepared, json=json)


def is_number(value: Any) -> bool:
    return isinstance(value, numbers.Number) and not isinstance(value, bool)


def as_float(value: Any) -> float:
    try:
        return float(value)
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")
