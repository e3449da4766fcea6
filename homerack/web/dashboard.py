"""The lab on the dashboard: its racks with their used space and power, and its devices by type."""

import heapq
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import Count, OuterRef, Subquery
from django.http import HttpRequest
from django.urls import reverse

from homerack.inventory.capacity import Capacity
from homerack.inventory.elevation import safe_color
from homerack.inventory.models import Device, DeviceModel
from homerack.inventory.rack_usage import UsedRack, racks_with_usage
from homerack.ordering import alphabetical_key
from homerack.web.navigation import viewers_of
from ops.admin.dashboard.context import Card

MAX_RACKS = 8
MAX_TYPES = 6
KILOWATTS_FROM = 100_000
"""Watts from which the total is shown in kilowatts."""


@dataclass(frozen=True, kw_only=True)
class RackRow:
    name: str
    location: str
    url: str
    space: Capacity
    power: Capacity


@dataclass(frozen=True, kw_only=True)
class TypeRow:
    name: str
    color: str
    number: int

    @property
    def text(self) -> str:
        return f"{self.number:,}"


def lab_card(request: HttpRequest) -> Card | None:
    """The card for users who may view racks or devices, else None. Three queries for a lab of any size."""
    sees_racks, sees_devices = viewers_of("inventory.rack")(request), viewers_of("inventory.device")(request)
    if not (sees_racks or sees_devices):
        return None
    context = {
        **(rack_context(may_add=request.user.has_perm("inventory.add_rack")) if sees_racks else {}),
        **(device_context() if sees_devices else {}),
    }
    return Card(template="dashboard/lab.html", context=context)


def rack_context(*, may_add: bool) -> Mapping[str, Any]:
    """The racks with the least free space, and the totals of all racks."""
    racks = list(racks_with_usage())
    # Of thousands of racks, only those that are shown get a row with an address.
    fullest = heapq.nsmallest(MAX_RACKS, racks, key=lambda rack: (-rack.fill, alphabetical_key(rack.name)))
    return {
        "racks": [rack_row(rack) for rack in fullest],
        "more_racks": len(racks) - len(fullest),
        "racks_url": reverse("admin:inventory_rack_changelist"),
        "capacities": totals(racks) if racks else (),
        "first_rack_url": reverse("admin:inventory_rack_add") if may_add else "",
        "shows_racks": True,
    }


def rack_row(rack: UsedRack) -> RackRow:
    return RackRow(
        name=rack.name,
        location=rack.location or "",
        url=reverse("admin:inventory_rack_change", args=(rack.pk,)),
        space=Capacity(name="Space", used=rack.used_u, limit=rack.total_height_u, unit="U", warns=False),
        power=Capacity(name="Power", used=rack.used_watts, limit=rack.max_power_watts, unit="W"),
    )


def totals(racks: Sequence[UsedRack]) -> tuple[Capacity, Capacity]:
    """Space and power of all racks together; the sum of the limits is that of the known ones."""
    watts = sum(rack.used_watts for rack in racks)
    large = watts >= KILOWATTS_FROM
    return (
        total("Space", sum(rack.used_u for rack in racks), sum(rack.total_height_u for rack in racks), "U"),
        total(
            "Power",
            watts,
            sum(rack.max_power_watts or 0 for rack in racks),
            "kW" if large else "W",
            scale=1000 if large else 1,
        ),
    )


def total(name: str, used: float, limit: float, unit: str, *, scale: int = 1) -> Capacity:
    return Capacity(
        name=name,
        used=round(used / scale, 1),
        limit=round(limit / scale, 1) or None,
        unit=unit,
        warns=unit != "U",
    )


def device_context() -> Mapping[str, Any]:
    """Devices by type, the most frequent first."""
    # Counted by model first: joined with its model, each device takes several times as long.
    by_model = Device.objects.order_by().values("model").annotate(number=Count("pk"))
    kind = DeviceModel.objects.filter(pk=OuterRef("model")).order_by()
    name, color = (Subquery(kind.values(f"device_type__{field}")) for field in ("name", "color"))
    by_type: Counter[tuple[str, str]] = Counter()
    for row in by_model.annotate(name=name, color=color):
        by_type[row["name"] or "No type", safe_color(row["color"])] += row["number"]
    rows = [TypeRow(name=name, color=color, number=number) for (name, color), number in by_type.items()]
    rows.sort(key=lambda row: (-row.number, alphabetical_key(row.name), row.name))
    return {
        "devices": f"{sum(row.number for row in rows):,}",
        "types": rows[:MAX_TYPES],
        "other_types": f"{sum(row.number for row in rows[MAX_TYPES:]):,}" if rows[MAX_TYPES:] else "",
        "devices_url": reverse("admin:inventory_device_changelist"),
        "shows_devices": True,
    }
