"""What a column type consists of, and how it refuses a value."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Stored = int | float | str | bytes
"""What a cell of SQLite can hold besides NULL."""


NEVER = "0"
"""The check of a type of which no value is canonical."""


class Refused(ValueError):
    """The target would refuse the value or change it. The message is the reason."""


@dataclass(frozen=True, kw_only=True)
class Limit:
    """What SQLite cannot hold: PostgreSQL's SQL that is true for such values, and the reason."""

    excess: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class ChunkCheck:
    """Finds out faster that all cells of a chunk are canonical. Either part may be false although they are."""

    condition: str
    """SQLite: true for each cell."""
    accepts: Callable[[str, int], bool]
    """True for the cells, one in each line, and their number. It makes sure that no cell has a line break."""


@dataclass(frozen=True, kw_only=True)
class ColumnType:
    """A PostgreSQL type, with the SQL that reads it on either side. ``{c}`` stands for the column."""

    canonical_check: str
    """SQLite: true for values that `copy_text` and `source_text` format correctly. NULL is never checked."""
    convert: Callable[[Stored], str]
    """The text that PostgreSQL prints for a value that is not canonical. Raises Refused."""
    chunk_check: ChunkCheck | None = None
    """The same as `canonical_check` for many cells at once, and that their text is UTF-8 which PostgreSQL accepts."""
    stored_canonical: bool = True
    """Every value that Django stores is canonical."""
    copy_text: str = "{c}"
    """SQLite: the text in the COPY stream."""
    copy_format: str = ""
    """SQLite's printf: formats a cell as `copy_text`, faster; '' where that may contain quotes."""
    source_text: str = "{c}"
    """SQLite: the same text as `target_text`, made in another way than `copy_text` where that could hide an error."""
    target_text: str = "{c}::text"
    """PostgreSQL: one text for each value."""
    key_text: str = ""
    """PostgreSQL: `target_text` in sessions of every time zone, where it depends on that."""
    text: bool = False
    """The stored text is copied unchanged, so it has to be valid UTF-8 without NUL."""
    native_order: bool = False
    """PostgreSQL sorts the values as SQLite sorts what it has stored."""
    document: bool = False
    """JSON: one value can be written in many ways, so that parsed values are compared."""
    floating: bool = False
    """Floating-point numbers, which are compared as their 64 bits."""
    stored: str = ""
    """PostgreSQL: the value as Django stores it in SQLite; '' where only the model's field knows that."""
    limits: tuple[Limit, ...] = ()
    store: Callable[[Any], Any] | None = None
    """Makes what Django stores in SQLite of what `stored` selects, where SQL cannot. Raises Refused."""
    show: Callable[[str], str] = repr
    """How messages show the text of a value."""


def refuse_type(value: Stored, wanted: str) -> Refused:
    names = {int: "a whole number", float: "a floating-point number", str: "text", bytes: "binary data"}
    return Refused(f"{names[type(value)]} instead of {wanted}")
