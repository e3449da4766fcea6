"""Rows as they were at a moment."""

import datetime as dt
from collections.abc import Collection
from typing import Any

from django.db.models import Model, OuterRef, Subquery

from homerack.history.related import instance_of


def rows_before(model: type[Model], keys: Collection[Any], moment: dt.datetime) -> dict[Any, Model]:
    """The rows of `model` with these keys as they were right before `moment`, by key. Three queries.

    Rows that were not there are left out. A row without a history has not changed since the history begins.
    """
    history = model.history.model._base_manager  # type: ignore[attr-defined]
    own = model._meta.pk.attname
    of_keys = history.filter(**{f"{own}__in": keys})
    earlier = history.filter(**{own: OuterRef(own)}, history_date__lt=moment).order_by("-history_id")
    last = of_keys.filter(history_id=Subquery(earlier.values("history_id")[:1])).exclude(history_type="-")
    found = {instance.pk: instance for instance in (instance_of(model, row) for row in last)}
    recorded = {*of_keys.order_by().values_list(own, flat=True)}
    return found | model._base_manager.in_bulk(set(keys) - recorded)
