"""Integers, booleans, floating-point numbers and decimals."""

import array
import decimal
import math
import re
import struct
import sys

from ops.engine_migration.types.base import ColumnType, Limit, Refused, Stored, refuse_type


def integer(low: int, high: int) -> ColumnType:
    def convert(value: Stored) -> str:
        if isinstance(value, float) and value.is_integer() and abs(value) >= 2**63:
            raise Refused("too large for SQLite, which stored it as a floating-point number and lost digits")
        if not isinstance(value, int):
            raise refuse_type(value, "a whole number")
        raise Refused(f"outside {low} to {high}")

    return ColumnType(
        canonical_check=f"typeof({{c}}) = 'integer' AND {{c}} BETWEEN {low} AND {high}",
        convert=convert,
        copy_format="%d",
        native_order=True,
        stored="{c}",
    )


def convert_boolean(value: Stored) -> str:
    if isinstance(value, int):
        raise Refused("neither 0 nor 1, which SQLite stores for false and true")
    raise refuse_type(value, "0 or 1")


WHOLE_FLOATS = 2**53
"""Up to here floating point represents every integer exactly."""


def convert_float(value: Stored) -> str:
    if isinstance(value, int):
        raise Refused("a whole number with more digits than floating point can store")
    raise refuse_type(value, "a number")


def format_float(value: float) -> str:
    """Text that PostgreSQL reads as the same 64 bits."""
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return repr(float(value))


float_bits = struct.Struct(">d").pack
"""The 64 bits, which PostgreSQL can return as well. Its text differs from Python's for some numbers."""


class FloatBits:
    """An aggregate function of SQLite: `float_bits` of all numbers, one after the other."""

    def __init__(self) -> None:
        self.numbers = array.array("d")
        self.step = self.numbers.append

    def finalize(self) -> bytes:
        if sys.byteorder == "little":
            self.numbers.byteswap()
        return self.numbers.tobytes()


def show_float(bits: str) -> str:
    """The number behind the hexadecimal digits of `float_bits`."""
    return repr(struct.unpack(">d", bytes.fromhex(bits))[0])


FIFTEEN_DIGITS = Limit(
    # PostgreSQL makes 15 digits of floating point, and so does Django. Numbers beyond its range are errors.
    excess="CASE WHEN {c} = 0 OR abs({c}) BETWEEN 1e-300 AND 1e300 THEN ({c}::float8)::numeric <> {c}"
    " ELSE {c} IS NOT NULL END",
    reason="NaN, or more than 15 digits: SQLite stores decimals as floating-point numbers",
)


def numeric(digits: int, places: int) -> ColumnType:
    """``numeric(digits, places)``: a value with more decimals, or more digits, is refused, never rounded."""
    # Rounding to the column's decimals and back has to give the same floating-point number.
    rounded_text = f"printf('%.{places}f', {{c}})"
    limit = 10 ** (digits - places)
    below = min(limit, 10**14)

    def convert(value: Stored) -> str:
        if isinstance(value, bytes):
            raise refuse_type(value, "a decimal number")
        try:
            # As Django reads it: SQLite stores decimals as floating-point numbers, of which 15 digits are exact.
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

    return ColumnType(
        # Not abs(), which overflows for the smallest integer.
        canonical_check=f"{{c}} > -{below} AND {{c}} < {below} AND CASE typeof({{c}}) WHEN 'real' THEN"
        f" CAST({rounded_text} AS REAL) = {{c}} WHEN 'integer' THEN 1 ELSE 0 END",
        stored_canonical=limit == below,
        copy_text=rounded_text,
        copy_format=f"%.{places}f",
        source_text=rounded_text,
        convert=convert,
        stored="{c}::float8",
        limits=(FIFTEEN_DIGITS,),
    )


BOOLEAN = ColumnType(
    canonical_check="typeof({c}) = 'integer' AND {c} IN (0, 1)",
    copy_format="%d",
    target_text="{c}::int::text",
    convert=convert_boolean,
    stored="{c}::int",
)
FLOAT = ColumnType(
    canonical_check="(typeof({c}) = 'real' OR typeof({c}) = 'integer'"
    f" AND {{c}} BETWEEN -{WHOLE_FLOATS} AND {WHOLE_FLOATS})",
    copy_text="CASE WHEN abs({c}) < 1.7976931348623157e308 THEN exact_float({c}) ELSE format_float({c}) END",
    source_text="lower(hex(float_bits({c})))",
    target_text="encode(float8send({c}), 'hex')",
    floating=True,
    show=show_float,
    convert=convert_float,
    stored="{c}",
    limits=(
        Limit(excess="{c} = 'NaN'", reason="NaN, which SQLite stores as NULL"),
        Limit(
            excess=r"float8send({c}) = '\x8000000000000000'",
            reason="negative zero, which SQLite stores without its sign",
        ),
    ),
)
