"""Strict reading of untrusted JSON documents: exact types, bounded numbers and texts."""

import datetime as dt
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

from ops.errors import ArtifactInvalid

Document = TypeVar("Document")

MAX_INTEGER = 2**53
"""Every JSON reader represents such numbers exactly, and sums of them fit a database column."""
MAX_TEXT = 100_000
MAX_LINE = 1_000
"""Characters."""
MAX_MESSAGE = 300
FIRST_YEAR, LAST_YEAR = 1970, 9000
"""Times that can be shown in every zone. A machine without a battery-backed clock starts in 1970."""
STORABLE = r"\A[^\0\ud800-\udfff]*\Z"
"""Text that every database stores: no NUL, no lone surrogates."""

Text = Annotated[str, Meta(max_length=MAX_TEXT, pattern=STORABLE)]
Line = Annotated[str, Meta(max_length=MAX_LINE, pattern=STORABLE)]
Count = Annotated[int, Meta(ge=0, le=MAX_INTEGER)]
Seconds = Annotated[float, Meta(ge=0, le=1e12)]
Moment = Annotated[dt.datetime, Meta(tz=True)]


def read_document(document: object, kind: type[Document], *, what: str) -> Document:
    """The `document` as a `kind`. Raises ArtifactInvalid with the error and its place."""
    try:
        return msgspec.convert(document, kind)
    except (msgspec.ValidationError, RecursionError) as error:
        reason = str(error).replace("`", "").replace(" - at $.", " at ")[:MAX_MESSAGE]
        raise ArtifactInvalid(f"{what} is not valid: {reason}.", "Nothing was read from it.") from error


def to_json(value: object) -> Any:
    """Structs, dataclasses, tuples and times as JSON values; times are ISO 8601 texts."""
    return _lists(msgspec.to_builtins(value))


def require_time(moment: dt.datetime) -> None:
    """Raises ValueError for a time that is not in UTC or not in these years."""
    if moment.utcoffset() != dt.timedelta(0):
        raise ValueError(f"{moment.isoformat()} is not a time in UTC")
    if not FIRST_YEAR <= moment.year <= LAST_YEAR:
        raise ValueError(f"{moment.isoformat()} is outside the years {FIRST_YEAR} to {LAST_YEAR}")


def _lists(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _lists(part) for name, part in value.items()}
    return [_lists(part) for part in value] if isinstance(value, list | tuple) else value
