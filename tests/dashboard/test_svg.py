"""The calendar and the chart: complete SVG, with labels for screen readers."""

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
    """The class of each square by its label."""
    drawing = ET.fromstring(backup_calendar.draw(days, today=TODAY))
    return {group.attrib["aria-label"]: group.attrib["class"] for group in drawing.iter(f"{SVG}g")}


def test_calendar_begins_on_monday_and_ends_in_the_current_week() -> None:
    first = backup_calendar.first_day(TODAY)

    assert first.weekday() == 0
    assert 0 <= (first + dt.timedelta(days=83) - TODAY).days < 7


@pytest.mark.parametrize(
    ("day", "state", "label"),
    [
        (Day(date=TODAY, made=2, restore_tested=1), State.RESTORE_TESTED, "2 backups, 1 restore tested"),
        (Day(date=TODAY, made=1, failed=1), State.MADE, "1 backup; 1 attempt failed"),
        (Day(date=TODAY, failed=2), State.FAILED, "2 attempts failed"),
        (Day(date=TODAY, expected=True), State.NONE, "no backup yet"),
    ],
)
def test_day_has_state_and_label(day: Day, state: State, label: str) -> None:
    assert day.state(TODAY) is state
    assert backup_calendar.describe_day(day, today=TODAY) == f"Tuesday 2026-11-24: {label}"


def test_day_is_missed_when_it_is_over() -> None:
    yesterday = Day(date=TODAY - dt.timedelta(days=1), expected=True)

    assert yesterday.state(TODAY) is State.MISSED
    assert backup_calendar.describe_day(yesterday, today=TODAY) == "Monday 2026-11-23: no backup, though one was due"


def test_calendar_has_a_labelled_square_for_each_day_until_today() -> None:
    drawn = squares(weeks(d1122=Day(date=dt.date(2026, 11, 22), made=1, restore_tested=1)))

    assert len(drawn) == 79
    assert drawn["Sunday 2026-11-22: 1 backup, 1 restore tested"] == "dash-day is-restore_tested"
    assert drawn["Tuesday 2026-11-24: no backup yet"] == "dash-day is-none is-today"


def test_states_differ_by_mark_not_only_by_colour() -> None:
    assert (
        len(
            {
                backup_calendar.MARKS.get(state, "")
                for state in (State.RESTORE_TESTED, State.MADE, State.FAILED, State.MISSED)
            }
        )
        == 4
    )
    assert "<path" in backup_calendar.draw_key(State.FAILED)


def test_calendar_has_a_summary_for_screen_readers() -> None:
    days = weeks(
        d1123=Day(date=dt.date(2026, 11, 23), made=1),
        d1122=Day(date=dt.date(2026, 11, 22), failed=1),
    )

    assert (
        backup_calendar.summary(days, today=TODAY)
        == "Backups of the last 12 weeks: backed up on 1 day, backup failed on 1 day"
    )
    assert backup_calendar.summary(weeks(), today=TODAY) == "Backups of the last 12 weeks: none"


def test_size_chart_has_a_dot_for_each_day() -> None:
    points = [Point(date=TODAY - dt.timedelta(days=1), value=2_000_000), Point(date=TODAY, value=4_100_000)]

    drawing = ET.fromstring(charts.draw_sizes(points))

    assert drawing.attrib["aria-label"] == "Size of backups: 2.0 MB on 2026-11-23, 4.1 MB on 2026-11-24"
    assert [title.text for title in drawing.iter(f"{SVG}title")] == ["2026-11-23: 2.0 MB", "2026-11-24: 4.1 MB"]


def test_size_chart_of_one_backup_has_no_line() -> None:
    drawing = ET.fromstring(charts.draw_sizes([Point(date=TODAY, value=0)]))

    assert drawing.attrib["aria-label"] == "Size of the backup of 2026-11-24: 0 B"
    assert [path.attrib["class"] for path in drawing.iter(f"{SVG}path")] == ["dash-grid"] * 4


@pytest.mark.parametrize(("value", "rounded"), [(0, 1), (3, 5), (10, 10), (11, 20), (2.4, 2.5), (600, 1000)])
def test_scale_is_rounded_up(value: float, rounded: float) -> None:
    assert charts.round_up(value) == rounded


@pytest.mark.parametrize(
    ("seconds", "top"),
    [(0.0, "2 s"), (0.4, "2 s"), (100.0, "100 s"), (180.0, "4 min"), (10_000.0, "200 min"), (36_000.0, "10 hours"),
     (400_000.0, "5 days")],
)  # fmt: skip
def test_axis_of_durations_has_a_unit_that_suits_them(seconds: float, top: str) -> None:
    drawing = ET.fromstring(charts.draw_durations([Point(date=TODAY, value=seconds)], "Time to restore"))
    labels = [text.text for text in drawing.iter("{http://www.w3.org/2000/svg}text")]
    assert top in labels
    assert labels[0] == "0"
