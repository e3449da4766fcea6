"""Values over time as SVG line charts: sizes of backups, and durations. dashboard.css has the colours."""

import datetime as dt
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from html import escape

from ops.utils.formatting import format_size

WIDTH = 400
LEFT, RIGHT, TOP, BOTTOM = 58, 8, 10, 22
"""Room for labels, in SVG units."""
STEPS = (1, 2, 2.5, 5, 10)
UNITS = (("days", 86400.0, 3.0), ("hours", 3600.0, 3.0), ("min", 60.0, 3.0), ("s", 1.0, 0.0))
"""Of durations: the name, its seconds, and from how many of them on it is used."""


@dataclass(frozen=True, kw_only=True)
class Point:
    """The value of a day: bytes or seconds."""

    date: dt.date
    value: float


@dataclass(frozen=True, kw_only=True)
class Scale:
    """What is drawn. `one` and `many` begin the description of a value and of several; `unit` is 1 on the axis."""

    one: str
    many: str
    format: Callable[[float], str]
    unit: float = 1.0
    height: int = 170
    lines: int = 3
    """Grid lines above zero."""


def draw_sizes(points: Sequence[Point]) -> str:
    """One ``<svg>`` element. `points` has at least one, and is in order of dates."""
    size = Scale(one="Size of the backup", many="Size of backups", format=lambda value: format_size(round(value)))
    return draw(points, size)


def draw_durations(points: Sequence[Point], what: str) -> str:
    """As `draw_sizes`, of seconds. `what` begins the description for screen readers."""
    name, unit = unit_of(max(point.value for point in points))
    scale = Scale(
        one=what, many=what, format=lambda value: f"{value / unit:.3g} {name}", unit=unit, height=110, lines=2
    )
    return draw(points, scale)


def unit_of(seconds: float) -> tuple[str, float]:
    return next((name, unit) for name, unit, least in UNITS if seconds >= least * unit)


def draw(points: Sequence[Point], scale: Scale) -> str:
    top = scale.unit * scale.lines * round_up(max(point.value for point in points) / scale.unit / scale.lines)
    coordinates = list(_coordinates(points, top, scale))
    attributes = f'viewBox="0 0 {WIDTH} {scale.height}" role="img" aria-label="{escape(describe(points, scale))}"'
    parts = (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="dash-chart" {attributes}>',
        *_grid(top, scale),
        *_line(coordinates, scale),
        *(_dot(point, at, scale) for point, at in zip(points, coordinates, strict=True)),
        *_dates(points, scale),
        "</svg>",
    )
    return "".join(parts)


def round_up(value: float) -> float:
    """The next of 1, 2, 2.5, 5, 10, 20 … from `value` on."""
    if value <= 1:
        return 1
    unit: float = 10.0 ** math.floor(math.log10(value))
    return next(step * unit for step in STEPS if step * unit >= value * 0.999999)


def describe(points: Sequence[Point], scale: Scale) -> str:
    """The chart in words, for screen readers."""
    first, last = points[0], points[-1]
    if len(points) == 1:
        return f"{scale.one} of {_day(last.date)}: {scale.format(last.value)}"
    began = f"{scale.format(first.value)} on {_day(first.date)}"
    return f"{scale.many}: {began}, {scale.format(last.value)} on {_day(last.date)}"


def _coordinates(points: Sequence[Point], top: float, scale: Scale) -> Iterator[tuple[float, float]]:
    days = (points[-1].date - points[0].date).days
    for point in points:
        along = (point.date - points[0].date).days / days if days else 0.5
        yield LEFT + along * (WIDTH - LEFT - RIGHT), _height(point.value, top, scale)


def _height(value: float, top: float, scale: Scale) -> float:
    return TOP + (1 - value / top) * (scale.height - TOP - BOTTOM)


def _grid(top: float, scale: Scale) -> Iterator[str]:
    for number in range(scale.lines + 1):
        value = number * top / scale.lines
        y = _height(value, top, scale)
        yield f'<path class="dash-grid" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>'
        yield f'<text class="dash-end" x="{LEFT - 8}" y="{y:.1f}">{scale.format(value) if number else "0"}</text>'


def _line(coordinates: Sequence[tuple[float, float]], scale: Scale) -> Iterator[str]:
    path = " ".join(f"{x:.1f} {y:.1f}" for x, y in coordinates)
    floor = scale.height - BOTTOM
    if len(coordinates) > 1:
        yield f'<path class="dash-area" d="M{coordinates[0][0]:.1f} {floor}L{path} {coordinates[-1][0]:.1f} {floor}Z"/>'
        yield f'<path class="dash-line" d="M{path}"/>'


def _dot(point: Point, at: tuple[float, float], scale: Scale) -> str:
    x, y = at
    return (
        f'<g class="dash-point"><title>{_day(point.date)}: {scale.format(point.value)}</title>'
        f'<circle class="dash-hover-area" cx="{x:.1f}" cy="{y:.1f}" r="7"/>'
        f'<circle class="dash-dot" cx="{x:.1f}" cy="{y:.1f}" r="2.5"/></g>'
    )


def _dates(points: Sequence[Point], scale: Scale) -> Iterator[str]:
    y = scale.height - 6
    if len(points) == 1:
        yield f'<text class="dash-middle" x="{(LEFT + WIDTH - RIGHT) / 2:g}" y="{y}">{_day(points[0].date)}</text>'
        return
    yield f'<text x="{LEFT}" y="{y}">{_day(points[0].date)}</text>'
    yield f'<text class="dash-end" x="{WIDTH - RIGHT}" y="{y}">{_day(points[-1].date)}</text>'


def _day(date: dt.date) -> str:
    return f"{date:%Y-%m-%d}"
