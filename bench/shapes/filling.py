"""Fills a new SQLite file with tables of the shape that the environment names. Runs in a process of its own."""

import datetime as dt
import random
from typing import Any

import django
from django.core.management import call_command
from django.db import connection, models

START = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
MEGABYTE = 1_000_000


def fill(rows: int) -> None:
    """So many rows, spread evenly over the tables."""
    django.setup()
    call_command("migrate", verbosity=0)
    from bench.shapes.models import SHAPED

    generator = random.Random(17)
    each = max(1, rows // len(SHAPED))
    for model in SHAPED:
        fields = [field for field in model._meta.local_fields if not field.primary_key]
        for first in range(0, each, 100):
            model._default_manager.bulk_create(
                model(**{field.name: value_of(field, generator, number) for field in fields})
                for number in range(first, min(first + 100, each))
            )
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def value_of(field: "models.Field[Any, Any]", generator: random.Random, number: int) -> object:
    if isinstance(field, models.IntegerField):
        return generator.randrange(10**9)
    if isinstance(field, models.FloatField):
        return generator.random() if number % 3 else None
    if isinstance(field, models.DateTimeField):
        return START + dt.timedelta(seconds=number, microseconds=generator.randrange(10**6))
    if isinstance(field, models.TextField):
        return generator.randbytes(MEGABYTE // 2).hex()
    return f"row {number} of a table"
