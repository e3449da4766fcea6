"""In a long outage one request waits for its end, and the others fail at once.

A request waits some seconds for a server, because most failovers are shorter. In a longer outage the threads of a web
server would do nothing but wait, and each page would wait for a thread before. So after a request that has waited in
vain, one of them waits at a time.
"""

import os
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import psycopg2

FORGOTTEN = 2.0
"""Seconds. Without a request that waits for so long, nothing is known of the time since the last one."""


class Outage:
    """What this process knows of an outage of one database."""

    def __init__(self) -> None:
        self._error: psycopg2.OperationalError | None = None
        """Of the last request that has waited in vain."""
        self._at = 0.0
        self._waiting = threading.Lock()

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Wait inside. Raises the error of the last request that has waited in vain, while another waits."""
        if time.monotonic() - self._at > FORGOTTEN and not self._waiting.locked():
            self._error = None
        error = self._error
        if error is None:
            yield
        elif self._waiting.acquire(blocking=False):
            try:
                yield
            finally:
                self._waiting.release()
        else:
            raise type(error)(*error.args)

    def note(self, error: psycopg2.OperationalError | None) -> None:
        """How a request ended that has waited; None: the server answered, whoever asked."""
        self._at, self._error = time.monotonic(), error


_outages: defaultdict[tuple[Any, ...], Outage] = defaultdict(Outage)


def outage_of(params: Mapping[str, Any]) -> Outage:
    """Of the database that these parameters of libpq name."""
    return _outages[tuple(params.get(name) for name in ("host", "hostaddr", "port", "dbname", "dsn"))]


# A thread of the parent may be waiting, and does not exist in the child.
os.register_at_fork(after_in_child=_outages.clear)
