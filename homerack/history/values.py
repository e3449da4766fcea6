"""Values of rows as texts for users: labels of choices, names of related rows, no keys."""

import datetime as dt
import json
from collections.abc import Iterable, Mapping
from typing import Any

from django.db import models
from django.utils import formats, timezone

EMPTY = "–"
GONE = "a deleted row"
"""What is said for a related row that neither the tables nor the history have."""


def text_of(field: "models.Field[Any, Any]", value: Any, names: Mapping[Any, str]) -> str:
    """`value` of `field`. `names` are those of the rows that a foreign key refers to, by key."""
    if value is None or value == "":
        return EMPTY
    if field.is_relation:
        return names.get(value, GONE)
    if field.flatchoices:
        return str(dict(field.flatchoices).get(value, value))
    return plain_text(value)


def plain_text(value: Any) -> str:
    """A value without a field: dates as all pages show them, numbers without a superfluous ``.0``, JSON in one line."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return repr(value).removesuffix(".0")
    if isinstance(value, dt.datetime):
        return formats.date_format(timezone.localtime(value), "DATETIME_FORMAT")
    if isinstance(value, dt.date):
        return formats.date_format(value, "DATE_FORMAT")
    if is_counts(value):
        return ", ".join(f"{count} × {kind}" for kind, count in sorted(value.items())) or EMPTY
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return ", ".join(value) or EMPTY
    if isinstance(value, (dict, list)):
        return json.dumps(value, ensure_ascii=False, sort_keys=True)
    return str(value)


def is_counts(value: Any) -> bool:
    """Whether it is like the ports of a model: ``{"sfp": 4}``."""
    return isinstance(value, dict) and all(type(count) is int for count in value.values())


def shorten(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[:limit].rstrip()}…"


def keys_of(field: "models.Field[Any, Any]", rows: Iterable[Any]) -> set[Any]:
    """The keys that a foreign key of `rows` has."""
    return {key for row in rows if (key := getattr(row, field.attname)) is not None}
