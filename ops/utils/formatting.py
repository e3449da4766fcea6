"""Sizes, times and counts in words, the same in a terminal and in the admin."""

import datetime as dt
from collections.abc import Sequence

from django.utils import timezone

from ops.utils import clock

MINUTE, DAY = dt.timedelta(minutes=1), dt.timedelta(days=1)
MORNING, EVENING = 6, 20
"""The night is what is in between: hours of the day."""
WEEK = 7
"""Days."""


def format_size(number: int | None) -> str:
    """Bytes for people, in powers of ten as disks are sold; ``size unknown`` for None."""
    if number is None:
        return "size unknown"
    value, unit = float(number), "B"
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if value < 1000 or unit == "TB":
            break
        value /= 1000
    return f"{value:.0f} {unit}" if unit == "B" or value >= 100 else f"{value:.1f} {unit}"


def format_datetime(when: dt.datetime) -> str:
    """Date and time in the site's zone, with its name."""
    return f"{timezone.localtime(when):%Y-%m-%d %H:%M %Z}"


def format_local(when: dt.datetime) -> str:
    """As `format_datetime`, for pages that name the zone once for all times on them."""
    return f"{timezone.localtime(when):%Y-%m-%d %H:%M}"


def format_age(when: dt.datetime, now: dt.datetime | None = None) -> str:
    """``3 hours ago``, ``just now``."""
    passed = (now or clock.now()) - when
    if passed >= MINUTE:
        return f"{format_timespan(passed)} ago"
    return "just now" if passed > -MINUTE else "in the future"


def format_timespan(passed: dt.timedelta) -> str:
    """``3 hours``: whole days, hours or minutes. Django's `timesince` turns 13 days into a week."""
    for unit, length in (("day", DAY), ("hour", 60 * MINUTE), ("minute", MINUTE)):
        if passed >= length:
            return pluralize(passed // length, unit)
    return "less than a minute"


def format_past_day(when: dt.datetime, now: dt.datetime) -> str:
    """``today``, ``yesterday``, ``on Sunday``, ``on 3 October``, in the site's time zone."""
    day, today = timezone.localtime(when).date(), timezone.localtime(now).date()
    days = (today - day).days
    if days in {0, 1}:
        return ("today", "yesterday")[days]
    return f"on {day:%A}" if 1 < days < WEEK else _on_date(day, today)


def format_upcoming(when: dt.datetime, now: dt.datetime) -> str:
    """``today at 14:00``, ``tonight at 02:00``, ``on Sunday at 02:00``, in the site's time zone."""
    local, here = timezone.localtime(when), timezone.localtime(now)
    days = (local.date() - here.date()).days
    at = f"at {local:%H:%M}"
    is_before_morning = local.hour < MORNING and when - now < DAY
    if is_before_morning or (days == 0 and local.hour >= EVENING):
        return f"tonight {at}"
    if days in {0, 1}:
        return f"{('today', 'tomorrow')[days]} {at}"
    return f"on {local:%A} {at}" if 1 < days < WEEK else f"{_on_date(local.date(), here.date())} {at}"


def _on_date(day: dt.date, today: dt.date) -> str:
    """``on 3 October``, with the year if it is not this one."""
    year = f" {day.year}" if day.year != today.year else ""
    return f"on {day.day} {day:%B}{year}"


def pluralize(number: int, one: str, many: str = "") -> str:
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def join_names(names: Sequence[str], most: int = 10) -> str:
    """``a, b, c``, and how many more there are beyond `most`."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{', '.join(names[:most])}{more}"


def describe_unknown_keys(number: int, newest: str) -> str:
    """A sentence on backups that are signed with an unknown key, and the hint."""
    if number == 1:
        problem = f"The backup {newest} is signed with an unknown key and not trusted."
    else:
        problem = (
            f"{pluralize(number, 'backup')} are signed with an unknown key and not trusted; the newest is {newest}."
        )
    return f"{problem} If the key was changed, add the old key to BACKUP_SIGNING_KEY_FALLBACKS and restart the site."


def describe_suspicious(number: int, first: str) -> str:
    """A sentence on suspicious backups that are not decided on."""
    which = f"The backup {first} is" if number == 1 else f"{pluralize(number, 'backup')} are"
    since = "" if number == 1 else f" since {first}"
    return f"{which} suspicious{since}: the database has lost much of what it contained before."


def strip_kept(reason: str) -> str:
    """The reason of a retention decision without the word "kept": ``until 2026-11-30: less than 7 days old``."""
    return reason.removeprefix("kept ")


def format_duration(seconds: float) -> str:
    """``< 0.1 s``, ``0.4 s``, ``42 s``, ``3 min 20 s``, ``1 h 5 min``."""
    if seconds < 0.1:
        return "< 0.1 s"
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def time_zone_name() -> str:
    """The name of the site's time zone, for pages that show times without it."""
    return timezone.get_default_timezone_name()
