"""Rows whose order differs between databases: the same rows in every model that the admin shows."""

import datetime as dt
import uuid
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from django.contrib import admin
from django.db import models, transaction

from homerack.inventory.models import RackPosition

NAMES = (
    "apple", "Apple", "APPLE", "apples", "Zebra", "zebra", "zoo", "Ärger", "ärger", "A\u0308rger", "Argus", "é",
    "e\u0301", "f", "Straße", "Strasse", "STRASSE", "Rack 2", "Rack 10", "rack-2", "rack_2", "Rack2", "RACK 3",
    " space", "", "🖥 server", "\uffee wide", "𝒜 math", "~tilde", "[bracket]", "_under", "10", "9", "ÿ", "ı", "ſ",
    "-dash",
)  # fmt: skip
"""Their number is a prime, so that every step goes through all of them."""
FIRST = 1000
"""The primary key of the first row of each model."""
ZONES = ("UTC", "Europe/Berlin", "America/Lima", "Africa/Lagos", "Asia/Tokyo")
START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


MAKERS: dict[str, Callable[[int], Any]] = {
    "timezone": lambda drawn: ZONES[drawn % len(ZONES)],
    "username": lambda drawn: f"account:{FIRST + drawn}",  # of an access attempt; some have no account
    "CharField": NAMES.__getitem__,
    "SlugField": NAMES.__getitem__,
    "TextField": NAMES.__getitem__,
    "GenericIPAddressField": lambda drawn: f"2001:db8::{drawn:x}" if drawn % 4 == 0 else f"10.0.0.{drawn}",
    "DateTimeField": lambda drawn: START + dt.timedelta(days=drawn % 7),
    "DateField": lambda drawn: START.date() + dt.timedelta(days=drawn % 7),
    "BooleanField": lambda drawn: drawn % 2 == 0,
    "DecimalField": Decimal,
    "JSONField": lambda _drawn: {},
}
"""Values by the name or the type of a field; other fields are numbers."""


def tricky_models() -> list[type[models.Model]]:
    """Those of the admin's lists and inlines, after the models that they refer to."""
    ordered: dict[type[models.Model], None] = {}

    def visit(model: type[models.Model]) -> None:
        for field in model._meta.concrete_fields:
            if field.related_model not in {None, model}:
                visit(field.related_model)  # type: ignore[arg-type]
        ordered[model] = None

    for model in (*admin.site._registry, RackPosition):
        visit(model)
    return list(ordered)


@transaction.atomic
def fill() -> None:
    """Add as many rows to each model of the database "default" as there are names."""
    for model in tricky_models():
        rows = [model(**values_of(model, number)) for number in range(len(NAMES))]
        if any(constraint.contains_expressions for constraint in model._meta.constraints if is_unique(constraint)):
            rows = distinct(rows)
        # The managers of the inventory validate each row.
        models.QuerySet(model).bulk_create(rows)


def is_unique(constraint: models.BaseConstraint) -> bool:
    return isinstance(constraint, models.UniqueConstraint)


def distinct(users: list[Any]) -> list[Any]:
    """Without those whose address another has in upper or lower case: PostgreSQL knows more letters than SQLite.

    Their keys follow one another, because others refer to them.
    """
    found = list({user.email.casefold(): user for user in users}.values())
    for number, user in enumerate(found):
        user.pk = FIRST + number
    return found


def values_of(model: type[models.Model], number: int) -> dict[str, Any]:
    fields = enumerate(model._meta.concrete_fields)
    return {field.attname: value_of(field, number, place) for place, field in fields}


def value_of(field: "models.Field[Any, Any]", number: int, place: int) -> Any:
    """The value of the field at `place` in row `number`: another sequence for each field, NULL in some rows."""
    drawn = (number * (place + 5) + place) % len(NAMES)
    if field.primary_key:
        return uuid.UUID(int=FIRST + number) if isinstance(field, models.UUIDField) else FIRST + number
    if field.null and drawn % 6 == 0:
        return None
    if field.is_relation:
        return FIRST + drawn % 20  # of users there are fewer than names
    kind = field.name if field.name in MAKERS else field.get_internal_type()
    return MAKERS.get(kind, lambda drawn: drawn % 7)(drawn)
