"""The lab on the console's first page: its racks with their fill, its devices, its power."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import Count
from django.http import HttpRequest
from django.urls import reverse

from homerack.inventory.capacity import Capacity
from homerack.inventory.elevation import safe_color
from homerack.inventory.models import Device, Rack
from homerack.inventory.rack_usage import usage_by_rack
from homerack.web.navigation import viewers_of
from ops.admin.dashboard.context import Card

MOST_RACKS = 8
MOST_TYPES = 6
LARGE_WATTS = 100_000
"""From here on kilowatts read better."""


@dataclass(frozen=True, kw_only=True)
class RackLine:
    name: str
    location: str
    url: str
    space: Capacity
    power: Capacity

    @property
    def fill(self) -> float:
        return self.space.used / (self.space.limit or 1)


@dataclass(frozen=True, kw_only=True)
class TypeLine:
    name: str
    color: str
    number: int

    @property
    def text(self) -> str:
        return f"{self.number:,}"


def lab(request: HttpRequest) -> Card | None:
    """For those who may look at racks or devices. Three queries, however large the lab is."""
    sees_racks, sees_devices = viewers_of("inventory.rack")(request), viewers_of("inventory.device")(request)
    if not (sees_racks or sees_devices):
        return None
    context = {
        **(of_racks(may_add=request.user.has_perm("inventory.add_rack")) if sees_racks else {}),
        **(of_devices() if sees_devices else {}),
    }
    return Card(template="dashboard/lab.html", context=context)


def of_racks(*, may_add: bool) -> Mapping[str, Any]:
    """The fullest racks, and the sums of all."""
    usage = usage_by_rack()
    columns = ("pk", "name", "location", "total_height_u", "max_power_watts")
    lines = [rack_line(row, usage.get(row["pk"], {})) for row in Rack.objects.order_by().values(*columns)]
    lines.sort(key=lambda line: (-line.fill, line.name))
    return {
        "racks": lines[:MOST_RACKS],
        "more_racks": len(lines[MOST_RACKS:]),
        "racks_url": reverse("admin:inventory_rack_changelist"),
        "budgets": totals(lines) if lines else (),
        "first_rack_url": reverse("admin:inventory_rack_add") if may_add else "",
        "shows_racks": True,
    }


def rack_line(row: Mapping[str, Any], usage: Mapping[str, Any]) -> RackLine:
    space = Capacity(name="Space", used=usage.get("used_u") or 0, limit=row["total_height_u"], unit="U", warns=False)
    return RackLine(
        name=row["name"],
        location=row["location"] or "",
        url=reverse("admin:inventory_rack_change", args=(row["pk"],)),
        space=space,
        power=Capacity(name="Power", used=usage.get("used_watts") or 0, limit=row["max_power_watts"], unit="W"),
    )


def totals(lines: Sequence[RackLine]) -> tuple[Capacity, Capacity]:
    """Space and power of all racks together."""
    space, power = [line.space for line in lines], [line.power for line in lines]
    large = sum(budget.used for budget in power) >= LARGE_WATTS
    return total("Space", space, "U"), total("Power", power, "kW" if large else "W", scale=1000 if large else 1)


def total(name: str, budgets: Iterable[Capacity], unit: str, *, scale: int = 1) -> Capacity:
    """The sums of `budgets`; what has no limit on record has no part in the sum of limits."""
    used, limit = 0.0, 0.0
    for budget in budgets:
        used, limit = used + budget.used, limit + (budget.limit or 0)
    return Capacity(
        name=name,
        used=round(used / scale, 1),
        limit=round(limit / scale, 1) or None,
        unit=unit,
        warns=unit != "U",
    )


def of_devices() -> Mapping[str, Any]:
    """Devices by type, the most frequent first."""
    by_type = Device.objects.order_by().values("model__device_type__name", "model__device_type__color")
    lines = [
        TypeLine(
            name=row["model__device_type__name"] or "No type",
            color=safe_color(row["model__device_type__color"]),
            number=row["number"],
        )
        for row in by_type.annotate(number=Count("pk")).order_by("-number", "model__device_type__name")
    ]
    return {
        "devices": f"{sum(line.number for line in lines):,}",
        "types": lines[:MOST_TYPES],
        "other_types": f"{sum(line.number for line in lines[MOST_TYPES:]):,}" if lines[MOST_TYPES:] else "",
        "devices_url": reverse("admin:inventory_device_changelist"),
        "shows_devices": True,
    }
