"""The usage of racks, computed by the database: for lists, where a computation per rack takes too long."""

from typing import Any, NamedTuple

from django.db import connection
from django.db.models import Case, Count, F, FloatField, OuterRef, QuerySet, Subquery, Sum, Value, When
from django.db.models.functions import Ceil, Coalesce

from homerack.inventory.models import DeviceType, Rack, RackPosition
from homerack.inventory.models.devices import SUPPLIES_POWER
from homerack.ordering import Alphabetical


def sums() -> dict[str, Any]:
    """Devices, units, watts and kilograms of positions."""
    # One value takes less time than a join of all positions with the types.
    supplier = Subquery(DeviceType.objects.filter(slug=SUPPLIES_POWER).order_by().values("pk"))
    supplies = When(device__model__device_type=supplier, then=Value(0.0))
    return {
        "devices_count": Count("pk"),
        "used_u": Sum(Ceil(known("height_u"))),
        "used_watts": Sum(Case(supplies, default=known("power_watts"))),
        "used_kg": Sum(known("weight_kg")),
    }


def known(name: str) -> Coalesce:
    """A property of the model of a position's device; 0 where it is unknown."""
    return Coalesce(F(f"device__model__{name}"), Value(0.0), output_field=FloatField())


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
    total_height_u: int | None
    max_power_watts: float | None
    used_u: float
    used_watts: float


class Totals(NamedTuple):
    """Of all racks; the height and the power budget are the sums of those that are known."""

    racks: int = 0
    total_height_u: int = 0
    max_power_watts: float = 0
    used_u: float = 0
    used_watts: float = 0


FULLEST_RACKS = """
SELECT rack.pk, rack.name, rack.location, rack.total_height_u, rack.max_power_watts,
       COALESCE(used.used_u, 0), COALESCE(used.used_watts, 0),
       COUNT(*) OVER (), COALESCE(SUM(rack.total_height_u) OVER (), 0), COALESCE(SUM(rack.max_power_watts) OVER (), 0),
       COALESCE(SUM(used.used_u) OVER (), 0), COALESCE(SUM(used.used_watts) OVER (), 0)
FROM ({racks}) AS rack LEFT JOIN ({used}) AS used ON used.rack_id = rack.pk
ORDER BY COALESCE(used.used_u, 0) / COALESCE(NULLIF(rack.total_height_u, 0), 1) DESC, rack.key, rack.pk
LIMIT %s
"""


def fullest_racks(number: int) -> tuple[list[UsedRack], Totals]:
    """The `number` racks with the least free space relative to their height, and the totals of all. One query.

    Positions are grouped by rack before they are joined with racks: the other way round takes three times as long.
    """
    racks = Rack.objects.order_by().annotate(key=Alphabetical("name")).values(*UsedRack._fields[:-2], "key")
    shown = {name: expression for name, expression in sums().items() if name in ("used_u", "used_watts")}
    used = RackPosition.objects.order_by().values("rack_id").annotate(**shown)
    (racks_sql, of_racks), (used_sql, of_used) = racks.query.sql_with_params(), used.query.sql_with_params()
    with connection.cursor() as cursor:
        cursor.execute(FULLEST_RACKS.format(racks=racks_sql, used=used_sql), (*of_racks, *of_used, number))
        rows = cursor.fetchall()
    width = len(UsedRack._fields)
    return [UsedRack._make(row[:width]) for row in rows], Totals._make(rows[0][width:]) if rows else Totals()
