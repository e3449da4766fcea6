"""What Django reads of the rows of a project, and how it differs between two databases."""

import datetime as dt
import json
from collections.abc import Sequence
from typing import Any

from django.apps import apps
from django.db import connection
from django.db.models import Model
from psycopg2.extras import Range

NOT_COMPARED = {"auth", "contenttypes", "ops"}


def differences(ours: dict[str, Any], theirs: dict[str, Any], not_compared: Sequence[str] = ()) -> list[str]:
    found = []
    for label, rows in ours.items():
        if label in not_compared:
            continue
        # A model may exist in one kind of database only.
        others = theirs.get(label, rows)
        if len(rows) != len(others):
            found.append(f"{label}: {len(rows)} rows became {len(others)}")
        found += [f"{label}: {row} became {other}" for row, other in zip(rows, others, strict=False) if row != other]
    return found


def compared_models() -> list[type[Model]]:
    return [
        model
        for model in apps.get_models(include_auto_created=True)
        if model._meta.app_label not in NOT_COMPARED and not model._meta.proxy and model._meta.managed
    ]


def read_all() -> dict[str, list[Any]]:
    """By model, what Django reads of each row; the error where it cannot."""
    found: dict[str, list[Any]] = {}
    for model in compared_models():
        rows: list[Any] = []
        try:
            # The databases may order keys differently.
            rows += sorted(map(read, model._base_manager.order_by("pk").iterator()), key=str)
        except Exception as error:  # noqa: BLE001  # equal if both sides have it
            rows.append(f"{type(error).__name__}: {error}".strip())
        found[model._meta.label] = rows
    return found


def read(row: Model) -> dict[str, str]:
    found = {field.attname: canonical(getattr(row, field.attname)) for field in row._meta.concrete_fields}
    odd = [field for field in row._meta.concrete_fields if " at 0x" in found[field.attname]]
    return found | {field.attname: serialized(field, row) for field in odd}


def serialized(field: Any, row: Model) -> str:
    """An object whose text is its address in memory, as a serializer writes it: often in JSON."""
    text = field.value_to_string(row)
    try:
        return canonical(json.loads(text))
    except ValueError:
        return str(text)


def canonical(value: Any) -> str:
    """Equal for what is equal to Python and of the same type: dicts in any order; 1, 1.0 and True differ."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key!r}: {canonical(entry)}" for key, entry in sorted(value.items())) + "}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(canonical, value))}]"
    if isinstance(value, Range):  # SQLite has the zone that was written, PostgreSQL that of the session
        ends = [
            end.astimezone(dt.UTC) if isinstance(end, dt.datetime) and end.tzinfo else end
            for end in (value.lower, value.upper)
        ]
        return f"{type(value).__name__}{value._bounds}{canonical(ends)}"
    return repr(bytes(value)) if isinstance(value, memoryview) else repr(value)


def stored_differences(cursor: Any, model: type[Model]) -> list[str]:
    """The columns in which the two files have values of other types."""
    table, found = connection.ops.quote_name(model._meta.db_table), []
    for field in model._meta.local_concrete_fields:
        column = connection.ops.quote_name(field.column)
        ours, home = (
            cursor.execute(
                f"SELECT typeof({column}), count(*) FROM {name}.{table} GROUP BY 1 ORDER BY 1".replace("%", "%%"), []
            ).fetchall()
            for name in ("first", "main")
        )
        if ours != home:
            found.append(f"{model._meta.label}.{field.attname}: {ours} became {home}")
    return found
