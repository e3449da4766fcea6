"""Discard the connections of a thread that ends without closing them.

The thread's wrappers are in reference cycles, so only the garbage collector would free their connections: late, or, in
a process that allocates little, never.
"""

import os
import sys
import threading
from typing import Protocol


class Discardable(Protocol):
    def discard(self) -> None: ...


class _ThreadEnd:
    """Discards everything in `held` when the locals of its thread are deleted."""

    def __init__(self) -> None:
        self.held: set[Discardable] = set()
        self._pid = os.getpid()

    def __del__(self) -> None:
        # In a forked child the locals of the parent's other threads are deleted before any at-fork hook is called.
        if self._pid == os.getpid() and not sys.is_finalizing():
            for thing in tuple(self.held):
                thing.discard()


_local = threading.local()


def discarded_at_thread_end() -> set[Discardable]:
    """The set of objects that are discarded when this thread ends; an object removes itself when it is closed.

    Callers keep the set, not the `_ThreadEnd` that owns it: its deletion is the signal.
    """
    if not hasattr(_local, "end"):
        _local.end = _ThreadEnd()
    end: _ThreadEnd = _local.end
    return end.held
