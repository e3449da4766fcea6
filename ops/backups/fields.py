"""Strict readers of JSON: a value is exactly what was asked for, or the error says where it is not."""

import datetime as dt
import math
import re
import uuid
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, TypeVar

from ops.errors import ArtifactInvalid

Value = TypeVar("Value")
Word = TypeVar("Word", bound=StrEnum)
Reader = Callable[[object, str], Value]
"""Takes a value and the path to it, for the error."""
LARGEST = 2**53
"""What every reader of JSON knows exactly; a database's sums of such numbers do not overflow."""
LONGEST = 100_000
"""Characters in a text."""
FIRST_YEAR, LAST_YEAR = 1970, 9000
"""Of times that can be shown in every zone. A machine without a clock of its own begins in 1970."""


def refuse(path: str, reason: str) -> ArtifactInvalid:
    return ArtifactInvalid(f"The manifest is not valid: {path} {reason}.", "Nothing was read from it.")


def text(value: object, path: str) -> str:
    """A string that every database and terminal can take: no NUL, no lone surrogates."""
    if not isinstance(value, str):
        raise refuse(path, f"is {value!r:.60}, not a text")
    if "\0" in value or any("\ud800" <= character <= "\udfff" for character in value):
        raise refuse(path, "has characters that are no text")
    if len(value) > LONGEST:
        raise refuse(path, f"has more than {LONGEST:,} characters")
    return value


def matching(pattern: str, what: str) -> Reader[str]:
    def read(value: object, path: str) -> str:
        if not re.fullmatch(pattern, text(value, path), re.ASCII):
            raise refuse(path, f"is {value!r:.60}, not {what}")
        return str(value)

    return read


def truth(value: object, path: str) -> bool:
    if not isinstance(value, bool):
        raise refuse(path, f"is {value!r:.60}, not true or false")
    return value


def whole(value: object, path: str) -> int:
    """A whole number, 0 or more, that fits into a database."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise refuse(path, f"is {value!r:.60}, not a whole number of 0 or more")
    if value > LARGEST:
        raise refuse(path, "is a number larger than anything here")
    return value


def seconds(value: object, path: str) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < math.inf:
        raise refuse(path, f"is {value!r:.60}, not a number of seconds")
    return float(value)


def moment(value: object, path: str) -> dt.datetime:
    """A time in UTC, spelled as `datetime.isoformat` does."""
    try:
        when = dt.datetime.fromisoformat(text(value, path))
    except ValueError as error:
        raise refuse(path, f"is {value!r:.60}, not a time") from error
    if when.utcoffset() != dt.timedelta(0) or when.isoformat() != value:
        raise refuse(path, f"is {value!r:.60}, not a time in UTC such as 2026-11-23T03:00:00+00:00")
    if not FIRST_YEAR <= when.year <= LAST_YEAR:
        raise refuse(path, f"is {value!r:.60}, which is no year of ours")
    return when


def identifier(value: object, path: str) -> str:
    try:
        if str(uuid.UUID(text(value, path))) == value:
            return value
    except ValueError:
        pass
    raise refuse(path, f"is {value!r:.60}, not a UUID")


def one_of(words: type[Word]) -> Reader[Word]:
    def read(value: object, path: str) -> Word:
        try:
            return words(text(value, path))
        except ValueError as error:
            raise refuse(path, f"is {value!r:.60}; known are {', '.join(words)}") from error

    return read


def each(reader: Reader[Value]) -> Reader[tuple[Value, ...]]:
    def read(value: object, path: str) -> tuple[Value, ...]:
        if not isinstance(value, list):
            raise refuse(path, f"is {value!r:.60}, not a list")
        return tuple(reader(part, f"{path}[{index}]") for index, part in enumerate(value))

    return read


def named(reader: Reader[Value]) -> Reader[dict[str, Value]]:
    """An object whose keys are free."""

    def read(value: object, path: str) -> dict[str, Value]:
        if not isinstance(value, dict):
            raise refuse(path, f"is {value!r:.60}, not an object")
        return {text(name, path): reader(part, f"{path}.{name}") for name, part in value.items()}

    return read


def part(readers: Mapping[str, Reader[Any]]) -> Reader[dict[str, Any]]:
    """An object that has these keys, whatever else it has."""

    def read(value: object, path: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise refuse(path, f"is {value!r:.60}, not an object")
        return record(readers)({name: value[name] for name in readers.keys() & value.keys()}, path)

    return read


def record(readers: Mapping[str, Reader[Any]]) -> Reader[dict[str, Any]]:
    """An object with exactly these keys."""

    def read(value: object, path: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise refuse(path or "it", f"is {value!r:.60}, not an object")
        prefix = f"{path}." if path else ""
        for name in readers.keys() - value.keys():
            raise refuse(prefix + name, "is missing")
        for name in value.keys() - readers.keys():
            raise refuse(f"{prefix}{name!s:.60}", "is unknown")
        return {name: reader(value[name], prefix + name) for name, reader in readers.items()}

    return read
