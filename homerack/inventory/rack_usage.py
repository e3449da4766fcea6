"""The usage of racks, computed by the database: for lists, where a computation per rack takes too long."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from django.db.models import Case, Count, F, FloatField, OuterRef, QuerySet, Subquery, Sum, Value, When
from django.db.models.functions import Ceil, Coalesce

from homerack.inventory.models import DeviceType, Rack, RackPosition
from homerack.inventory.models.devices import SUPPLIES_POWER


def sums() -> dict[str, Any]:
    """Devices, units, watts and kilograms of positions."""
    # A subquery takes less time than a join of all positions with the types.
    suppliers = DeviceType.objects.filter(slug=SUPPLIES_POWER).order_by()
    supplies = When(device__model__device_type__in=suppliers, then=Value(0.0))
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


class UsedRack(NamedTuple):
    """A rack and its usage."""

    pk: int
    name: str
    location: str | None
    total_height_u: int
    max_power_watts: float | None
    used_u: float
    used_watts: float

    @property
    def fill(self) -> float:
        return self.used_u / (self.total_height_u or 1)


def racks_with_usage() -> Iterator[UsedRack]:
    """All racks, in two queries. One with a join of positions and racks takes three times as long."""
    shown = {name: expression for name, expression in sums().items() if name in ("used_u", "used_watts")}
    used = RackPosition.objects.order_by().values("rack_id").annotate(**shown).values_list("rack_id", *shown)
    usage = {rack: (units or 0, watts or 0) for rack, units, watts in used}
    for pk, *row in Rack.objects.order_by("pk").values_list("pk", *UsedRack._fields[1:-2]):
        yield UsedRack._make((pk, *row, *usage.get(pk, (0, 0))))
