"""Pictures are text: what they say to those who do not see them, and that they are whole."""

import datetime as dt
from xml.etree import ElementTree as ET

import pytest

from ops.admin.dashboard import backup_calendar, charts
from ops.admin.dashboard.backup_calendar import Day, State
from ops.admin.dashboard.charts import Point

TODAY = dt.date(2026, 11, 24)
SVG = "{http://www.w3.org/2000/svg}"


def weeks(**by_day: Day) -> list[Day]:
    first = backup_calendar.first_day(TODAY)
    dates = [first + dt.timedelta(days=number) for number in range(84)]
    return [by_day.get(f"d{date:%m%d}", Day(date=date)) for date in dates]


def squares(days: list[Day]) -> dict[str, str]:
    """Class by what is read out."""
    drawing = ET.fromstring(backup_calendar.draw(days, today=TODAY))
    return {group.attrib["aria-label"]: group.attrib["class"] for group in drawing.iter(f"{SVG}g")}


def test_the_calendar_begins_on_a_monday_and_holds_today_in_its_last_week() -> None:
    first = backup_calendar.first_day(TODAY)

    assert first.weekday() == 0
    assert 0 <= (first + dt.timedelta(days=83) - TODAY).days < 7


@pytest.mark.parametrize(
    ("day", "state", "words"),
    [
        (Day(date=TODAY, made=2, restore_tested=1), State.VERIFIED, "2 backups, 1 restore tested"),
        (Day(date=TODAY, made=1, failed=1), State.MADE, "1 backup; 1 attempt failed"),
        (Day(date=TODAY, failed=2), State.FAILED, "2 attempts failed"),
        (Day(date=TODAY, expected=True), State.NONE, "no backup yet"),
    ],
)
def test_a_day_in_a_state_and_words(day: Day, state: State, words: str) -> None:
    assert day.state(TODAY) is state
    assert backup_calendar.in_words(day, today=TODAY) == f"Tuesday 24 November: {words}"


def test_a_day_is_missed_once_it_is_over() -> None:
    yesterday = Day(date=TODAY - dt.timedelta(days=1), expected=True)

    assert yesterday.state(TODAY) is State.MISSED
    assert backup_calendar.in_words(yesterday, today=TODAY) == "Monday 23 November: no backup, though one was due"


def test_every_day_but_those_to_come_is_a_square_with_words() -> None:
    drawn = squares(weeks(d1122=Day(date=dt.date(2026, 11, 22), made=1, restore_tested=1)))

    assert len(drawn) == 79
    assert drawn["Sunday 22 November: 1 backup, 1 restore tested"] == "dash-day is-verified"
    assert drawn["Tuesday 24 November: no backup yet"] == "dash-day is-none is-today"


def test_states_have_marks_beside_colours() -> None:
    assert (
        len(
            {backup_calendar.MARKS.get(state, "") for state in (State.VERIFIED, State.MADE, State.FAILED, State.MISSED)}
        )
        == 4
    )
    assert "<path" in backup_calendar.draw_key(State.FAILED)


def test_the_calendar_is_summed_up() -> None:
    days = weeks(
        d1123=Day(date=dt.date(2026, 11, 23), made=1),
        d1122=Day(date=dt.date(2026, 11, 22), failed=1),
    )

    assert backup_calendar.summary(days, today=TODAY) == "Backups of the last 12 weeks by day: 1 backed up, 1 failed"
    assert backup_calendar.summary(weeks(), today=TODAY) == "Backups of the last 12 weeks by day: none"


def test_sizes_are_a_line_with_a_dot_for_each_day() -> None:
    points = [Point(date=TODAY - dt.timedelta(days=1), size=2_000_000), Point(date=TODAY, size=4_100_000)]

    drawing = ET.fromstring(charts.draw_sizes(points))

    assert drawing.attrib["aria-label"] == "Size of backups: 2.0 MB on 23 Nov 2026, 4.1 MB on 24 Nov 2026"
    assert [title.text for title in drawing.iter(f"{SVG}title")] == ["23 Nov 2026: 2.0 MB", "24 Nov 2026: 4.1 MB"]


def test_one_backup_is_a_dot() -> None:
    drawing = ET.fromstring(charts.draw_sizes([Point(date=TODAY, size=0)]))

    assert drawing.attrib["aria-label"] == "Size of the backup of 24 Nov 2026: 0 B"
    assert [path.attrib["class"] for path in drawing.iter(f"{SVG}path")] == ["dash-grid"] * 4


@pytest.mark.parametrize(("value", "rounded"), [(0, 1), (3, 5), (10, 10), (11, 20), (2.4, 2.5), (600, 1000)])
def test_the_scale_ends_at_a_round_number(value: float, rounded: float) -> None:
    assert charts.round_up(value) == rounded
