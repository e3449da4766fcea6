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
from ops.databases.postgres import libpq_words
from ops.databases.postgres.sqlstate import sqlstates, with_sqlstates

logger = logging.getLogger(__name__)

MAX_DELAY = 30.0
"""Seconds; the upper limit of the growing delays."""

REPLACED = "database being replaced"
ANSWERS = "server answers again"
NOT_WRITABLE = "no server is writable yet"
"""What ``target_session_attrs`` demands. During a failover all servers are standbys for a moment."""
TRANSIENT_STATES = {
    "53300": "no free connection",
    "55000": "database closed for a moment",
    "57P01": "server shutting down",
    "57P02": "server recovering",
    "57P03": "server starting up, shutting down or recovering",
}
"""SQLSTATEs of refusals (src/backend/postmaster/postmaster.c and utils/init/postinit.c of PostgreSQL)."""
MISSING_DATABASE = "3D000"
DETAIL = "DETAIL:"
"""A detail means that the database has just been renamed or dropped: it is being replaced. libpq writes this word."""
# Where no server refuses, libpq's English text decides (fe-connect.c).
TRANSIENT = {
    **dict.fromkeys(libpq_words.NOT_WRITABLE, NOT_WRITABLE),
    "Connection refused": "connection refused",
    "No such file or directory": "no socket",
    libpq_words.NAME_NOT_RESOLVED: "host name not resolved",
    "timeout expired": "timed out",
    "Connection timed out": "timed out",
    "No route to host": "no route to the host",
    "Network is unreachable": "network unreachable",
    "Connection reset by peer": "connection reset",
    libpq_words.CLOSED_BY_SERVER: "connection closed",
    libpq_words.NOTHING_RECEIVED: "connection lost",
}
PERMANENT = "no password supplied"


@dataclass(frozen=True, kw_only=True)
class RetryPolicy:
    """At most `attempts`; before attempt n + 1 a random delay of up to `delay` × 2ⁿ⁻¹ seconds ("full jitter")."""

    attempts: int = 5
    delay: float = 2.0


def transient_reason(error: BaseException, params: Mapping[str, Any]) -> str:
    """Why another attempt may succeed, without names of host, user or database; empty for a permanent error.

    With several hosts libpq reports all of their errors in one text: a rejected login among them is permanent.
    """
    if not isinstance(error, psycopg2.OperationalError):
        return ""
    text = with_sqlstates(str(error), params)
    if not text:
        return ANSWERS
    if PERMANENT in text:
        return ""
    if states := sqlstates(text):
        causes = [cause_of(state, text) for state in states]
        return causes[0] if all(causes) else ""
    return next((cause for phrase, cause in TRANSIENT.items() if phrase in text), "")


def cause_of(sqlstate: str, text: str) -> str:
    if sqlstate == MISSING_DATABASE:
        return REPLACED if DETAIL in text else ""
    return TRANSIENT_STATES.get(sqlstate, "")


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
