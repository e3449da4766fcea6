"""Limits on how long the current code waits for a connection.

A user waits for a request, so a request has two seconds. Commands and workers make as many attempts as are configured.
``check_database --wait`` retries until its time is over, so that a container starts when the database is up. A health
check makes a single attempt, because it reports the current state.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class RetryBudget:
    """Limits on getting a connection, in seconds; None means as configured.

    `connect_timeout`: no attempt starts later than this after the first; 0 allows one attempt.
    `pool_timeout`: the longest wait for a slot of a pool that is fully in use.
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
    """Apply `budget` to the code inside. Threads started inside do not inherit it."""
    token = _current.set(budget)
    try:
        yield
    finally:
        _current.reset(token)
