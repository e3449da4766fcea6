"""JSON: one value has many spellings."""

import dataclasses
import decimal
import json
import re
from typing import Any

import orjson

from ops.engine_migration.types.base import ColumnType, Refused, Stored, refuse_type


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


# json_valid follows RFC 8259, as PostgreSQL does, but for escapes of NUL and of half a surrogate pair.
JSON = ColumnType(
    canonical_check="typeof({c}) = 'text' AND json_valid({c})", convert=convert_json, text=True, document=True
)
JSON_WITHOUT_NUL = dataclasses.replace(
    JSON, canonical_check=f"{JSON.canonical_check} AND instr({{c}}, '\\u0000') = 0", convert=strip_json
)
