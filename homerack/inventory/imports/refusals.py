"""What an import refuses: the place in the file, and why."""

import re
from dataclasses import dataclass

MAX_QUOTED = 60
"""Characters of a file that a message quotes."""


@dataclass(frozen=True, kw_only=True)
class Refused:
    """A file, or a part of it, that is not imported.

    `source` is the path of the file, without control characters. `line` counts from 1; None concerns the whole file.
    `field` is empty where no single field is wrong.
    """

    source: str
    reason: str
    line: int | None = None
    field: str = ""

    def __str__(self) -> str:
        where = [self.source, *([f"line {self.line}"] if self.line else []), *([self.field] if self.field else [])]
        return f"{', '.join(where)}: {self.reason}"


def printable(text: str, limit: int = MAX_QUOTED) -> str:
    """`text` on one line, in printable characters, shortened to `limit` characters."""
    shown = "".join(
        character if character.isprintable() else "\N{REPLACEMENT CHARACTER}"
        for character in re.sub(r"\s+", " ", text).strip()
    )
    return f"{shown[: limit - 1]}…" if len(shown) > limit else shown


def quote(text: str) -> str:
    return f"“{printable(text)}”"
