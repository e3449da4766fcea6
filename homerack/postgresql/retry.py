"""Retry of connecting while the server is unreachable.

Only connecting is retried, never a statement: when the connection is lost during a COMMIT, the transaction may or may
not have been committed.
"""

import logging
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import psycopg2
import tenacity

from homerack.postgresql.deadlines import NoAnswer, call_until
from homerack.postgresql.outage import outage_of
from homerack.postgresql.retry_budget import RetryBudget
from ops.databases.postgres.sqlstate import ANSWERS, REPLACED, transient_cause, with_sqlstates

logger = logging.getLogger(__name__)

MAX_DELAY = 30.0
"""Seconds; the upper limit of the growing delays."""


@dataclass(frozen=True, kw_only=True)
class RetryPolicy:
    """At most `attempts`; before attempt n + 1 a random delay of up to `delay` × 2ⁿ⁻¹ seconds ("full jitter")."""

    attempts: int = 5
    delay: float = 2.0


def transient_reason(error: BaseException, params: Mapping[str, Any]) -> str:
    """As `transient_cause`, of an error of psycopg2."""
    if not isinstance(error, psycopg2.OperationalError):
        return ""
    return transient_cause(with_sqlstates(str(error), params))


def connect_with_retry(
    connect: Callable[[dict[str, Any]], Any],
    params: dict[str, Any],
    *,
    policy: RetryPolicy,
    budget: RetryBudget,
    deadline: float | None = None,
) -> Any:
    """The result of ``connect(params)``, retried after transient errors as long as `policy` and `budget` allow.

    The limits do not apply to a database that was replaced meanwhile: the server let this attempt wait until the new
    one was there. The `deadline` (`time.monotonic`) ends an attempt too. Raises the last error unchanged, or NoAnswer;
    in a long outage that of another request (`homerack.postgresql.outage`). Delays block the calling thread only.
    """
    delay, longest = policy.delay, MAX_DELAY
    stop: tenacity.stop.stop_base = tenacity.stop_after_attempt(policy.attempts)
    if budget.connect_timeout is not None:
        # A short budget allows several attempts only with short delays.
        delay, longest = min(delay, budget.connect_timeout / 20), min(longest, budget.connect_timeout / 5)
        in_time = tenacity.stop_before_delay(budget.connect_timeout)
        stop = in_time if budget.ignore_attempt_limit else stop | in_time
    if deadline is not None:
        stop |= tenacity.stop_before_delay(max(0.0, deadline - time.monotonic()))
    reason = ""

    def attempt(*, again: bool = True) -> Any:
        nonlocal reason
        made = Attempt.make(connect, params, deadline)
        reason = made.reason
        if made.error is None:
            return made.connection
        if again and reason in {REPLACED, ANSWERS}:
            return attempt(again=False)
        raise made.error

    def log_retry(state: tenacity.RetryCallState) -> None:
        logger.warning(
            "PostgreSQL cannot be reached (%s): attempt %d failed, next attempt in %.2f s",
            reason,
            state.attempt_number,
            state.upcoming_sleep,
        )

    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_exception(lambda _: bool(reason)),
        wait=tenacity.wait_random_exponential(multiplier=delay, max=longest),
        stop=stop,
        before_sleep=log_retry,
        reraise=True,
    )
    outage = outage_of(params)
    # A health check makes one attempt. Commands and workers do not wait for each other.
    waits, has_time = bool(budget.connect_timeout), deadline is None or deadline > time.monotonic()
    with outage.waiting() if waits else nullcontext():
        try:
            found = retrying(attempt)
        except psycopg2.OperationalError as error:
            if waits and has_time and reason:
                outage.note(error)
            raise
    outage.note(None)
    return found


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """The connection, or the error and whether another attempt may succeed (`transient_reason`)."""

    connection: Any = None
    error: psycopg2.OperationalError | None = None
    reason: str = ""

    @classmethod
    def make(
        cls, connect: Callable[[dict[str, Any]], Any], params: dict[str, Any], deadline: float | None
    ) -> "Attempt":
        def try_once() -> Attempt:
            try:
                return cls(connection=connect(params))
            except psycopg2.OperationalError as error:
                return cls(error=error, reason=transient_reason(error, params))

        if deadline is None:
            return try_once()
        try:
            return call_until(deadline, try_once, discard=cls.close)
        except NoAnswer as error:
            return cls(error=error, reason="timed out")

    def close(self) -> None:
        if self.connection is not None:
            self.connection.close()
