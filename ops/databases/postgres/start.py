"""Waits for a server that takes writes at the start of a command or a task: a failover may be going on.

Only until the first connection of an operation: later ones go to the server that it has reached, or fail.
"""

import contextlib
import logging
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import TypeVar

from ops.databases.postgres.refusal import Refused

logger = logging.getLogger(__name__)

LONGEST_WAIT = 30.0
"""Seconds after the start of a command or a task."""
PAUSE = 0.5
"""Seconds between two attempts."""
Session = TypeVar("Session")
_until: ContextVar[float] = ContextVar("until", default=0.0)


@contextlib.contextmanager
def waiting_for_server(seconds: float | None = None) -> Iterator[None]:
    """What begins to work on a database inside waits for a server for up to `seconds`, by default `LONGEST_WAIT`."""
    token = _until.set(time.monotonic() + (LONGEST_WAIT if seconds is None else seconds))
    try:
        yield
    finally:
        _until.reset(token)


def connect_in_time(connect: Callable[[], Session], where: str) -> Session:
    """The result of `connect`, repeated while the refusal is temporary and there is time. Raises Refused.

    `where` names the database.
    """
    began, waits = time.monotonic(), False
    while True:
        try:
            session = connect()
        except Refused as error:
            left = _until.get() - time.monotonic()
            if not error.is_temporary or (left <= 0 and not waits):
                raise
            if left <= 0:
                waited = f"It waited {time.monotonic() - began:.0f} s for a server that takes writes."
                raise error.with_message(f"{error.message} {waited} Nothing was changed.") from error
            if not waits:
                logger.warning("Waits for a writable server, up to %.0f s. %s", left, error.message)
            waits = True
            time.sleep(min(PAUSE, left))
        else:
            if waits:
                logger.warning("The server of %s takes writes after %.1f s.", where, time.monotonic() - began)
            return session
