"""Progress of an operation, reported to a terminal, the record of a run, or a test."""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum


class Stage(StrEnum):
    """The stages of operations, in order; users read the values."""

    SNAPSHOT = "snapshot"
    # A backup or an upload
    DUMP = "dump"
    STORE = "store"
    # A restore test or a restore
    LIST = "list"
    READ = "read live database"
    LOAD = "load"
    COMPARE = "compare"
    MIGRATE = "migrate"
    # A migration to PostgreSQL or to SQLite
    PREFLIGHT = "preflight"
    SCHEMA = "schema"
    CONVERT = "convert"
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

    `total` is 0 where it is unknown.
    """

    stage: str
    item: str = ""
    done: int = 0
    total: int = 0


ProgressCallback = Callable[[Progress], None]


def no_progress(progress: Progress) -> None:
    """A callback that does nothing."""


class StageTimer:
    """Follows the reports of one operation: its `stage`, the duration of each stage, the progress of the current one.

    A stage ends when the next begins. `seconds` are the durations of ended stages; `total` is 0 while it is unknown.
    Every report is passed on to `on_progress`.
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
        """Units of the current stage, over all its items."""
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
        """End the current stage, if there is one, and return its seconds."""
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
