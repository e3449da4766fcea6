"""How an operation tells whoever listens how far it is: a terminal, a log, a test's list."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Progress:
    """`done` of `total` units (rows, or bytes in stages about a file) of `stage`; `item` is the table at hand.

    `total` 0 means that it is not known beforehand.
    """

    stage: str
    item: str = ""
    done: int = 0
    total: int = 0


Report = Callable[[Progress], None]


def ignore(progress: Progress) -> None:
    """The listener of those who do not care."""
