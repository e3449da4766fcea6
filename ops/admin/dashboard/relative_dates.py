"""Moments as people say them: how long ago, which day, when tonight. In the site's time zone."""

import datetime as dt

from django.utils import timezone

from ops.utils.formatting import pluralize

MORNING, EVENING = 6, 20
"""The night is what is in between: hours of the day."""
WEEK = 7


def ago(when: dt.datetime, now: dt.datetime) -> str:
    """``3 hours ago``, ``just now``."""
    passed = now - when
    return f"{span(passed)} ago" if passed >= dt.timedelta(minutes=1) else "just now"


def span(passed: dt.timedelta) -> str:
    """``3 hours``: whole units of the largest that fits."""
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if (count := int(passed.total_seconds() // length)) >= 1:
            return pluralize(count, unit)
    return "less than a minute"


def past_day(when: dt.datetime, now: dt.datetime) -> str:
    """A day in the past as people say it: ``today``, ``yesterday``, ``on Sunday``, ``on 3 October``."""
    day, today = timezone.localtime(when).date(), timezone.localtime(now).date()
    days = (today - day).days
    if days in {0, 1}:
        return ("today", "yesterday")[days]
    if 1 < days < WEEK:
        return f"on {day:%A}"
    return date_of(day, today)


def upcoming(when: dt.datetime, now: dt.datetime) -> str:
    """A moment in the future: ``today at 14:00``, ``tonight at 02:00``, ``on Sunday at 02:00``."""
    local, here = timezone.localtime(when), timezone.localtime(now)
    days = (local.date() - here.date()).days
    at = f"at {local:%H:%M}"
    small_hours = local.hour < MORNING and when - now < dt.timedelta(days=1)
    if small_hours or (days == 0 and local.hour >= EVENING):
        return f"tonight {at}"
    if days in {0, 1}:
        return f"{('today', 'tomorrow')[days]} {at}"
    return f"on {local:%A} {at}" if 1 < days < WEEK else f"{date_of(local.date(), here.date())} {at}"


def date_of(day: dt.date, today: dt.date) -> str:
    """``on 3 October``, with the year where it is another."""
    year = f" {day.year}" if day.year != today.year else ""
    return f"on {day.day} {day:%B}{year}"
