"""What a kind of column is, and how it refuses a value."""

from collections.abc import Callable
from dataclasses import dataclass

Stored = int | float | str | bytes
"""What a cell of SQLite can hold besides NULL."""


class Refused(ValueError):
    """PostgreSQL would refuse the value or change it. The message is the reason, for a person."""


@dataclass(frozen=True, kw_only=True)
class ColumnType:
    """A PostgreSQL type, as seen from SQLite. ``{c}`` in the SQL stands for the stored value."""

    canonical_check: str
    """SQLite: true for values that `copy` and `proof` spell rightly. The SQL is only asked about non-NULL values."""
    convert: Callable[[Stored], str]
    """The text PostgreSQL prints for a value that is not plain; raises Refused."""
    copy_text: str = "{c}"
    """SQLite: what goes into the COPY stream."""
    source_text: str = "{c}"
    """SQLite: the value as `target_text` prints it, spelled by other means than `copy` where that can go wrong."""
    target_text: str = "{c}::text"
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
