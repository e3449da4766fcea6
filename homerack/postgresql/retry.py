"""Retry of connecting while the server is unreachable.

Only connecting is retried, never a statement: when the connection is lost during a COMMIT, the transaction may or may
not have been committed.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import psycopg2
import tenacity

from homerack.postgresql.retry_budget import RetryBudget

logger = logging.getLogger(__name__)

Connection = TypeVar("Connection")

MAX_DELAY = 30.0
"""Seconds; the upper limit of the growing delays."""

REPLACED = "just been dropped or renamed"
"""Said to those who connect while a database is being replaced, after the replacement."""

# psycopg2's errors of a failed connection attempt have no SQLSTATE, so their text decides. The server's messages are in
# PostgreSQL's src/backend/postmaster/postmaster.c and utils/init/postinit.c, libpq's in fe-connect.c.
TRANSIENT = {
    "Connection refused": "connection refused",
    "No such file or directory": "no socket",
    "could not translate host name": "host name not resolved",
    "timeout expired": "timed out",
    "Connection timed out": "timed out",
    "No route to host": "no route to the host",
    "Network is unreachable": "network unreachable",
    "Connection reset by peer": "connection reset",
    "server closed the connection unexpectedly": "connection closed",
    "could not receive data from server": "connection lost",
    "the database system is starting up": "server starting up",
    "the database system is not yet accepting connections": "server starting up",
    "the database system is shutting down": "server shutting down",
    "the database system is in recovery mode": "server recovering",
    "terminating connection due to administrator command": "server shutting down",
    "is not currently accepting connections": "database closed for a moment",
    REPLACED: "database being replaced",
    "too many clients already": "server has no free connection",
    "remaining connection slots are reserved": "server has no free connection",
    "too many connections for": "no free connection for the role or database",
}
PERMANENT = ("authentication failed", "no pg_hba.conf entry", "no password supplied", 'role "', "permission denied")


@dataclass(frozen=True, kw_only=True)
class RetryPolicy:
    """At most `attempts`; before attempt n + 1 a random delay of up to `delay` × 2ⁿ⁻¹ seconds ("full jitter")."""

    attempts: int = 5
    delay: float = 2.0


def transient_reason(error: BaseException) -> str:
    """Why another attempt may succeed, without names of host, user or database; empty for a permanent error.

    With several hosts libpq reports all of their errors in one text: a rejected login among them is permanent.
    """
    text = str(error)
    if not isinstance(error, psycopg2.OperationalError) or any(phrase in text for phrase in PERMANENT):
        return ""
    return next((cause for phrase, cause in TRANSIENT.items() if phrase in text), "")


def connect_with_retry(connect: Callable[[], Connection], *, policy: RetryPolicy, budget: RetryBudget) -> Connection:
    """The result of `connect`, which is retried after transient errors as long as `policy` and `budget` allow.

    The limits do not apply to a database that was replaced meanwhile: the server let this attempt wait until the new
    one was there. Raises the last error unchanged. Delays block the calling thread only.
    """
    delay = policy.delay
    stop: tenacity.stop.stop_base = tenacity.stop_after_attempt(policy.attempts)
    if budget.connect_timeout is not None:
        # A short budget allows several attempts only with short delays.
        delay = min(delay, budget.connect_timeout / 4)
        in_time = tenacity.stop_before_delay(budget.connect_timeout)
        stop = in_time if budget.ignore_attempt_limit else stop | in_time

    def attempt() -> Connection:
        try:
            return connect()
        except psycopg2.OperationalError as error:
            if REPLACED not in str(error):
                raise
        return connect()

    def log_retry(state: tenacity.RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        logger.warning(
            "PostgreSQL cannot be reached (%s): attempt %d failed, next attempt in %.2f s",
            transient_reason(error) if error else "",
            state.attempt_number,
            state.upcoming_sleep,
        )

    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_exception(lambda error: bool(transient_reason(error))),
        wait=tenacity.wait_random_exponential(multiplier=delay, max=MAX_DELAY),
        stop=stop,
        before_sleep=log_retry,
        reraise=True,
    )
    return retrying(attempt)
