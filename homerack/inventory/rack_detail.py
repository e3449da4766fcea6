"""What a rack's page shows above its form: the drawing, the budgets, and what needs attention."""

from collections.abc import Callable
from dataclasses import dataclass

from homerack.inventory.capacity import Capacity
from homerack.inventory.elevation import Elevation, Mounted, draw, types_of
from homerack.inventory.models import Device, Rack, RackPosition


@dataclass(frozen=True, kw_only=True)
class RackPage:
    """`svg` is markup; `beside` are the devices that are not drawn, or too flat to carry their name."""

    svg: str
    budgets: list[Capacity]
    types: list[tuple[str, str, int]]
    beside: list[Mounted]
    warnings: list[str]


def build_page(rack: Rack, *, link: Callable[[Device], str]) -> RackPage:
    """The page of `rack`; `link` gives the address of a device's page, or nothing."""
    positions = rack.placed()
    mounted = [mount(position, link) for position in positions]
    height = rack.total_height_u or max((position.place.top_u for position in positions), default=1)
    elevation = Elevation(name=rack.name, height_u=height, devices=())
    drawn = tuple(device for device in mounted if is_drawn(device, elevation.drawn_height_u))
    return RackPage(
        svg=draw(Elevation(name=rack.name, height_u=height, devices=drawn)),
        budgets=rack.budgets(positions),
        types=types_of(mounted),
        beside=[device for device in mounted if device.height_u < 1 or device not in drawn],
        warnings=rack.warnings(positions),
    )


def mount(position: RackPosition, link: Callable[[Device], str]) -> Mounted:
    device, kind = position.device, position.device.device_type
    return Mounted(
        name=device.custom_name,
        start_u=position.start_u,
        height_u=position.place.size.height_u,
        kind=device.kind,
        type_name=kind.name if kind else "",
        color=kind.color if kind else None,
        url=link(device),
        locked=bool(position.locked),
    )


def is_drawn(device: Mounted, height_u: int) -> bool:
    """Whether its place is inside the rack. Legacy files hold others, which are listed instead."""
    return device.height_u > 0 and device.start_u >= 1 and max(device.units) <= height_u
