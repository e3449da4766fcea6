"""The lab on the dashboard: its racks with their used space and power, its devices by type, and how to begin."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.db.models import Count, OuterRef, Subquery
from django.http import HttpRequest
from django.urls import reverse

from homerack.inventory.capacity import Capacity
from homerack.inventory.demo import removal
from homerack.inventory.elevation import safe_color
from homerack.inventory.first_steps import first_steps, read_inventory
from homerack.inventory.models import Device, DeviceModel
from homerack.inventory.rack_usage import Totals, UsedRack, fullest_racks
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
    inventory = read_inventory()
    steps = first_steps(request.user, inventory)
    context = {
        "steps": steps,
        "remove_demo_url": remove_demo_url(request.user) if inventory.has_demo else "",
        **(rack_context() if sees_racks else {}),
        **(device_context() if sees_devices else {}),
    }
    return Card(template="dashboard/lab.html", context=context, comes_first=bool(steps))


def remove_demo_url(user: Any) -> str:
    """The page that removes the demo lab; empty if there is none, or the user may not."""
    if not removal.may_remove(user) or not removal.find_removal():
        return ""
    return reverse("admin:inventory_device_remove_demo")


def rack_context() -> Mapping[str, Any]:
    """The racks with the least free space, and the totals of all racks."""
    fullest, totals = fullest_racks(MAX_RACKS)
    return {
        "racks": [rack_row(rack) for rack in fullest],
        "more_racks": totals.racks - len(fullest),
        "racks_url": reverse("admin:inventory_rack_changelist"),
        "capacities": capacities(totals) if fullest else (),
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


def capacities(totals: Totals) -> tuple[Capacity, Capacity]:
    """Space and power of all racks together."""
    large = totals.used_watts >= KILOWATTS_FROM
    scale, unit = (1000, "kW") if large else (1, "W")
    return (
        total("Space", totals.used_u, totals.total_height_u, "U"),
        total("Power", totals.used_watts, totals.max_power_watts, unit, scale=scale),
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
    # Counted by model first: joined with its model, each device takes several times as long. Rows are counted, not
    # keys, so that the index on the model is all that PostgreSQL reads.
    by_model = Device.objects.order_by().values("model").annotate(number=Count("*"))
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
