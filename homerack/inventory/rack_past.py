"""A rack as it was at a moment: its devices, and their models, types and brands."""

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import ObjectDoesNotExist
from django.db.models import Model

from homerack.history.as_of import rows_as_of
from homerack.history.related import foreign_keys, relate
from homerack.history.values import keys_of
from homerack.inventory.models import Rack, RackPosition


@dataclass(frozen=True, kw_only=True)
class PastRack:
    """`positions` are from the top down. Everything that they refer to is as it was, too."""

    rack: Rack
    positions: list[RackPosition]


def rack_before(key: int, moment: dt.datetime) -> PastRack | None:
    """The rack right before `moment`; None if it was not there. The number of queries is constant."""
    last = moment - dt.timedelta(microseconds=1)
    rack = next(iter(rows_as_of(Rack, last, pk=key)), None)
    if rack is None:
        return None
    positions = rows_as_of(RackPosition, last, rack_id=key)
    add_relations(RackPosition, positions, last)
    positions = [position for position in positions if is_complete(position)]
    return PastRack(rack=rack, positions=sorted(positions, key=lambda position: (-position.start_u, position.pk)))


def add_relations(model: type[Model], rows: Iterable[Any], time: dt.datetime) -> None:
    """Set what `rows` refer to, and what that refers to, as it was at `time`."""
    rows = list(rows)
    wanted: dict[type[Model], set[Any]] = {}
    for field in foreign_keys(model):
        wanted.setdefault(field.related_model, set()).update(keys_of(field, rows))
    related = {
        kind: {row.pk: row for row in rows_as_of(kind, time, pk__in=keys)} for kind, keys in wanted.items() if keys
    }
    for kind, those in related.items():
        add_relations(kind, those.values(), time)
    relate(model, rows, related)


def is_complete(position: RackPosition) -> bool:
    """Whether the history has all that the drawing needs. Before the history begins, it may have less."""
    try:
        return bool(position.device.model.brand and position.device.model.device_type)
    except ObjectDoesNotExist:
        return False
