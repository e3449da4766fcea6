"""JSON, of which one value can be written in many ways."""

import dataclasses
import decimal
import json
import re
from typing import Any

import orjson

from ops.engine_migration.types.base import ColumnType, Refused, Stored, refuse_type


def refuse_constant(name: str) -> Any:
    raise Refused(f"JSON with {name}, which PostgreSQL cannot store")


NOT_ASCII = re.compile(r"[^\x00-\x7f]+")
NUL_ESCAPE = re.compile(r"(?<!\\)((?:\\\\)*)\\u0000")


def convert_json(value: Stored) -> str:
    document = value if isinstance(value, str) else json_scalar(value)
    if NUL_ESCAPE.search(normalize_json(document)):
        raise Refused("JSON with a NUL character, which PostgreSQL cannot store")
    return document


def strip_json(value: Stored) -> str:
    """With ``--strip-nul``: JSON without its NUL characters, as Python writes it where there were some."""
    document = value if isinstance(value, str) else json_scalar(value)
    stripped_document, count = NUL_ESCAPE.subn(r"\1", normalize_json(document))
    return str(stripped_document) if count else document


def escape_json(document: str) -> str:
    """With escapes for all but ASCII, as Python writes it: on SQLite, Django compares the text of whole documents."""
    return document if document.isascii() else NOT_ASCII.sub(escape_characters, document)


def escape_characters(match: re.Match[str]) -> str:
    return json.dumps(match[0])[1:-1]


def json_scalar(value: int | float | bytes) -> str:
    if isinstance(value, bytes):
        raise refuse_type(value, "JSON")
    return repr(value)


def normalize_json(document: str) -> str:
    try:
        normalized: str = json.dumps(json.loads(document, parse_constant=refuse_constant), ensure_ascii=False)
        normalized.encode()
    except UnicodeEncodeError:
        raise Refused("JSON with an unpaired surrogate, which PostgreSQL cannot store") from None
    except (json.JSONDecodeError, RecursionError):
        raise Refused("not valid JSON") from None
    return normalized


ESCAPE = re.compile(rb"\\u[0-9a-fA-F]{4}")
NO_DIGITS = bytes(set(range(256)) - set(b"0123456789"))


def same_json(source: str, target: str) -> bool:
    """Whether both are the same JSON value. The order of keys does not matter; true is not 1; every digit counts."""
    try:
        ours, theirs = (orjson.dumps(orjson.loads(text), option=orjson.OPT_SORT_KEYS) for text in (source, target))
    except orjson.JSONDecodeError:
        # Numbers beyond the range of floating point.
        return json_form(source) == json_form(target)
    # For orjson, numbers that differ only in their 18th digit are equal.
    equal = ours == theirs and count_digits(source) == count_digits(target)
    return equal or json_form(source) == json_form(target)


def count_digits(document: str) -> list[int]:
    """How often each digit occurs in the document."""
    digits = ESCAPE.sub(b"", document.encode()).translate(None, NO_DIGITS)
    return [digits.count(digit) for digit in b"0123456789"]


EXACT = decimal.Context(prec=decimal.MAX_PREC, Emax=decimal.MAX_EMAX, Emin=decimal.MIN_EMIN)
NUMBER = "\0"
"""A key that no document has, because NUL is refused."""


def json_form(document: str) -> str:
    """Slow and exact: numbers as decimals of all their digits."""

    def number(digits: str) -> dict[str, str]:
        value = decimal.Decimal(digits)
        return {NUMBER: str(value.normalize(EXACT)) if value else "0"}

    return json.dumps(json.loads(document, parse_int=number, parse_float=number), sort_keys=True)


# json_valid follows RFC 8259, as PostgreSQL does, but for escapes of NUL and of unpaired surrogates.
JSON = ColumnType(
    canonical_check="typeof({c}) = 'text' AND json_valid({c})",
    convert=convert_json,
    text=True,
    document=True,
    stored="{c}::text",
    store=escape_json,
)
JSON_WITHOUT_NUL = dataclasses.replace(
    JSON, canonical_check=f"{JSON.canonical_check} AND instr({{c}}, '\\u0000') = 0", convert=strip_json
)
