"""Dates, times and intervals."""

import collections
import datetime as dt
import re
import zoneinfo
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

from ops.engine_migration.types.base import NEVER, ChunkCheck, ColumnType, Limit, Refused, Stored, refuse_type

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


@dataclass(frozen=True, kw_only=True)
class SourceZone:
    """The zone of times without an offset."""

    zone: zoneinfo.ZoneInfo
    fold: int | None
    """Which of two moments a time means that a clock change repeated, as in PEP 495; None refuses such times."""
    naive: bool
    """Django reads times without an offset (``USE_TZ = False``), in PostgreSQL too."""


def source_zone(sqlite: BaseDatabaseWrapper, chosen: zoneinfo.ZoneInfo | None) -> SourceZone | None:
    """The `chosen` zone, else the one in which Django reads the times of `sqlite`; None is UTC.

    A repeated time means to Django the first moment, and without time zones what PostgreSQL takes it for: the second.
    """
    name = chosen.key if chosen else sqlite.timezone_name
    if name == "UTC":
        return None
    naive = sqlite.timezone is None
    return SourceZone(zone=zoneinfo.ZoneInfo(name), fold=None if chosen else int(naive), naive=naive)


def timestamp(zone: SourceZone | None) -> ColumnType:
    """Times without an offset are in `zone`; None means UTC, in which Django writes them by default."""

    def convert(value: Stored) -> str:
        if not isinstance(value, str):
            raise refuse_type(value, "a date and time")
        match = re.fullmatch(rf"{DATE}[ T]{CLOCK}(Z|[+-]\d{{2}}:?\d{{2}})?", value, re.ASCII)
        if not match:
            raise Refused("not a date and time of the form 2026-01-31 23:59:59")
        *parts, fraction, offset = match.groups()
        naive = from_parts(dt.datetime, *parts, microseconds(fraction))
        if zone and zone.naive:
            return naive_in_utc(naive, offset, zone)
        try:
            return utc_text(localize(naive, offset, zone))
        except OverflowError:
            raise Refused("outside the years 1 to 9999 in UTC") from None

    def store(both: str) -> str:
        local, moment = both.split("|")
        if convert(local) != moment.replace(" BC+00", "+00 BC"):
            raise Refused(f"a local time that is repeated in {zone.zone.key if zone else 'UTC'}")
        return local

    local = f"({{c}} AT TIME ZONE '{zone.zone.key if zone else 'UTC'}')"
    written = padded(f"{local}::text", 19)
    return ColumnType(
        canonical_check=NEVER if zone else f"{clock_check(19, 'datetime')} AND {YEAR_GE_1}",
        chunk_check=None if zone else ChunkCheck(condition="typeof({c}) = 'text'", accepts=are_datetimes),
        stored_canonical=not zone,
        copy_format="%s",
        source_text=f"{TRIMMED.format(whole=19)} || '+00'",
        key_text=TEXT_IN_UTC,
        convert=convert,
        stored=f"{written} || '|' || ({{c}} AT TIME ZONE 'UTC')::text || '+00'" if zone else written,
        limits=(Limit(excess=f"NOT {local} BETWEEN '0001-01-01' AND '9999-12-31 23:59:59.999999'", reason=NO_YEAR),),
        store=store if zone else None,
    )


DATETIME_LINES = re.compile(r"(?:\d{4}-\d\d-\d\d (?:[01]\d|2[0-3]):\d\d:\d\d(?:[.]\d{6})?\n)+", re.ASCII)


def are_datetimes(lines: str, number: int) -> bool:
    """Python checks the calendar, as SQLite does for `clock_check`. The pattern is the form that both read alike."""
    if lines.count("\n") != number - 1 or not DATETIME_LINES.fullmatch(f"{lines}\n"):
        return False
    try:
        collections.deque(map(dt.datetime.fromisoformat, lines.split("\n")), maxlen=0)
    except ValueError:
        return False
    return True


def utc_text(moment: dt.datetime) -> str:
    return trimmed(moment.astimezone(UTC).replace(tzinfo=None).isoformat(sep=" ")) + "+00"


IN_UTC = "({c} AT TIME ZONE 'UTC')::text"
TEXT_IN_UTC = rf"CASE WHEN isfinite({{c}}) THEN regexp_replace({IN_UTC}, '( BC)?$', '+00\1') ELSE {{c}}::text END"
"""PostgreSQL: a moment as sessions in UTC write it."""
GREGORIAN_CYCLE = 400
"""Years after which the calendar repeats with the same weekdays."""


def naive_in_utc(naive: dt.datetime, offset: str | None, zone: SourceZone) -> str:
    """Also where the moment is before the year 1 or after 9999 in UTC: the local time is what Django reads."""
    if offset:
        raise Refused("an offset, which Django does not read with USE_TZ = False")
    shift = GREGORIAN_CYCLE if naive.year == 1 else -GREGORIAN_CYCLE if naive.year == 9999 else 0
    text = utc_text(localize(naive.replace(year=naive.year + shift), None, zone))
    year = int(text[:4]) - shift
    return f"{year:04}{text[4:]}" if year > 0 else f"{1 - year:04}{text[4:]} BC"


def localize(naive: dt.datetime, offset: str | None, zone: SourceZone | None) -> dt.datetime:
    """`naive` with its offset or zone. Raises Refused for local times that do not exist, or are repeated."""
    if offset:
        try:
            return dt.datetime.fromisoformat(naive.isoformat() + offset)
        except ValueError:
            raise Refused(f"{offset} is not an offset from UTC") from None
    if zone is None:
        return naive.replace(tzinfo=UTC)
    first, second = (naive.replace(tzinfo=zone.zone, fold=fold) for fold in (0, 1))
    if first.astimezone(UTC).astimezone(zone.zone).replace(tzinfo=None) != naive:
        raise Refused(f"a local time that does not exist in {zone.zone.key}")
    if zone.fold is None and first.utcoffset() != second.utcoffset():
        raise Refused(f"a local time that is ambiguous in {zone.zone.key}")
    return second if zone.fold else first


FORCE_NORMALIZE = "'+0 days'"
"""Without a modifier SQLite prints 30 February and 24:00 unchanged."""
YEAR_GE_1 = "substr({c}, 1, 4) > '0000'"
"""SQLite: a year that Python and PostgreSQL have. ``substr`` avoids the numeric affinity of the column."""


def clock_check(length: int, function: str) -> str:
    """SQLite: text of `length` characters that its date functions print unchanged, with or without 6 digits."""
    head, rest = f"substr({{c}}, 1, {length})", f"substr({{c}}, {length + 1})"
    # Compared with all of the value: `length`, `substr` and GLOB do not see what comes after a NUL.
    return (
        f"typeof({{c}}) = 'text' AND {function}({head}, {FORCE_NORMALIZE}) || {rest} IS {{c}}"
        f" AND (length({{c}}) = {length} OR {rest} GLOB '.{DIGITS}')"
    )


TRIMMED = "CASE length({{c}}) WHEN {whole} THEN {{c}} ELSE rtrim(rtrim({{c}}, '0'), '.') END"
"""SQLite: without the trailing zeros of a second's fraction, as PostgreSQL prints it."""


NO_YEAR = "infinite, or outside the years 1 to 9999, which Python has"


def padded(text: str, whole: int) -> str:
    """PostgreSQL: `text` of a time with no or six digits after `whole` seconds, as Django writes it."""
    return f"rpad({text}, CASE length({text}) WHEN {whole} THEN {whole} ELSE {whole + 7} END, '0')"


def convert_interval(value: Stored) -> str:
    raise refuse_type(value, "a number of microseconds")


DATE_TYPE = ColumnType(
    canonical_check=f"typeof({{c}}) = 'text' AND date({{c}}, {FORCE_NORMALIZE}) IS {{c}} AND {YEAR_GE_1}",
    copy_format="%s",
    convert=convert_date,
    stored="{c}::text",
    limits=(Limit(excess="NOT {c} BETWEEN '0001-01-01' AND '9999-12-31'", reason=NO_YEAR),),
)
TIME = ColumnType(
    canonical_check=clock_check(8, "time"),
    copy_format="%s",
    source_text=TRIMMED.format(whole=8),
    convert=convert_time,
    stored=padded("{c}::text", 8),
    limits=(Limit(excess="{c} = '24:00'", reason="24:00, which Python does not have"),),
)
INTERVAL = ColumnType(
    canonical_check="typeof({c}) = 'integer'",
    # As Django writes them: only the days may be negative.
    copy_text="printf('%d days %d microseconds', {c} / 86400000000 - ({c} % 86400000000 < 0),"
    " ({c} % 86400000000 + 86400000000) % 86400000000)",
    # As text, because the verification sorts keys of this type by their text on both sides.
    source_text="CAST({c} AS TEXT)",
    # Not as bigint, which has no room for the longest ones.
    target_text="trunc(extract(epoch FROM {c}) * 1000000)::text",
    convert=convert_interval,
    stored="(extract(epoch FROM {c}) * 1000000)::bigint",
    limits=(
        Limit(excess="date_trunc('month', {c}) <> '0'", reason="months or years, of which not all are equally long"),
        Limit(
            excess="NOT extract(epoch FROM {c}) * 1000000 BETWEEN -9223372036854775808 AND 9223372036854775807",
            reason="more microseconds than an integer of SQLite can hold",
        ),
    ),
)
