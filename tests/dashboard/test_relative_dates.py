"""Moments and durations as the dashboard names them."""

import datetime as dt

import pytest
from django.utils import timezone

from ops.utils.formatting import format_duration, format_past_day, format_timespan, format_upcoming

NOW = dt.datetime(2026, 11, 24, 15, 0, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("days", "words"),
    [(0, "today"), (1, "yesterday"), (2, "on Sunday"), (6, "on Wednesday"), (7, "on 17 November")],
)
def test_past_day_is_named_by_its_distance(days: int, words: str) -> None:
    assert format_past_day(NOW - dt.timedelta(days=days), NOW) == words


def test_past_day_of_another_year_includes_the_year() -> None:
    assert format_past_day(NOW.replace(year=2025), NOW) == "on 24 November 2025"


@pytest.mark.parametrize(
    ("hours", "words"),
    [
        (1, "today at 16:00"),
        (5, "tonight at 20:00"),
        (11, "tonight at 02:00"),
        (15, "tomorrow at 06:00"),
        (35, "on Thursday at 02:00"),
        (24 * 8, "on 2 December at 15:00"),
    ],
)
def test_upcoming_moment_is_named_by_day_and_time(hours: int, words: str) -> None:
    assert format_upcoming(NOW + dt.timedelta(hours=hours), NOW) == words


def test_early_morning_is_tonight_within_a_day_only() -> None:
    one_in_the_morning = NOW.replace(hour=1)

    assert format_upcoming(one_in_the_morning + dt.timedelta(hours=1), one_in_the_morning) == "tonight at 02:00"
    assert format_upcoming(one_in_the_morning + dt.timedelta(hours=25), one_in_the_morning) == "tomorrow at 02:00"


def test_past_day_is_in_the_time_zone_of_the_site() -> None:
    with timezone.override("Asia/Tokyo"):
        assert format_past_day(NOW.replace(hour=14), NOW) == "yesterday"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(20, "less than a minute"), (60, "1 minute"), (7199, "1 hour"), (86400 * 4, "4 days")],
)
def test_timespan_is_in_whole_units(seconds: int, words: str) -> None:
    assert format_timespan(dt.timedelta(seconds=seconds)) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "< 0.1 s"),
        (0.04, "< 0.1 s"),
        (0.099, "< 0.1 s"),
        (0.1, "0.1 s"),
        (9.9, "9.9 s"),
        (42.4, "42 s"),
        (200, "3 min 20 s"),
        (3900, "1 h 5 min"),
    ],
)
def test_duration_is_never_shown_as_zero(seconds: float, words: str) -> None:
    assert format_duration(seconds) == words
