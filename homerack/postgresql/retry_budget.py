"""How long whoever runs now is willing to wait for a connection.

A person waits for a request, so a request gets seconds. A command, a worker and the start of a container can wait for
the database to come back, and do. A health check wants to know how it is at this moment.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class RetryBudget:
    """Limits on getting a connection, in seconds. None leaves a limit to the settings of the database.

    `connecting`: no further attempt to reach the server starts later than this after the first; 0 means one attempt.
    `queueing`: the longest wait for a place in a pool that is fully in use.
    `persistent`: only `connecting` ends the attempts, not their configured number.
    """

    connecting: float | None = None
    queueing: float | None = None
    persistent: bool = False


AS_CONFIGURED = RetryBudget()
REQUEST = RetryBudget(connecting=2.0)

_current: ContextVar[RetryBudget] = ContextVar("patience", default=AS_CONFIGURED)


def current() -> RetryBudget:
    return _current.get()


@contextmanager
def with_budget(patience: RetryBudget) -> Iterator[None]:
    """What runs inside gets connections with this `patience`. Threads started inside do not inherit it."""
    token = _current.set(patience)
    try:
        yield
    finally:
        _current.reset(token)
