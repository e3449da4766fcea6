"""Sizes, times and counts in words, the same in a terminal and in the console."""

import datetime as dt
from collections.abc import Sequence

from django.utils import timezone


def format_size(number: int) -> str:
    """Bytes for people, in powers of ten as disks are sold."""
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
    """As `moment`, for pages that name the zone once for all times on them."""
    return f"{timezone.localtime(when):%Y-%m-%d %H:%M}"


def format_age(when: dt.datetime) -> str:
    """How long ago, in the largest unit that says something."""
    seconds = (timezone.now() - when).total_seconds()
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if (count := int(seconds // length)) >= 1:
            return f"{count} {unit}{'s' if count > 1 else ''} ago"
    return "just now" if seconds >= 0 else "in the future"


def pluralize(number: int, one: str, many: str = "") -> str:
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def join_names(names: Sequence[str], most: int = 10) -> str:
    """``a, b, c``, and how many more there are beyond `most`."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{', '.join(names[:most])}{more}"


def describe_unknown_keys(number: int, newest: str) -> str:
    """What there is to say of so many backups whose signature nobody here can verify, and what to do about it."""
    if number == 1:
        what = f"The backup {newest} is signed with a key that is not named here"
    else:
        what = f"{pluralize(number, 'backup')} are signed with a key that is not named here, the newest is {newest}"
    return (
        f"{what}. If the key was changed, name the old one in BACKUP_SIGNING_KEY_FALLBACKS and start HomeRack again;"
        f" {'it is' if number == 1 else 'they are'} not trusted until then."
    )


def strip_kept(reason: str) -> str:
    """Why a backup is kept, for a place beside the word "kept": ``until 2026-11-30: younger than 7 days``."""
    return reason.removeprefix("kept: ").removeprefix("kept ")


def format_duration(seconds: float) -> str:
    """``0.4 s``, ``42 s``, ``3 min 20 s``, ``1 h 5 min``."""
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
