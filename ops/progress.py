"""How an operation tells whoever listens how far it is: a terminal, a log, a test's list."""

import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Progress:
    """`done` of `total` units (rows, or bytes in stages about a file) of `stage`; `item` is the table at hand.

    `total` 0 means that it is not known beforehand.
    """

    stage: str
    item: str = ""
    done: int = 0
    total: int = 0


@dataclass
class Tally:
    """Counts what several threads do to the same items."""

    _done: Counter[str] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, item: str, units: int) -> int:
        """The item's total after `units` more."""
        with self._lock:
            self._done[item] += units
            return self._done[item]


Report = Callable[[Progress], None]


def ignore(progress: Progress) -> None:
    """The listener of those who do not care."""
