"""Limits on how long the current code waits for a connection.

A user waits for a request, so a request has five seconds: enough for most changes of the primary server, and for a
restart. Commands and workers make as many attempts as are configured.
``check_database --wait`` retries until its time is over, so that a container starts when the database is up. A health
check makes a single attempt, because it reports the current state.
"""

import time
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
REQUEST = RetryBudget(connect_timeout=5.0, ignore_attempt_limit=True)

_statements_are_limited = False


def limit_statements() -> None:
    """Apply the limit for statements (``STATEMENT_TIMEOUT`` of the database) in this process and its children.

    Web servers call it. Commands and workers run statements that take hours.
    """
    global _statements_are_limited  # noqa: PLW0603  # a property of the process
    _statements_are_limited = True


def statements_are_limited() -> bool:
    return _statements_are_limited


_deadline: ContextVar[float | None] = ContextVar("deadline", default=None)


def deadline() -> float | None:
    """Until when (`time.monotonic`) a connection must be there."""
    return _deadline.get()


@dataclass
class Waited:
    """The seconds that the current request has waited for connections, and for answers that did not come."""

    seconds: float = 0.0


_waited: ContextVar[Waited | None] = ContextVar("waited", default=None)


def add_wait(seconds: float) -> None:
    if waited := _waited.get():
        waited.seconds += seconds


def left_of(limit: float | None) -> float | None:
    """What the current request has left of `limit` seconds: a server that does not answer costs it that time once."""
    waited = _waited.get()
    return limit if limit is None or waited is None else max(0.0, limit - waited.seconds)


@contextmanager
def ending_after(seconds: float | None) -> Iterator[None]:
    """A deadline for getting a connection inside, with the wait for a slot of the pool; None: no deadline."""
    token = _deadline.set(None if seconds is None else time.monotonic() + seconds)
    try:
        yield
    finally:
        _deadline.reset(token)


_current: ContextVar[RetryBudget] = ContextVar("retry_budget", default=AS_CONFIGURED)


def current() -> RetryBudget:
    return _current.get()


@contextmanager
def with_budget(budget: RetryBudget) -> Iterator[None]:
    """Apply `budget` to the code inside. Threads started inside do not inherit it."""
    token, waited = _current.set(budget), _waited.set(Waited())
    try:
        yield
    finally:
        _waited.reset(waited)
        _current.reset(token)
