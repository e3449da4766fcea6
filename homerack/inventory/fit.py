"""Whether devices fit into a rack: plain numbers in, sentences out. No database, no Django.

Rack units count from 1 at the bottom. A device of `height_u` 2 placed at U5 takes U5 and U6; one of 0 U (a vertical
power strip, say) hangs beside the rails and takes none.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

MAX_HEIGHT_U = 100
"""The tallest rack there may be; real ones end near 60."""

WIDTH_ORDER = ('11"', '18"', '19"', '23"')
"""The width classes, narrowest first: a device fits into a rack of its own class or a wider one."""


class Dimension(StrEnum):
    """What can be wrong about a place."""

    HEIGHT = "height"
    WIDTH = "width"
    DEPTH = "depth"
    OVERLAP = "overlap"


@dataclass(frozen=True, kw_only=True)
class Size:
    """A device's outside; None is unknown and fits everywhere."""

    height_u: float
    width: str | None = None
    depth_mm: float | None = None


@dataclass(frozen=True, kw_only=True)
class Space:
    """A rack's inside; None is unknown and holds everything."""

    name: str
    height_u: int | None
    width: str | None = None
    depth_mm: float | None = None


@dataclass(frozen=True, kw_only=True)
class Position:
    """A device at the unit where it starts."""

    name: str
    size: Size
    start_u: int

    @property
    def units(self) -> range:
        """The rack units it takes; a device of half a unit takes the whole one, none are taken by 0 U."""
        return range(self.start_u, self.start_u + math.ceil(self.size.height_u))

    @property
    def top_u(self) -> int:
        return max(self.units, default=self.start_u)

    @property
    def label(self) -> str:
        """``U5`` or ``U5 to U6``."""
        return f"U{self.start_u}" if self.top_u == self.start_u else f"U{self.start_u} to U{self.top_u}"


@dataclass(frozen=True, kw_only=True)
class PlacementError:
    """One reason why a device can not be where it is wanted."""

    aspect: Dimension
    message: str


def find_misfits(place: Position, space: Space, others: Iterable[Position] = ()) -> Iterator[PlacementError]:
    """Everything that speaks against `place` in `space` beside `others`."""
    if message := exceeds_height(place, space):
        yield PlacementError(aspect=Dimension.HEIGHT, message=message)
    if message := exceeds_width(place, space):
        yield PlacementError(aspect=Dimension.WIDTH, message=message)
    if message := exceeds_depth(place, space):
        yield PlacementError(aspect=Dimension.DEPTH, message=message)
    for other in others:
        if set(place.units) & set(other.units):
            message = f"{place.name} needs {place.label}, but {other.name} is at {other.label}."
            yield PlacementError(aspect=Dimension.OVERLAP, message=message)


def exceeds_height(place: Position, space: Space) -> str:
    if place.start_u < 1:
        return f"{place.name} starts at U{place.start_u}; the lowest unit is U1."
    if space.height_u is not None and place.top_u > space.height_u:
        return f"{place.name} would reach up to U{place.top_u}; {space.name} ends at U{space.height_u}."
    return ""


def exceeds_width(place: Position, space: Space) -> str:
    """Devices beside the rails (0 U) may have any width, and so may those whose class nobody knows."""
    device, rack = place.size.width, space.width
    if not place.units or device not in WIDTH_ORDER or rack not in WIDTH_ORDER:
        return ""
    if WIDTH_ORDER.index(device) <= WIDTH_ORDER.index(rack):
        return ""
    return f"{place.name} is {device} wide; {space.name} takes devices of up to {rack}."


def exceeds_depth(place: Position, space: Space) -> str:
    device, rack = place.size.depth_mm, space.depth_mm
    if not place.units or device is None or rack is None or device <= rack:
        return ""
    return f"{place.name} is {device:g} mm deep; {space.name} has room for {rack:g} mm."
