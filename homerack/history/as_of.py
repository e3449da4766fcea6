"""Rows as they were at a time."""

import datetime as dt
from typing import Any, TypeVar

from django.db import models
from django.db.models import Exists, Max, OuterRef

from homerack.history.tracking import DELETED

ModelT = TypeVar("ModelT", bound=models.Model)


def rows_as_of(model: type[ModelT], time: dt.datetime, **filters: Any) -> list[ModelT]:
    """The rows that there were at `time` and that `filters` select, unsaved and ordered by key.

    `filters` are lookups of the model's own columns, such as ``rack_id=3`` or ``pk__in=keys``. A row without a history
    has not changed since it is recorded.
    """
    tracked: Any = model
    key = tracked._meta.pk.attname
    names = {name.replace("pk", key, 1) if name.startswith("pk") else name: value for name, value in filters.items()}
    history = tracked.history.model._default_manager.order_by()
    until = history.filter(history_date__lte=time)
    own = {name: value for name, value in names.items() if name.partition("__")[0] == key}
    last = until.filter(**own).values(key).annotate(last=Max("history_id")).values("last")
    found = history.filter(history_id__in=last, **names).exclude(history_type=DELETED)
    rows = [instance_of(historical) for historical in found]
    recorded = Exists(history.filter(**{key: OuterRef("pk")}))
    rows += tracked._default_manager.filter(~recorded, **names).order_by()
    return sorted(rows, key=lambda row: row.pk)


def instance_of(historical: Any) -> Any:
    """A row with the values of `historical`, unsaved."""
    state = {each.attname: getattr(historical, each.attname) for each in historical.tracked_fields}
    row = historical.instance_type(**state)
    row._state.adding = False
    return row
