"""How an operation tells whoever listens how far it is: a terminal, a log, a test's list."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace


@dataclass(frozen=True, kw_only=True)
class Progress:
    """`done` of `total` units (rows, or bytes in stages about a file) of `stage`; `item` is the table at hand.

    `total` 0 means that it is not known beforehand.
    """

    stage: str
    item: str = ""
    done: int = 0
    total: int = 0


ProgressCallback = Callable[[Progress], None]


def accumulate(on_progress: ProgressCallback) -> ProgressCallback:
    """A listener for steps (`done` is what one step did), which tells `report` the sum for each item."""
    sums: Counter[str] = Counter()

    def tell(step: Progress) -> None:
        sums[step.item] += step.done
        on_progress(replace(step, done=sums[step.item]))

    return tell


def no_progress(progress: Progress) -> None:
    """The listener of those who do not care."""
