"""Draws the front of a rack as SVG. The colours of the rack itself come from admin.css."""

import math
import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from html import escape

from homerack.inventory.placement import MAX_HEIGHT_U
from homerack.ordering import alphabetical_key

UNIT = 20
"""Height of a rack unit in units of the drawing, about to scale with FRONT."""
RAIL = 34
"""Width of each rail, where the unit numbers stand."""
FRONT = 372
"""Width between the rails."""
MARGIN = 10
WIDTH = 2 * MARGIN + 2 * RAIL + FRONT
CHARACTER = 6.9
"""Width of an average character of a device's name; wide ones (Chinese, emoji) count twice."""
NARROW_CHARACTER = 8.1
"""The same on phones, where names are larger and stand without the model (admin.css)."""
DEFAULT_COLOR = "#64748B"
DARK_TEXT, LIGHT_TEXT = "#0F172A", "#FFFFFF"
PADLOCK = "M2 5V3.5a3 3 0 0 1 6 0V5h.5A1.5 1.5 0 0 1 10 6.5v4A1.5 1.5 0 0 1 8.5 12h-7A1.5 1.5 0 0 1 0 10.5v-4A1.5 1.5 0 0 1 1.5 5zm1.5 0h3V3.5a1.5 1.5 0 0 0-3 0z"  # noqa: E501


@dataclass(frozen=True, kw_only=True)
class MountedDevice:
    """A device in the rack: at `start_u` (from 1 at the bottom), `height_u` tall; `kind` is its brand and model."""

    name: str
    start_u: int
    height_u: float
    kind: str = ""
    type_name: str = ""
    color: str | None = None
    url: str = ""
    locked: bool = False

    @property
    def label(self) -> str:
        """``U5``, or ``U5 to U6``."""
        top = max(self.units, default=self.start_u)
        return f"U{self.start_u}" if top == self.start_u else f"U{self.start_u} to U{top}"

    @property
    def units(self) -> range:
        return range(self.start_u, self.start_u + math.ceil(self.height_u))

    @property
    def fill(self) -> str:
        return safe_color(self.color)


@dataclass(frozen=True, kw_only=True)
class Elevation:
    """A rack of `height_u` units and the devices whose position is inside it."""

    name: str
    height_u: int
    devices: tuple[MountedDevice, ...]

    @property
    def drawn_height_u(self) -> int:
        return max(1, min(self.height_u, MAX_HEIGHT_U))


def draw(elevation: Elevation) -> str:
    """The whole drawing as one ``<svg>`` element. All text in it is escaped."""
    height = elevation.drawn_height_u * UNIT + 2 * MARGIN
    attributes = f'viewBox="0 0 {WIDTH} {height}" role="group" aria-label="{escape(describe(elevation))}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="rack-elevation" {attributes}>',
        f'<rect class="rack-frame" x="1" y="1" width="{WIDTH - 2}" height="{height - 2}" rx="8"/>',
        '<g aria-hidden="true">',  # the label and the links say the same
        *draw_units(elevation),
        *draw_free_space(elevation),
        "</g>",
        # Devices of legacy files may overlap. The smaller one is drawn on top, so that both are visible.
        *(draw_device(device, elevation) for device in sorted(elevation.devices, key=lambda device: -device.height_u)),
        "</svg>",
    ]
    return "".join(parts)


def describe(elevation: Elevation) -> str:
    """The text of the drawing for screen readers."""
    count = len(elevation.devices)
    devices = "no devices" if not count else f"{count} device{'s' if count > 1 else ''}"
    listed = "; ".join(f"{device.label}: {device.name}" for device in elevation.devices)
    return f"Front of {elevation.name}, {elevation.height_u} units, {devices}{f'. {listed}' if listed else ''}"


def draw_units(elevation: Elevation) -> Iterator[str]:
    """A line for each unit with its number on both rails."""
    for unit in range(1, elevation.drawn_height_u + 1):
        y = top_of(unit, 1, elevation)
        yield f'<rect class="rack-unit" x="{MARGIN + RAIL}" y="{y}" width="{FRONT}" height="{UNIT}"/>'
        for x in (MARGIN + RAIL / 2, WIDTH - MARGIN - RAIL / 2):
            yield f'<text class="rack-number" x="{x:g}" y="{y + UNIT / 2:g}">{unit}</text>'


def draw_free_space(elevation: Elevation) -> Iterator[str]:
    """The number of free units, in the middle of each gap."""
    for start, length in find_gaps(elevation):
        y = top_of(start, length, elevation) + length * UNIT / 2
        yield f'<text class="rack-free" x="{WIDTH / 2:g}" y="{y:g}">{length} U free</text>'


def find_gaps(elevation: Elevation) -> list[tuple[int, int]]:
    """``(lowest unit, number of units)`` of each run of free units, from the bottom up."""
    taken = {unit for device in elevation.devices for unit in device.units}
    gaps: list[tuple[int, int]] = []
    for unit in range(1, elevation.drawn_height_u + 1):
        if unit in taken:
            continue
        if gaps and sum(gaps[-1]) == unit:
            gaps[-1] = (gaps[-1][0], gaps[-1][1] + 1)
        else:
            gaps.append((unit, 1))
    return gaps


def draw_device(device: MountedDevice, elevation: Elevation) -> str:
    """A block with a link to the device: its name, then model and padlock where there is space."""
    y = top_of(device.start_u, device.height_u, elevation) + 1
    height = device.height_u * UNIT - 2
    x = MARGIN + RAIL + 1
    hint = ", ".join(part for part in (device.name, device.type_name, device.kind, device.label) if part)
    block = (
        f"<title>{escape(hint)}{' (locked)' if device.locked else ''}</title>"
        f'<rect class="rack-device" x="{x}" y="{y:g}" width="{FRONT - 2}" height="{height:g}" rx="3" '
        f'fill="{device.fill}"/>'
        f'<rect class="rack-ear" x="{x}" y="{y:g}" width="5" height="{height:g}" rx="2"/>'
        f'<rect class="rack-ear" x="{x + FRONT - 7}" y="{y:g}" width="5" height="{height:g}" rx="2"/>'
    )
    if device.height_u >= 1:
        block += draw_labels(device, x=x, middle=y + height / 2)
    return f'<a href="{escape(device.url)}">{block}</a>' if device.url else f"<g>{block}</g>"


def draw_labels(device: MountedDevice, *, x: float, middle: float) -> str:
    """The labels of a block of at least one unit."""
    ink = readable_on(device.fill)
    room = FRONT - 34 - (16 if device.locked else 0)
    name = shorten(device.name, room / CHARACTER)
    left = room - width_of(name) * CHARACTER - 14
    kind = shorten(device.kind, left / (CHARACTER * 0.86)) if left > 60 else ""
    parts = [
        f'<text class="rack-name{look}" x="{x + 14:g}" y="{middle:g}" fill="{ink}">{escape(text)}</text>'
        for look, text in looks_of(name, shorten(device.name, room / NARROW_CHARACTER))
    ]
    end = x + FRONT - 16
    if device.locked:
        parts.append(
            f'<path class="rack-lock" fill="{ink}" transform="translate({end - 9:g} {middle - 6:g})" d="{PADLOCK}"/>'
        )
        end -= 16
    if kind:
        parts.append(f'<text class="rack-kind" x="{end:g}" y="{middle:g}" fill="{ink}">{escape(kind)}</text>')
    return "".join(parts)


def looks_of(wide: str, narrow: str) -> list[tuple[str, str]]:
    """Classes and texts: one text for all windows, or one for wide and one for narrow windows."""
    return [("", wide)] if wide == narrow else [(" is-wide", wide), (" is-narrow", narrow)]


def top_of(start_u: float, height_u: float, elevation: Elevation) -> float:
    """The y coordinate of the upper edge of a device that starts at `start_u`; y grows downwards."""
    return MARGIN + (elevation.drawn_height_u - start_u + 1 - height_u) * UNIT


def width_of(text: str) -> int:
    """The width of `text` in average characters."""
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)


def shorten(text: str, width: float) -> str:
    """`text` on one line, cut with an ellipsis where it is wider than `width` average characters."""
    text = " ".join(text.split())
    if width_of(text) <= width:
        return text
    kept = ""
    for character in text:
        if width_of(kept + character) > width - 1:
            break
        kept += character
    return f"{kept.rstrip()}…"


def safe_color(color: str | None) -> str:
    """`color` as #RRGGBB; grey if it is missing or not a hexadecimal colour."""
    if not color or not re.fullmatch(r"#(?:[0-9A-Fa-f]{3}){1,2}", color):
        return DEFAULT_COLOR
    digits = color[1:]
    return f"#{''.join(digit * 2 for digit in digits) if len(digits) == 3 else digits}".upper()


def readable_on(background: str) -> str:
    """Dark or light text, whichever has more contrast with `background` (WCAG 2, relative luminance)."""
    light = luminance(background)
    dark_contrast = (light + 0.05) / (luminance(DARK_TEXT) + 0.05)
    light_contrast = 1.05 / (light + 0.05)
    return DARK_TEXT if dark_contrast >= light_contrast else LIGHT_TEXT


def luminance(color: str) -> float:
    """Relative luminance of #RRGGBB, 0 (black) to 1 (white): https://www.w3.org/TR/WCAG22/#dfn-relative-luminance."""
    channels = (int(color[start : start + 2], 16) / 255 for start in (1, 3, 5))
    red, green, blue = (value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def legend(devices: Iterable[MountedDevice]) -> list[tuple[str, str, int]]:
    """The legend: ``(type, colour, number of devices)``, most frequent first."""
    counts: dict[tuple[str, str], int] = {}
    for device in devices:
        key = (device.type_name or "No type", device.fill)
        counts[key] = counts.get(key, 0) + 1
    return sorted(
        ((name, color, count) for (name, color), count in counts.items()),
        key=lambda row: (-row[2], alphabetical_key(row[0])),
    )
