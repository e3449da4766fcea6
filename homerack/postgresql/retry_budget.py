"""How long the code that runs now may wait for a connection.

A user waits for a request, so a request gets seconds. A command, a worker and the start of a container can wait for the
database to come back, and do. A health check wants to know how it is at this moment.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class RetryBudget:
    """Limits on getting a connection, in seconds. None leaves a limit to the settings of the database.

    `connect_timeout`: no further attempt to reach the server starts later than this after the first; 0 is one attempt.
    `pool_timeout`: the longest wait for a place in a pool that is fully in use.
    `ignore_attempt_limit`: only `connect_timeout` ends the attempts, not their configured number.
    """

    connect_timeout: float | None = None
    pool_timeout: float | None = None
    ignore_attempt_limit: bool = False


AS_CONFIGURED = RetryBudget()
REQUEST = RetryBudget(connect_timeout=2.0)

_current: ContextVar[RetryBudget] = ContextVar("retry_budget", default=AS_CONFIGURED)


def current() -> RetryBudget:
    return _current.get()


@contextmanager
def with_budget(budget: RetryBudget) -> Iterator[None]:
    """What runs inside gets connections with this `budget`. Threads started inside do not inherit it."""
    token = _current.set(budget)
    try:
        yield
    finally:
        _current.reset(token)
