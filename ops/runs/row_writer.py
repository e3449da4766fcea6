"""Keep the row of a run up to date without making the run wait for the database."""

import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable

from django.db import Error, connection, connections, transaction

from ops.health.database import with_health_deadline
from ops.models import Run
from ops.runs import index
from ops.runs.event_log import EVENT_FIELDS
from ops.utils import clock

logger = logging.getLogger(__name__)

INTERVAL = 0.5
"""Seconds between two writes of the row, which also read whether the run is to be cancelled."""
REPORT_INTERVAL = 5.0
"""Seconds between two reports in the row that this process runs, when nothing else is new."""
RETRY = 0.2
"""Seconds between attempts at the last write."""


class RunRowWriter(threading.Thread):
    """Writes the result of `state` twice a second if it has changed.

    Without `enabled` it writes nothing: the live database must not change during the run.

    The thread has a connection of its own, so that it reaches the live database wherever the run's thread points
    "default". If the database fails, hangs or is being replaced, only the row is out of date.
    """

    def __init__(self, state: Callable[[], Run], *, enabled: bool = True) -> None:
        super().__init__(name="run-row", daemon=True)
        self.cancel_requested = threading.Event()
        self._state, self._enabled = state, enabled
        self._written: dict[str, object] = {}
        self._changes: deque[Callable[[], None]] = deque()
        self._wake, self._paused = threading.Event(), threading.Event()
        self._pausing = self._ending = self._warned = False
        self._deadline = self._reported = 0.0

    def enqueue(self, change: Callable[[], None]) -> None:
        """Make another change to the rows with the next write; it is repeated after a failure."""
        self._changes.append(change)

    def drain(self, *, within: float) -> None:
        """Write once more and then nothing until `resume` or `close`; wait up to `within` seconds for that."""
        self._pausing = True
        self._wake.set()
        if self._enabled:
            self._paused.wait(within)

    def resume(self) -> None:
        """Write again after `drain`, into the database that is live now."""
        self._pausing = False
        self._wake.set()

    def close(self, *, within: float) -> bool:
        """Write the last state, trying for `within` seconds. Returns whether it was written."""
        if not self._enabled:
            return True
        self._deadline = time.monotonic() + within
        self._ending = True
        self._wake.set()
        self.join(within)
        return not self.is_alive() and not self._is_outdated()

    def start(self) -> None:
        if self._enabled:
            super().start()

    def run(self) -> None:
        while not self._ending:
            pausing = self._pausing
            self._attempt()
            if pausing:
                self._paused.set()
            self._wake.clear()
            if not self._ending and self._pausing is pausing:
                self._wake.wait(None if pausing else INTERVAL)
        while not self._attempt() and time.monotonic() < self._deadline:
            time.sleep(RETRY)

    def _attempt(self) -> bool:
        try:
            with with_health_deadline(connection):
                self._write()
        except Error as error:
            self._warn_once(error)
            return False
        finally:
            # At the next attempt the name may belong to another database.
            with contextlib.suppress(Error):
                connections.close_all()
        return True

    def _write(self) -> None:
        run = self._state()
        try:
            # First: who sees the end of a run sees the backup that it made.
            while self._changes:
                self._changes[0]()
                self._changes.popleft()
        finally:
            self._write_run(run)
        if Run.objects.filter(pk=run.pk, cancel_requested=True).exists():
            self.cancel_requested.set()

    def _write_run(self, run: Run) -> None:
        values = values_of(run)
        is_new = values != self._written
        if not is_new and time.monotonic() - self._reported < REPORT_INTERVAL:
            return
        with transaction.atomic():
            if is_new:
                index.write_run(run)
            Run.objects.filter(pk=run.pk).update(reported_at=clock.now())
        self._written, self._reported = values, time.monotonic()

    def _is_outdated(self) -> bool:
        return bool(self._changes) or self._written != values_of(self._state())

    def _warn_once(self, error: Error) -> None:
        if not self._warned:
            logger.warning("The row of the run %s cannot be written (%s).", self._state().pk, type(error).__name__)
        self._warned = True


def values_of(run: Run) -> dict[str, object]:
    return {name: getattr(run, name) for name in EVENT_FIELDS}
