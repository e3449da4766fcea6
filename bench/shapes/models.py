"""Tables of unusual shapes for `bench.growth`. BENCH_SHAPE names one by its kind and a number."""

import os
from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

from django.db import models

Field: TypeAlias = "models.Field[Any, Any]"
KIND, _, NUMBER = os.environ["BENCH_SHAPE"].partition(":")
"""``tables``: so many small tables; ``columns``: a table with so many columns; ``large``: a table of large values."""


def fields_of(kind: str, number: int) -> dict[str, Field]:
    if kind == "columns":
        kinds: list[Callable[[], Field]] = [
            models.IntegerField,
            partial(models.CharField, max_length=40),
            partial(models.FloatField, null=True),
            models.DateTimeField,
        ]
        return {f"column_{column}": kinds[column % len(kinds)]() for column in range(number)}
    if kind == "large":
        return {"text": models.TextField()}
    return {"name": models.CharField(max_length=40, db_index=True), "value": models.FloatField(null=True)}


def make_model(name: str) -> type[models.Model]:
    return type(name, (models.Model,), {"__module__": __name__, **fields_of(KIND, int(NUMBER))})


SHAPED = [make_model(f"Shape{number}") for number in range(int(NUMBER) if KIND == "tables" else 1)]
