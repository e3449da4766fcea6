"""Connections of a thread that ends without closing them.

They would come back when the garbage collector finds the thread's wrappers, which are rings of references: later, or,
in a process that makes little garbage, never.
"""

import os
import sys
import threading
from typing import Protocol


class Discardable(Protocol):
    def discard(self) -> None: ...


class _ThreadEnd:
    """Sits in a thread's locals and goes with them, taking along what the thread still holds."""

    def __init__(self) -> None:
        self.held: set[Discardable] = set()
        self._pid = os.getpid()

    def __del__(self) -> None:
        # In a forked child the locals of the parent's other threads go, too, before any hook of a fork is called.
        if self._pid == os.getpid() and not sys.is_finalizing():
            for thing in tuple(self.held):
                thing.discard()


_local = threading.local()


def discarded_at_thread_end() -> set[Discardable]:
    """The set of what is discarded when this thread ends. Whoever is in it takes itself out when it is done.

    Keep the set, never its owner: the owner's end is the signal.
    """
    if not hasattr(_local, "end"):
        _local.end = _ThreadEnd()
    end: _ThreadEnd = _local.end
    return end.held
