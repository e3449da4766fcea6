"""Twelve weeks of backups as SVG, one square for each day. dashboard.css has the colours.

A square shows its state by a mark as well as by colour, and has a label in words.
"""

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from html import escape

from ops.utils.formatting import pluralize

WEEKS = 12
DAYS = 7
CELL, GAP = 22, 5
"""In SVG units."""
LEFT, TOP = 34, 20
"""Room for the names of days and months."""
STEP = CELL + GAP
WIDTH = LEFT + WEEKS * STEP - GAP
HEIGHT = TOP + DAYS * STEP - GAP


class State(StrEnum):
    """The state of a day; screen readers read the value."""

    RESTORE_TESTED = "restore tested"
    MADE = "backed up"
    FAILED = "backup failed"
    MISSED = "backup missed"
    NONE = "nothing was due"
    FUTURE = "yet to come"


MARKS = {
    State.RESTORE_TESTED: "m6 11.5 3.5 3.5 7-7.5",
    State.FAILED: "m7 7 8 8m0-8-8 8",
    State.MISSED: "M7 11h8",
}
"""Paths within a square: a tick, a cross, a dash."""


@dataclass(frozen=True, kw_only=True)
class Day:
    """The backups of one day. `expected`: a schedule had one due."""

    date: dt.date
    made: int = 0
    restore_tested: int = 0
    failed: int = 0
    expected: bool = False

    def state(self, today: dt.date) -> State:
        if self.date > today:
            return State.FUTURE
        if self.made:
            return State.RESTORE_TESTED if self.restore_tested else State.MADE
        if self.failed:
            return State.FAILED
        return State.MISSED if self.expected and self.date < today else State.NONE


def first_day(today: dt.date) -> dt.date:
    """The Monday on which the calendar begins."""
    return today - dt.timedelta(days=today.weekday() + DAYS * (WEEKS - 1))


def draw(days: Sequence[Day], *, today: dt.date) -> str:
    """The whole calendar as one ``<svg>`` element. `days` are in order, from `first_day` on, without gaps."""
    attributes = f'viewBox="0 0 {WIDTH} {HEIGHT}" role="group" aria-label="{escape(summary(days, today=today))}"'
    parts = (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="dash-calendar" {attributes}>',
        *(f'<text x="0" y="{TOP + row * STEP + CELL / 2:g}">{name}</text>' for row, name in ((0, "Mon"), (3, "Thu"))),
        *_months(days),
        *(_square(day, number, today) for number, day in enumerate(days)),
        "</svg>",
    )
    return "".join(parts)


def _months(days: Sequence[Day]) -> Iterator[str]:
    """The name of each month above the first whole week in it."""
    named = -3
    for week, monday in enumerate(days[::DAYS]):
        if monday.date.day <= DAYS and week - named > 1:
            named = week
            yield f'<text x="{LEFT + week * STEP}" y="8">{monday.date:%b}</text>'


def _square(day: Day, number: int, today: dt.date) -> str:
    state = day.state(today)
    if state is State.FUTURE:
        return ""
    x, y = LEFT + number // DAYS * STEP, TOP + number % DAYS * STEP
    label = escape(describe_day(day, today=today))
    current = " is-today" if day.date == today else ""
    return (
        f'<g class="dash-day is-{state.name.lower()}{current}" role="img" aria-label="{label}" '
        f'transform="translate({x} {y})"><title>{label}</title>'
        f"{_cell(state)}</g>"
    )


def _cell(state: State) -> str:
    mark = f'<path class="dash-mark" d="{MARKS[state]}"/>' if state in MARKS else ""
    return f'<rect width="{CELL}" height="{CELL}" rx="4"/>{mark}'


def draw_key(state: State) -> str:
    """One square, for the legend."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="dash-key dash-day is-{state.name.lower()}" '
        f'viewBox="0 0 {CELL} {CELL}" aria-hidden="true">{_cell(state)}</svg>'
    )


def describe_day(day: Day, *, today: dt.date) -> str:
    """``Sunday 2026-11-22: 2 backups, 1 restore tested; 1 attempt failed``."""
    parts = []
    if day.made:
        parts.append(
            pluralize(day.made, "backup") + (f", {day.restore_tested} restore tested" if day.restore_tested else "")
        )
    if day.failed:
        parts.append(f"{pluralize(day.failed, 'attempt')} failed")
    return f"{day.date:%A %Y-%m-%d}: {'; '.join(parts) or _describe_none(day, today)}"


def _describe_none(day: Day, today: dt.date) -> str:
    if day.state(today) is State.MISSED:
        return "no backup, though one was due"
    return "no backup yet" if day.date == today else "no backup"


def summary(days: Sequence[Day], *, today: dt.date) -> str:
    """The calendar in words, for screen readers."""
    counts = {state: sum(day.state(today) is state for day in days) for state in State}
    reported = (State.RESTORE_TESTED, State.MADE, State.FAILED, State.MISSED)
    listed = ", ".join(f"{state} on {pluralize(counts[state], 'day')}" for state in reported if counts[state])
    return f"Backups of the last {WEEKS} weeks: {listed or 'none'}"
