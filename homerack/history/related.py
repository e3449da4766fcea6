"""The rows that historical rows refer to, as they are now, or as they were last.

The number of queries depends on the number of models, not of rows.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from django.core.exceptions import ObjectDoesNotExist
from django.db.models import ForeignKey, Model, OuterRef, Subquery

from homerack.history.as_of import instance_of
from homerack.history.values import keys_of

Related = Mapping[type[Model], Mapping[Any, Model]]


def foreign_keys(model: type[Model]) -> list[Any]:
    return [field for field in model._meta.concrete_fields if isinstance(field, ForeignKey)]


def related_rows(rows: Mapping[type[Model], Iterable[Any]]) -> dict[type[Model], dict[Any, Model]]:
    """What `rows`, historical or not, by model, refer to: rows by model and key. Each has what its name needs."""
    wanted: dict[type[Model], set[Any]] = {}
    for model, those in rows.items():
        for field in foreign_keys(model):
            wanted.setdefault(field.related_model, set()).update(keys_of(field, those))
    return {model: find_rows(model, keys) for model, keys in wanted.items() if keys}


def find_rows(model: type[Model], keys: set[Any]) -> dict[Any, Model]:
    """The rows of `model` with these keys. Those that were deleted come from the history."""
    fields = [field.name for field in foreign_keys(model)]
    found = {row.pk: row for row in model._base_manager.filter(pk__in=keys).select_related(*fields)}
    if missing := keys - {*found}:
        found |= {row.pk: row for row in last_instances(model, missing)}
    return found


def last_instances(model: type[Model], keys: set[Any]) -> list[Model]:
    history = getattr(model, "history", None)
    if history is None:
        return []
    key = model._meta.pk.attname
    newest = history.model._base_manager.filter(**{key: OuterRef(key)}).order_by("-history_id").values("history_id")[:1]
    rows = history.model._base_manager.filter(**{f"{key}__in": keys}, history_id=Subquery(newest))
    instances = [instance_of(row) for row in rows]
    relate(model, instances, related_rows({model: instances}))
    return instances


def relate(model: type[Model], instances: Iterable[Model], related: Related) -> None:
    """Set the rows that `instances` refer to, so that their names need no queries."""
    for field in foreign_keys(model):
        those = related.get(field.related_model, {})
        for instance in instances:
            # Where it is None, Django raises an error as for a row that does not exist, and does not ask the database.
            field.set_cached_value(instance, those.get(getattr(instance, field.attname)))


def name_of(instance: Model) -> str:
    """Its name; its kind, if it has none, or if a row that its name needs was deleted."""
    try:
        return str(instance) or f"unnamed {instance._meta.verbose_name}"
    except ObjectDoesNotExist:
        return str(instance._meta.verbose_name)
