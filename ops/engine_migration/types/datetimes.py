"""Dates, times and intervals."""

import datetime as dt
import re
import zoneinfo
from collections.abc import Callable
from typing import Any

from ops.engine_migration.types.base import ColumnType, Refused, Stored, refuse_type

DATE = r"(\d{4})-(\d{2})-(\d{2})"
CLOCK = r"(\d{2}):(\d{2}):(\d{2})(?:[.](\d+))?"
DIGITS = "[0-9]" * 6
UTC = dt.UTC


def convert_date(value: Stored) -> str:
    if not isinstance(value, str):
        raise refuse_type(value, "a date")
    if not (match := re.fullmatch(DATE, value, re.ASCII)):
        raise Refused("not a date of the form 2026-01-31")
    day: dt.date = from_parts(dt.date, *match.groups())
    return day.isoformat()


def from_parts(create: Callable[..., Any], *parts: str) -> Any:
    try:
        return create(*(int(part) for part in parts))
    except ValueError as error:
        raise Refused(str(error)) from None


def microseconds(fraction: str | None) -> str:
    """`fraction` of a second as six digits. Raises Refused for more digits, which would be lost."""
    digits = (fraction or "").ljust(6, "0")
    if digits[6:].strip("0"):
        raise Refused("finer than a microsecond, which PostgreSQL would round")
    return digits[:6]


def trimmed(clock: str) -> str:
    return clock.rstrip("0").rstrip(".") if "." in clock else clock


def convert_time(value: Stored) -> str:
    if not isinstance(value, str):
        raise refuse_type(value, "a time")
    if not (match := re.fullmatch(CLOCK, value, re.ASCII)):
        raise Refused("not a time of the form 23:59:59")
    hour, minute, second, fraction = match.groups()
    parsed: dt.time = from_parts(dt.time, hour, minute, second, microseconds(fraction))
    return trimmed(parsed.isoformat())


def timestamp(zone: zoneinfo.ZoneInfo | None) -> ColumnType:
    """Times without an offset are in `zone`; None means UTC, which is how Django writes them."""

    def convert(value: Stored) -> str:
        if not isinstance(value, str):
            raise refuse_type(value, "a date and time")
        match = re.fullmatch(rf"{DATE}[ T]{CLOCK}(Z|[+-]\d{{2}}:?\d{{2}})?", value, re.ASCII)
        if not match:
            raise Refused("not a date and time of the form 2026-01-31 23:59:59")
        *parts, fraction, offset = match.groups()
        naive = from_parts(dt.datetime, *parts, microseconds(fraction))
        try:
            in_utc = localize(naive, offset, zone).astimezone(UTC)
        except OverflowError:
            raise Refused("outside the years 1 to 9999 in UTC") from None
        return trimmed(str(in_utc.replace(tzinfo=None).isoformat(sep=" "))) + "+00"

    return ColumnType(
        canonical_check="0" if zone else f"{clock_check(19, 'datetime')} AND {YEAR_GE_1}",
        source_text=f"{TRIMMED.format(whole=19)} || '+00'",
        convert=convert,
    )


def localize(naive: dt.datetime, offset: str | None, zone: zoneinfo.ZoneInfo | None) -> dt.datetime:
    """`naive` with its offset or zone. Raises Refused for local times that do not exist or are ambiguous."""
    if offset:
        try:
            return dt.datetime.fromisoformat(naive.isoformat() + offset)
        except ValueError:
            raise Refused(f"{offset} is not an offset from UTC") from None
    if zone is None:
        return naive.replace(tzinfo=UTC)
    first, second = (naive.replace(tzinfo=zone, fold=fold) for fold in (0, 1))
    if first.astimezone(UTC).astimezone(zone).replace(tzinfo=None) != naive:
        raise Refused(f"a local time that does not exist in {zone.key}")
    if first.utcoffset() != second.utcoffset():
        raise Refused(f"a local time that is ambiguous in {zone.key}")
    return first


FORCE_NORMALIZE = "'+0 days'"
"""Without a modifier SQLite prints 30 February and 24:00 unchanged."""
YEAR_GE_1 = "substr({c}, 1, 4) > '0000'"
"""SQLite: a year that Python and PostgreSQL have. ``substr`` avoids the numeric affinity of the column."""


def clock_check(length: int, function: str) -> str:
    """SQLite: text of `length` characters that its date functions print unchanged, with or without 6 digits."""
    head = f"substr({{c}}, 1, {length})"
    return (
        f"typeof({{c}}) = 'text' AND {function}({head}, {FORCE_NORMALIZE}) IS {head} AND (length({{c}}) = {length} OR"
        f" length({{c}}) = {length + 7} AND substr({{c}}, {length + 1}) GLOB '.{DIGITS}')"
    )


TRIMMED = "CASE length({{c}}) WHEN {whole} THEN {{c}} ELSE rtrim(rtrim({{c}}, '0'), '.') END"
"""SQLite: without the trailing zeros of a second's fraction, as PostgreSQL prints it."""


def convert_interval(value: Stored) -> str:
    raise refuse_type(value, "a number of microseconds")


DATE_TYPE = ColumnType(
    canonical_check=f"typeof({{c}}) = 'text' AND date({{c}}, {FORCE_NORMALIZE}) IS {{c}} AND {YEAR_GE_1}",
    convert=convert_date,
)
TIME = ColumnType(canonical_check=clock_check(8, "time"), source_text=TRIMMED.format(whole=8), convert=convert_time)
INTERVAL = ColumnType(
    canonical_check="typeof({c}) = 'integer'",
    copy_text="printf('%d days %d seconds %d microseconds',"
    " {c} / 86400000000, {c} % 86400000000 / 1000000, {c} % 1000000)",
    # As text, because the verification sorts keys of this type by their text on both sides.
    source_text="CAST({c} AS TEXT)",
    target_text="(extract(epoch FROM {c}) * 1000000)::bigint::text",
    convert=convert_interval,
)
