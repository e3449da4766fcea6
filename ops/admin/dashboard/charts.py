"""The size of backups over time as an SVG line chart. dashboard.css has the colours."""

import datetime as dt
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from ops.utils.formatting import format_size

WIDTH, HEIGHT = 400, 170
LEFT, RIGHT, TOP, BOTTOM = 58, 8, 10, 22
"""Room for labels, in SVG units."""
STEPS = (1, 2, 2.5, 5, 10)
LINES = 3
"""Grid lines above zero."""


@dataclass(frozen=True, kw_only=True)
class Point:
    """The largest backup of a day, in bytes."""

    date: dt.date
    size: int


def draw_sizes(points: Sequence[Point]) -> str:
    """One ``<svg>`` element. `points` has at least one, and is in order of dates."""
    top = LINES * round_up(max(point.size for point in points) / LINES)
    coordinates = list(_coordinates(points, top))
    attributes = f'viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(describe(points))}"'
    parts = (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="dash-chart" {attributes}>',
        *_grid(top),
        *_line(coordinates),
        *(_dot(point, at) for point, at in zip(points, coordinates, strict=True)),
        *_dates(points),
        "</svg>",
    )
    return "".join(parts)


def round_up(value: float) -> float:
    """The next of 1, 2, 2.5, 5, 10, 20 … from `value` on."""
    if value <= 1:
        return 1
    unit: float = 10.0 ** math.floor(math.log10(value))
    return next(step * unit for step in STEPS if step * unit >= value * 0.999999)


def describe(points: Sequence[Point]) -> str:
    """The chart in words, for screen readers."""
    first, last = points[0], points[-1]
    if len(points) == 1:
        return f"Size of the backup of {_day(last.date)}: {format_size(last.size)}"
    began = f"{format_size(first.size)} on {_day(first.date)}"
    return f"Size of backups: {began}, {format_size(last.size)} on {_day(last.date)}"


def _coordinates(points: Sequence[Point], top: float) -> Iterator[tuple[float, float]]:
    days = (points[-1].date - points[0].date).days
    for point in points:
        along = (point.date - points[0].date).days / days if days else 0.5
        yield LEFT + along * (WIDTH - LEFT - RIGHT), _height(point.size, top)


def _height(value: float, top: float) -> float:
    return TOP + (1 - value / top) * (HEIGHT - TOP - BOTTOM)


def _grid(top: float) -> Iterator[str]:
    for number in range(LINES + 1):
        value = number * top / LINES
        y = _height(value, top)
        yield f'<path class="dash-grid" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>'
        yield f'<text class="dash-end" x="{LEFT - 8}" y="{y:.1f}">{format_size(round(value)) if number else "0"}</text>'


def _line(coordinates: Sequence[tuple[float, float]]) -> Iterator[str]:
    path = " ".join(f"{x:.1f} {y:.1f}" for x, y in coordinates)
    floor = HEIGHT - BOTTOM
    if len(coordinates) > 1:
        yield f'<path class="dash-area" d="M{coordinates[0][0]:.1f} {floor}L{path} {coordinates[-1][0]:.1f} {floor}Z"/>'
        yield f'<path class="dash-line" d="M{path}"/>'


def _dot(point: Point, at: tuple[float, float]) -> str:
    x, y = at
    return (
        f'<g class="dash-point"><title>{_day(point.date)}: {format_size(point.size)}</title>'
        f'<circle class="dash-hover-area" cx="{x:.1f}" cy="{y:.1f}" r="7"/>'
        f'<circle class="dash-dot" cx="{x:.1f}" cy="{y:.1f}" r="2.5"/></g>'
    )


def _dates(points: Sequence[Point]) -> Iterator[str]:
    y = HEIGHT - 6
    if len(points) == 1:
        yield f'<text class="dash-middle" x="{(LEFT + WIDTH - RIGHT) / 2:g}" y="{y}">{_day(points[0].date)}</text>'
        return
    yield f'<text x="{LEFT}" y="{y}">{_day(points[0].date)}</text>'
    yield f'<text class="dash-end" x="{WIDTH - RIGHT}" y="{y}">{_day(points[-1].date)}</text>'


def _day(date: dt.date) -> str:
    return f"{date.day} {date:%b %Y}"
