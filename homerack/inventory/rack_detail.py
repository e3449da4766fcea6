"""The part of a rack's page above its form: the drawing, the capacities and the warnings."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from homerack.inventory.capacity import Capacity
from homerack.inventory.elevation import Elevation, MountedDevice, draw, legend
from homerack.inventory.models import Device, Rack, RackPosition


@dataclass(frozen=True, kw_only=True)
class RackPage:
    """`svg` is markup. `zero_u` devices are not drawn.

    `unlabelled` devices are drawn too flat to show their name, or their position is outside the rack.
    """

    svg: str
    capacities: list[Capacity]
    types: list[tuple[str, str, int]]
    zero_u: list[MountedDevice]
    unlabelled: list[MountedDevice]
    warnings: list[str]


def build_page(rack: Rack, *, link: Callable[[Device], str]) -> RackPage:
    """The page of `rack`; `link` returns the URL of a device's page, or an empty string."""
    positions = rack.placed()
    return draw_rack(rack, positions, link=link, warnings=rack.warnings(positions))


def draw_rack(
    rack: Rack, positions: Sequence[RackPosition], *, link: Callable[[Device], str], warnings: Sequence[str] = ()
) -> RackPage:
    """The page of `rack` with its devices at `positions`, from the top down, now or as they were."""
    mounted = [mount(position, link) for position in positions]
    height = rack.total_height_u or max((position.placement.top_u for position in positions), default=1)
    elevation = Elevation(name=rack.name, height_u=height, devices=())
    drawn = tuple(device for device in mounted if is_drawn(device, elevation.drawn_height_u))
    return RackPage(
        svg=draw(Elevation(name=rack.name, height_u=height, devices=drawn)),
        capacities=rack.capacities(positions),
        types=legend(mounted),
        zero_u=[device for device in mounted if device.height_u == 0],
        unlabelled=[device for device in mounted if device.height_u and (device.height_u < 1 or device not in drawn)],
        warnings=list(warnings),
    )


def mount(position: RackPosition, link: Callable[[Device], str]) -> MountedDevice:
    device, model = position.device, position.device.model
    return MountedDevice(
        name=device.custom_name,
        start_u=position.start_u,
        height_u=position.placement.size.height_u,
        kind=str(model),
        type_name=model.device_type.name,
        color=model.device_type.color,
        url=link(device),
        locked=bool(position.locked),
    )


def is_drawn(device: MountedDevice, height_u: int) -> bool:
    """Whether its position is inside the rack. Legacy files contain others, which are listed instead."""
    return device.height_u > 0 and device.start_u >= 1 and max(device.units) <= height_u
