"""The rules for devices in racks, as pure functions: sizes and units in, messages out.

Rack units are numbered from 1 at the bottom. A device of `height_u` 2 at U5 occupies U5 and U6; a zero-U device, such
as a vertical power strip, occupies none.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

MAX_HEIGHT_U = 100
"""The tallest rack that is accepted; the tallest on the market have about 60 units."""

MAX_NAMES = 2
"""Devices that a message names."""

WIDTH_ORDER = ('11"', '18"', '19"', '23"')
"""Width classes, narrowest first: a device fits into racks of its own class and of wider ones."""


class Dimension(StrEnum):
    """What a placement can violate."""

    HEIGHT = "height"
    WIDTH = "width"
    DEPTH = "depth"
    OVERLAP = "overlap"


@dataclass(frozen=True, kw_only=True)
class Size:
    """The outer dimensions of a device; an unknown one (None) fits everywhere."""

    height_u: float
    width: str | None = None
    depth_mm: float | None = None


@dataclass(frozen=True, kw_only=True)
class Space:
    """The inner dimensions of a rack; an unknown one (None) accepts every device."""

    name: str
    height_u: int | None
    width: str | None = None
    depth_mm: float | None = None


@dataclass(frozen=True, kw_only=True)
class Placement:
    """A device and its lowest unit."""

    name: str
    size: Size
    start_u: int

    @property
    def units(self) -> range:
        """The rack units that it occupies, rounded up to whole units; none for a zero-U device."""
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
    """One reason why a device cannot be mounted at a position."""

    dimension: Dimension
    message: str


def find_placement_errors(
    placement: Placement, space: Space, others: Iterable[Placement] = ()
) -> Iterator[PlacementError]:
    """The rules that `placement` breaks in the rack `space`, which also holds `others`; at most one about its units."""
    if message := exceeds_height(placement, space):
        yield PlacementError(dimension=Dimension.HEIGHT, message=message)
    elif message := overlaps(placement, others):
        yield PlacementError(dimension=Dimension.OVERLAP, message=message)
    if message := exceeds_width(placement, space):
        yield PlacementError(dimension=Dimension.WIDTH, message=message)
    if message := exceeds_depth(placement, space):
        yield PlacementError(dimension=Dimension.DEPTH, message=message)


def exceeds_height(placement: Placement, space: Space) -> str:
    if placement.start_u < 1:
        return f"{placement.name} starts at U{placement.start_u}; the lowest unit is U1."
    if space.height_u is not None and placement.top_u > space.height_u:
        return f"{placement.name} would reach up to U{placement.top_u}; {space.name} ends at U{space.height_u}."
    return ""


def overlaps(placement: Placement, others: Iterable[Placement]) -> str:
    """Names the first devices in its units, from the bottom up."""
    taking = [other for other in others if set(placement.units) & set(other.units)]
    there = [f"{other.name} is at {other.label}" for other in sorted(taking, key=lambda other: other.start_u)]
    if not there:
        return ""
    more = len(there) - MAX_NAMES
    named = [*there[:MAX_NAMES], *([f"{more} more device{'s are' if more > 1 else ' is'} there"] if more > 0 else [])]
    listed = " and ".join(filter(None, [", ".join(named[:-1]), named[-1]]))
    return f"{placement.name} needs {placement.label}, but {listed}."


def exceeds_width(placement: Placement, space: Space) -> str:
    """Zero-U devices may have any width, and so may devices of an unknown class."""
    device, rack = placement.size.width, space.width
    if not placement.units or device not in WIDTH_ORDER or rack not in WIDTH_ORDER:
        return ""
    if WIDTH_ORDER.index(device) <= WIDTH_ORDER.index(rack):
        return ""
    return f"{placement.name} is {device} wide; {space.name} takes devices of up to {rack}."


def exceeds_depth(placement: Placement, space: Space) -> str:
    device, rack = placement.size.depth_mm, space.depth_mm
    if not placement.units or device is None or rack is None or device <= rack:
        return ""
    return f"{placement.name} is {device:g} mm deep; {space.name} has room for {rack:g} mm."
