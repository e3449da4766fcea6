"""The usage of racks, computed by the database: for lists, where a computation per rack takes too long."""

from collections.abc import Mapping
from typing import Any

from django.db.models import Case, Count, F, FloatField, OuterRef, QuerySet, Subquery, Sum, Value, When
from django.db.models.functions import Ceil, Coalesce

from homerack.inventory.models import Rack, RackPosition
from homerack.inventory.models.devices import SUPPLIES_POWER


def sums() -> dict[str, Any]:
    """Devices, units, watts and kilograms of positions."""
    supplies = When(device__model__device_type__slug=SUPPLIES_POWER, then=Value(0.0))
    return {
        "devices_count": Count("pk"),
        "used_u": Sum(Ceil(effective("height_u"))),
        "used_watts": Sum(Case(supplies, default=effective("power_watts"))),
        "used_kg": Sum(effective("weight_kg")),
    }


def effective(name: str) -> Coalesce:
    """`Device.effective` of a position as SQL."""
    return Coalesce(
        F(f"device__model__{name}"), F(f"device__specification__{name}"), Value(0.0), output_field=FloatField()
    )


def with_usage(racks: QuerySet[Rack]) -> QuerySet[Rack]:
    """`racks` with ``devices_count``, ``used_u``, ``used_watts`` and ``used_kg``; None for racks without devices.

    They are subqueries: counting racks needs none of them, and a page of a list those of its racks only.
    """
    positions = RackPosition.objects.filter(rack=OuterRef("pk")).order_by().values("rack")
    return racks.annotate(
        **{name: Subquery(positions.annotate(value=expression).values("value")) for name, expression in sums().items()}
    )


def usage_by_rack() -> Mapping[int, Mapping[str, Any]]:
    """The same by primary key, for all racks with devices. Without the join to racks, it takes a third of the time."""
    rows = RackPosition.objects.order_by().values("rack_id").annotate(**sums())
    return {row["rack_id"]: row for row in rows}
