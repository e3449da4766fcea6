"""How the values of each PostgreSQL column type are read from SQLite, which keeps any value in any column.

Reading is split in two. A *plain* value is one that SQLite itself can check and spell with an SQL expression, as
fast as it reads it. Every other value is shown to `Kind.convert`, which gives the text PostgreSQL would print for
it, or raises `Refused` with the reason: there is no third way, so no value changes its meaning silently.
"""

import dataclasses
import datetime as dt
import decimal
import ipaddress
import json
import math
import re
import struct
import zoneinfo
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson

Stored = int | float | str | bytes
"""What a cell of SQLite can hold besides NULL."""


class Refused(ValueError):
    """PostgreSQL would refuse the value or change it. The message is the reason, for a person."""


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A PostgreSQL type, as seen from SQLite. ``{c}`` in the SQL stands for the stored value."""

    plain: str
    """SQLite: true for values that `copy` and `proof` spell rightly. The SQL is only asked about non-NULL values."""
    convert: Callable[[Stored], str]
    """The text PostgreSQL prints for a value that is not plain; raises Refused."""
    copy: str = "{c}"
    """SQLite: what goes into the COPY stream."""
    proof: str = "{c}"
    """SQLite: the value as `target_proof` prints it, spelled by other means than `copy` where that can go wrong."""
    target_proof: str = "{c}::text"
    """PostgreSQL: one text for each value."""
    text: bool = False
    """The stored text goes over as it is, so it has to be valid UTF-8 without NUL."""
    document: bool = False
    """JSON: one value has many spellings, so the proof compares what they mean."""
    show: Callable[[str], str] = repr
    """What a person is shown of a text of the proof."""


def refuse_type(value: Stored, wanted: str) -> Refused:
    names = {int: "a whole number", float: "a floating-point number", str: "text", bytes: "binary data"}
    return Refused(f"{names[type(value)]} where {wanted} belongs")


# --- Numbers --------------------------------------------------------------------------------------------------
def integer(low: int, high: int) -> Kind:
    def convert(value: Stored) -> str:
        if isinstance(value, float) and value.is_integer() and abs(value) >= 2**63:
            raise Refused("too large for SQLite, which kept it as a floating-point number and lost digits")
        if not isinstance(value, int):
            raise refuse_type(value, "a whole number")
        raise Refused(f"outside {low} to {high}")

    return Kind(plain=f"typeof({{c}}) = 'integer' AND {{c}} BETWEEN {low} AND {high}", convert=convert)


def convert_boolean(value: Stored) -> str:
    if isinstance(value, int):
        raise Refused("neither 0 nor 1, which is how SQLite keeps false and true")
    raise refuse_type(value, "0 or 1")


WHOLE_FLOATS = 2**53
"""Up to here a floating-point number holds every whole number."""


def convert_float(value: Stored) -> str:
    if isinstance(value, int):
        raise Refused("a whole number with more digits than a floating-point number holds")
    raise refuse_type(value, "a number")


def spell_float(value: float) -> str:
    """Text that gives the same 64 bits in PostgreSQL."""
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return repr(float(value))


float_bits = struct.Struct(">d").pack
"""The 64 bits, which PostgreSQL gives as well. Texts will not do: the two spell some numbers differently."""


def show_float(bits: str) -> str:
    """The number behind the hexadecimal digits of `float_bits`."""
    return repr(struct.unpack(">d", bytes.fromhex(bits))[0])


def numeric(digits: int, places: int) -> Kind:
    """``numeric(digits, places)``: a value with more decimals, or more digits, is refused, never rounded."""
    # Rounding to the column's decimals and back has to give the very same floating-point number.
    spelled = f"printf('%.{places}f', {{c}})"
    limit = 10 ** (digits - places)
    below = min(limit, 10**14)

    def convert(value: Stored) -> str:
        if isinstance(value, bytes):
            raise refuse_type(value, "a decimal number")
        try:
            # As Django reads it: SQLite keeps decimals as floating-point numbers of 15 sure digits.
            exact = decimal.Decimal(repr(value) if isinstance(value, float) else value)
        except decimal.InvalidOperation:
            raise refuse_type(value, "a decimal number") from None
        if not exact.is_finite():
            raise Refused("not a finite number")
        if isinstance(value, str) and not re.fullmatch(r"[+-]?\d+(\.\d*)?", value, re.ASCII):
            raise refuse_type(value, "a decimal number")
        with decimal.localcontext(prec=1100):
            rounded = exact.quantize(decimal.Decimal(1).scaleb(-places))
        if rounded != exact:
            raise Refused(f"more than {places} decimals")
        if abs(rounded) >= limit:
            raise Refused(f"more than {digits - places} digits before the point")
        return f"{rounded or abs(rounded):f}"

    return Kind(
        # No abs(): SQLite has none of the smallest integer.
        plain=f"{{c}} > -{below} AND {{c}} < {below} AND CASE typeof({{c}}) WHEN 'real' THEN"
        f" CAST({spelled} AS REAL) = {{c}} WHEN 'integer' THEN 1 ELSE 0 END",
        copy=spelled,
        proof=spelled,
        convert=convert,
    )


# --- Text -----------------------------------------------------------------------------------------------------
def convert_text(value: Stored) -> str:
    if not isinstance(value, str):
        raise refuse_type(value, "text")
    if "\x00" in value:
        raise Refused("a NUL character, which PostgreSQL can not keep in text")
    return value


def text(limit: int | None) -> Kind:
    def convert(value: Stored) -> str:
        if isinstance(value, str) and limit is not None and len(value) > limit:
            raise Refused(f"{len(value)} characters; the column holds {limit}")
        return convert_text(value)

    within = "" if limit is None else f" AND length({{c}}) <= {limit}"
    return Kind(plain=f"typeof({{c}}) = 'text'{within}", target_proof="{c}", convert=convert, text=True)


def stripped(kind: Kind) -> Kind:
    """`kind` of text with ``--strip-nul``: NUL characters are taken out before anything else."""

    def convert(value: Stored) -> str:
        return kind.convert(value.replace("\x00", "") if isinstance(value, str) else value)

    return Kind(
        plain=f"{kind.plain} AND instr({{c}}, char(0)) = 0",
        target_proof=kind.target_proof,
        convert=convert,
        text=True,
    )


def convert_uuid(value: Stored) -> str:
    if isinstance(value, str) and re.fullmatch(
        r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|[0-9a-f]{32}", value, re.ASCII | re.IGNORECASE
    ):
        return value.replace("-", "").lower()
    raise Refused("not a UUID")


def convert_address(value: Stored) -> str:
    if not isinstance(value, str):
        raise refuse_type(value, "an IP address")
    try:
        # Refuses leading zeros, which some read as octal and PostgreSQL drops.
        address = ipaddress.ip_address(value)
    except ValueError:
        raise Refused("not an IP address") from None
    if isinstance(address, ipaddress.IPv6Address) and address.scope_id:
        raise Refused("an IP address with a zone, which PostgreSQL can not keep")
    return spell_address(address)


def spell_address(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    """As PostgreSQL prints it: the last 32 bits with dots after ``::`` and after ``::ffff:`` (inet_net_ntop.c)."""
    prefix, low = divmod(int(address), 2**32)
    if address.version == 6 and (prefix == 0xFFFF or (prefix == 0 and low >= 2**16)):
        return f"::{'ffff:' if prefix else ''}{ipaddress.IPv4Address(low)}"
    return str(address)


def convert_binary(value: Stored) -> str:
    raise refuse_type(value, "binary data")


# --- JSON -----------------------------------------------------------------------------------------------------
def refuse_constant(name: str) -> Any:
    raise Refused(f"JSON with {name}, which PostgreSQL can not keep")


NUL_ESCAPE = re.compile(r"(?<!\\)((?:\\\\)*)\\u0000")


def convert_json(value: Stored) -> str:
    document = value if isinstance(value, str) else spell_json_scalar(value)
    spelled = respell_json(document)
    if NUL_ESCAPE.search(spelled):
        raise Refused("JSON with a NUL character, which PostgreSQL can not keep")
    return document


def strip_json(value: Stored) -> str:
    """With ``--strip-nul``: JSON without its NUL characters; Python's spelling where there were some."""
    document = value if isinstance(value, str) else spell_json_scalar(value)
    stripped_document, count = NUL_ESCAPE.subn(r"\1", respell_json(document))
    return str(stripped_document) if count else document


def spell_json_scalar(value: int | float | bytes) -> str:
    if isinstance(value, bytes):
        raise refuse_type(value, "JSON")
    return repr(value)


def respell_json(document: str) -> str:
    try:
        spelled: str = json.dumps(json.loads(document, parse_constant=refuse_constant), ensure_ascii=False)
        spelled.encode()
    except UnicodeEncodeError:
        raise Refused("JSON with half of a surrogate pair, which PostgreSQL can not keep") from None
    except (json.JSONDecodeError, RecursionError):
        raise Refused("not valid JSON") from None
    return spelled


ESCAPE = re.compile(rb"\\u[0-9a-fA-F]{4}")
NO_DIGITS = bytes(set(range(256)) - set(b"0123456789"))


def same_json(source: str, target: str) -> bool:
    """Equal as JSON: key order and spelling do not count, but true is not 1 and every digit of a number does."""
    try:
        ours, theirs = (orjson.dumps(orjson.loads(text), option=orjson.OPT_SORT_KEYS) for text in (source, target))
    except orjson.JSONDecodeError:
        # Numbers that no floating-point number reaches.
        return json_form(source) == json_form(target)
    # To orjson numbers are alike that differ in their 18th digit only.
    alike = ours == theirs and count_digits(source) == count_digits(target)
    return alike or json_form(source) == json_form(target)


def count_digits(document: str) -> list[int]:
    """How often each digit stands in the document's numbers and texts."""
    digits = ESCAPE.sub(b"", document.encode()).translate(None, NO_DIGITS)
    return [digits.count(digit) for digit in b"0123456789"]


EXACT = decimal.Context(prec=decimal.MAX_PREC, Emax=decimal.MAX_EMAX, Emin=decimal.MIN_EMIN)
NUMBER = "\0"
"""A key that no document has: NUL is refused."""


def json_form(document: str) -> str:
    """Slow and exact: numbers as decimals of all their digits."""

    def number(digits: str) -> dict[str, str]:
        value = decimal.Decimal(digits)
        return {NUMBER: str(value.normalize(EXACT)) if value else "0"}

    return json.dumps(json.loads(document, parse_int=number, parse_float=number), sort_keys=True)


# --- Time -----------------------------------------------------------------------------------------------------
DATE = r"(\d{4})-(\d{2})-(\d{2})"
CLOCK = r"(\d{2}):(\d{2}):(\d{2})(?:[.](\d+))?"
DIGITS = "[0-9]" * 6
UTC = dt.UTC


def convert_date(value: Stored) -> str:
    if not isinstance(value, str):
        raise refuse_type(value, "a date")
    if not (match := re.fullmatch(DATE, value, re.ASCII)):
        raise Refused("not a date of the form 2026-01-31")
    day: dt.date = read_parts(dt.date, *match.groups())
    return day.isoformat()


def read_parts(kind: Callable[..., Any], *parts: str) -> Any:
    try:
        return kind(*(int(part) for part in parts))
    except ValueError as error:
        raise Refused(str(error)) from None


def microseconds(fraction: str | None) -> str:
    """`fraction` of a second as six digits; digits beyond them would be lost."""
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
    moment: dt.time = read_parts(dt.time, hour, minute, second, microseconds(fraction))
    return trimmed(moment.isoformat())


def timestamp(zone: zoneinfo.ZoneInfo | None) -> Kind:
    """Times without an offset are in `zone`; None means UTC, which is how Django writes them."""

    def convert(value: Stored) -> str:
        if not isinstance(value, str):
            raise refuse_type(value, "a date and time")
        match = re.fullmatch(rf"{DATE}[ T]{CLOCK}(Z|[+-]\d{{2}}:?\d{{2}})?", value, re.ASCII)
        if not match:
            raise Refused("not a date and time of the form 2026-01-31 23:59:59")
        *parts, fraction, offset = match.groups()
        naive = read_parts(dt.datetime, *parts, microseconds(fraction))
        try:
            moment = place(naive, offset, zone).astimezone(UTC)
        except OverflowError:
            raise Refused("outside the years 1 to 9999 in UTC") from None
        return trimmed(str(moment.replace(tzinfo=None).isoformat(sep=" "))) + "+00"

    return Kind(
        plain="0" if zone else f"{clock_check(19, 'datetime')} AND {AFTER_CHRIST}",
        proof=f"{TRIMMED.format(whole=19)} || '+00'",
        convert=convert,
    )


def place(naive: dt.datetime, offset: str | None, zone: zoneinfo.ZoneInfo | None) -> dt.datetime:
    """`naive` on the time line. A local time that the clocks skipped, or showed twice, is refused."""
    if offset:
        try:
            return dt.datetime.fromisoformat(naive.isoformat() + offset)
        except ValueError:
            raise Refused(f"{offset} is no offset from UTC") from None
    if zone is None:
        return naive.replace(tzinfo=UTC)
    first, second = (naive.replace(tzinfo=zone, fold=fold) for fold in (0, 1))
    if first.astimezone(UTC).astimezone(zone).replace(tzinfo=None) != naive:
        raise Refused(f"a time that the clocks of {zone.key} skipped")
    if first.utcoffset() != second.utcoffset():
        raise Refused(f"a time that the clocks of {zone.key} showed twice")
    return first


RECKONED = "'+0 days'"
"""SQLite prints 30 February and 24 o'clock as they came unless it has to reckon with them."""
AFTER_CHRIST = "substr({c}, 1, 4) > '0000'"
"""SQLite: a year that Python and PostgreSQL know. ``substr`` also keeps the column's numeric affinity out of it."""


def clock_check(length: int, function: str) -> str:
    """SQLite: text of `length` characters that its date functions read and print alike, then perhaps 6 digits."""
    head = f"substr({{c}}, 1, {length})"
    return (
        f"typeof({{c}}) = 'text' AND {function}({head}, {RECKONED}) IS {head} AND (length({{c}}) = {length} OR"
        f" length({{c}}) = {length + 7} AND substr({{c}}, {length + 1}) GLOB '.{DIGITS}')"
    )


TRIMMED = "CASE length({{c}}) WHEN {whole} THEN {{c}} ELSE rtrim(rtrim({{c}}, '0'), '.') END"
"""SQLite: without the trailing zeros of a second's fraction, as PostgreSQL prints it."""


def convert_interval(value: Stored) -> str:
    raise refuse_type(value, "a number of microseconds")


# --- By PostgreSQL type ---------------------------------------------------------------------------------------
BOOLEAN = Kind(
    plain="typeof({c}) = 'integer' AND {c} IN (0, 1)", target_proof="{c}::int::text", convert=convert_boolean
)
FLOAT = Kind(
    plain=f"(typeof({{c}}) = 'real' OR typeof({{c}}) = 'integer' AND {{c}} BETWEEN -{WHOLE_FLOATS} AND {WHOLE_FLOATS})",
    copy="CASE WHEN abs({c}) < 1.7976931348623157e308 THEN exact_float({c}) ELSE spell_float({c}) END",
    proof="lower(hex(float_bits({c})))",
    target_proof="encode(float8send({c}), 'hex')",
    show=show_float,
    convert=convert_float,
)
UUID = Kind(
    plain=f"typeof({{c}}) = 'text' AND {{c}} GLOB '{'[0-9a-f]' * 32}'",
    target_proof="replace({c}::text, '-', '')",
    convert=convert_uuid,
)
ADDRESS = Kind(plain="0", target_proof="host({c})", convert=convert_address)
BINARY = Kind(
    plain="typeof({c}) = 'blob'",
    copy="'\\x' || hex({c})",
    proof="lower(hex({c}))",
    target_proof="encode({c}, 'hex')",
    convert=convert_binary,
)
# json_valid follows RFC 8259, as PostgreSQL does, but for escapes of NUL and of half a surrogate pair.
JSON = Kind(plain="typeof({c}) = 'text' AND json_valid({c})", convert=convert_json, text=True, document=True)
JSON_WITHOUT_NUL = dataclasses.replace(JSON, plain=f"{JSON.plain} AND instr({{c}}, '\\u0000') = 0", convert=strip_json)
DATE_KIND = Kind(
    plain=f"typeof({{c}}) = 'text' AND date({{c}}, {RECKONED}) IS {{c}} AND {AFTER_CHRIST}", convert=convert_date
)
TIME = Kind(plain=clock_check(8, "time"), proof=TRIMMED.format(whole=8), convert=convert_time)
INTERVAL = Kind(
    plain="typeof({c}) = 'integer'",
    copy="printf('%d days %d seconds %d microseconds', {c} / 86400000000, {c} % 86400000000 / 1000000, {c} % 1000000)",
    # As text, because the proof sorts keys of this type by their text on both sides.
    proof="CAST({c} AS TEXT)",
    target_proof="(extract(epoch FROM {c}) * 1000000)::bigint::text",
    convert=convert_interval,
)
BY_NAME = {
    "bigint": integer(-(2**63), 2**63 - 1),
    "boolean": BOOLEAN,
    "bytea": BINARY,
    "date": DATE_KIND,
    "double precision": FLOAT,
    "inet": ADDRESS,
    "integer": integer(-(2**31), 2**31 - 1),
    "interval": INTERVAL,
    "jsonb": JSON,
    "smallint": integer(-(2**15), 2**15 - 1),
    "time": TIME,
    "uuid": UUID,
}


def find_kind(db_type: str, *, zone: zoneinfo.ZoneInfo | None = None, strip_nul: bool = False) -> Kind:
    """The kind of a column that Django declares as `db_type` in PostgreSQL.

    A type that Django's own fields do not use goes over as its text, and the proof compares it as that.
    """
    name, _, arguments = db_type.lower().partition("(")
    name = name.strip()
    if name == "timestamp with time zone":
        return timestamp(zone)
    if name == "numeric":
        digits, places = (int(part) for part in arguments.rstrip(") ").split(","))
        return numeric(digits, places)
    if name in BY_NAME:
        return JSON_WITHOUT_NUL if strip_nul and name == "jsonb" else BY_NAME[name]
    limit = int(arguments.rstrip(") ")) if name in {"varchar", "char"} and arguments else None
    return stripped(text(limit)) if strip_nul else text(limit)
