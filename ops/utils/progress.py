"""How an operation reports how far it is, to a terminal, a run's record or a test's list."""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum


class Stage(StrEnum):
    """What an operation is doing, in the order in which it happens; users read these values."""

    SNAPSHOT = "snapshot"
    # A backup or an upload
    DUMP = "dump"
    STORE = "store"
    # A restore test or a restore
    LOAD = "load"
    COMPARE = "compare"
    MIGRATE = "migrate"
    # A migration to PostgreSQL
    PREFLIGHT = "preflight"
    SCHEMA = "schema"
    COPY = "copy"
    BUILD = "build"
    # The end of each
    VERIFY = "verify"
    PRUNE = "prune"
    HISTORY = "write history"
    CUT_OVER = "cut-over"
    CLEAN_UP = "clean up"


@dataclass(frozen=True, kw_only=True)
class Progress:
    """`done` of `total` units (rows, or bytes in stages that read or write a file) of `stage`; `item` is a table.

    `total` is 0 where it is not known beforehand.
    """

    stage: str
    item: str = ""
    done: int = 0
    total: int = 0


ProgressCallback = Callable[[Progress], None]


def no_progress(progress: Progress) -> None:
    """Report nothing."""


class StageTimer:
    """Follows the reports of one operation: its `stage`, how long each stage takes, how far the present one is.

    A stage ends when the next begins. `seconds` are those of the stages that have ended; `total` is 0 while it is not
    known. Every report is passed on to `on_progress`.
    """

    def __init__(self, on_progress: ProgressCallback = no_progress) -> None:
        self.stage = ""
        self.total = 0
        self.seconds: dict[str, float] = {}
        self._done: dict[str, int] = {}
        self._began = 0.0
        self._on_progress = on_progress

    @property
    def done(self) -> int:
        """Units of the present stage, over all its items."""
        return sum(self._done.values())

    def report(self, progress: Progress) -> None:
        if progress.stage != self.stage:
            self.end_stage()
            self.stage, self.total, self._done, self._began = progress.stage, 0, {}, time.monotonic()
        if progress.item:
            self._done[progress.item] = progress.done
        elif progress.total:
            self.total, self._done[""] = progress.total, progress.done
        self._on_progress(progress)

    def end_stage(self) -> float:
        """End the present stage, if there is one, and return its seconds."""
        seconds = time.monotonic() - self._began if self.stage else 0.0
        if self.stage:
            self.seconds[self.stage] = self.seconds.get(self.stage, 0.0) + seconds
        self.stage = ""
        return seconds


def accumulate(on_progress: ProgressCallback) -> ProgressCallback:
    """A callback for steps, whose `done` is what one step did; it reports the sum for each item to `on_progress`."""
    sums: Counter[str] = Counter()

    def add(step: Progress) -> None:
        sums[step.item] += step.done
        on_progress(replace(step, done=sums[step.item]))

    return add
