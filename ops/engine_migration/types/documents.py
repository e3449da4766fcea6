"""JSON, of which one value can be written in many ways."""

import contextlib
import dataclasses
import decimal
import json
import re
import sys
from collections.abc import Iterator
from json.encoder import encode_basestring_ascii
from typing import Any

import msgspec
from msgspec import Raw

from ops.engine_migration.types.base import ChunkCheck, ColumnType, Refused, Stored, refuse_type
from ops.utils import collector


def refuse_constant(name: str) -> Any:
    raise Refused(f"JSON with {name}, which PostgreSQL cannot store")


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
    """The text of a ``jsonb`` as Python writes it, with escapes for all but printable ASCII: on SQLite, Django compares
    the text of whole documents."""
    if document.isascii() and "\x7f" not in document:
        return document
    # Escapes quotes and backslashes, too, which already stand in the document as JSON wants them.
    escaped = encode_basestring_ascii(document)[1:-1]
    return escaped.replace(r"\\", "\\").replace(r"\"", '"')


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


DECODER = msgspec.json.Decoder(float_hook=Raw)
"""Keeps every digit: `Raw` is the text of a number that is not an integer of 64 bits."""
ENCODER = msgspec.json.Encoder(order="deterministic")
ELEMENTS = msgspec.json.Decoder(list[Raw])
DEEPEST = 2000
"""SQLite's limit for nested JSON (``JSON_MAX_DEPTH``, 1000 since 3.42)."""


def same_documents(source: str, target: str) -> bool:
    """Whether two arrays of JSON values are equal, element by element, as `same_json` compares them."""
    with parsing():
        ours, theirs = DECODER.decode(source), DECODER.decode(target)
        if ENCODER.encode(ours) == ENCODER.encode(theirs):
            return True
        if len(ours) != len(theirs):
            return False
        # One number that is written in two ways, such as 1e-05, must not make all others slow.
        texts = zip(ELEMENTS.decode(source), ELEMENTS.decode(target), strict=True)
        return all(
            ENCODER.encode(one) == ENCODER.encode(other) or json_form(text) == json_form(other_text)
            for one, other, (text, other_text) in zip(ours, theirs, texts, strict=True)
        )


def same_json(source: str, target: str) -> bool:
    """Whether both are the same JSON value. The order of keys does not matter; true is not 1; every digit counts."""
    with parsing():
        return is_equal(source, target)


def is_equal(source: str | Raw, target: str | Raw) -> bool:
    return sorted_form(source) == sorted_form(target) or json_form(source) == json_form(target)


@contextlib.contextmanager
def parsing() -> Iterator[None]:
    with collector.paused(), nested():
        yield


@contextlib.contextmanager
def nested() -> Iterator[None]:
    """Within the block, functions may call themselves for each level of JSON, through two others."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(limit + 3 * DEEPEST)
    try:
        yield
    finally:
        sys.setrecursionlimit(limit)


def sorted_form(document: str | Raw) -> bytes:
    """Fast: without the order of keys, spaces and escapes. Equal numbers that are written in two ways differ."""
    return ENCODER.encode(DECODER.decode(document))


EXACT = decimal.Context(prec=decimal.MAX_PREC, Emax=decimal.MAX_EMAX, Emin=decimal.MIN_EMIN)
NUMBER = "\0"
"""A key that no document has, because NUL is refused."""


def json_form(document: str | Raw) -> str:
    """Slow and exact: numbers as decimals of all their digits."""

    def number(digits: str) -> dict[str, str]:
        value = decimal.Decimal(digits)
        return {NUMBER: str(value.normalize(EXACT)) if value else "0"}

    text = document if isinstance(document, str) else bytes(document)
    return json.dumps(json.loads(text, parse_int=number, parse_float=number), sort_keys=True)


LINES = msgspec.json.Decoder(Raw)


def are_documents(lines: str, number: int) -> bool:
    """msgspec accepts what RFC 8259 does, but for unpaired surrogates and documents nested deeper than Python calls."""
    if "\\u0000" in lines or lines.count("\n") != number - 1:
        return False
    try:
        return len(LINES.decode_lines(lines)) == number
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        return False


# json_valid follows RFC 8259, as PostgreSQL does, but for escapes of NUL and of unpaired surrogates.
JSON = ColumnType(
    canonical_check="typeof({c}) = 'text' AND json_valid({c})",
    chunk_check=ChunkCheck(condition="typeof({c}) = 'text'", accepts=are_documents),
    convert=convert_json,
    text=True,
    document=True,
    stored="{c}::text",
    store=escape_json,
)
JSON_WITHOUT_NUL = dataclasses.replace(
    JSON, canonical_check=f"{JSON.canonical_check} AND instr({{c}}, '\\u0000') = 0", convert=strip_json
)
