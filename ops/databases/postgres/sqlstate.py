"""The SQLSTATE of a refused connection, which is the same whatever language the server speaks.

psycopg2 has only the message of a refused connection. libpq knows its SQLSTATE as well, and adds it to the message of
an attempt whose verbosity was raised before the answer came.
"""

import contextlib
import ctypes
import re
import select
import time
from collections.abc import Mapping
from typing import Any

import psycopg2
from psycopg2 import _psycopg
from psycopg2.extensions import POLL_OK, POLL_READ, connection

from ops.databases.postgres import libpq_words

TIMEOUT = 1.0
"""Seconds for the attempt: the server has just answered."""
PQERRORS_VERBOSE = 2
FROM_SERVER = re.compile(r"^(?:.* failed: )?[^:\n]+:  (?:(?P<sqlstate>[0-9A-Z]{5}): )?", re.MULTILINE)
"""The severity, in the language of the server, with two spaces after the colon; libpq's own messages have no such part
and are in English, because Python does not set the locale of messages."""
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
HOST_FAILED = re.compile(
    r'^connection to server (?:at "(?P<host>[^"]*)"(?: \([^)]*\))?, port (?P<port>\d+)|on socket "(?P<socket>[^"]*)")'
    r" failed: (?P<reason>.*)",
    re.MULTILINE,
)
"""What libpq says of one of several hosts."""


def with_sqlstates(message: str, params: Mapping[str, Any]) -> str:
    """The message of another attempt, with its SQLSTATEs, where the server wrote `message`; `message` otherwise.

    '' where that attempt succeeded.
    """
    return connect_verbosely(at_last_answer(message, params)) if FROM_SERVER.search(message) else message


def at_last_answer(message: str, params: Mapping[str, Any]) -> Mapping[str, Any]:
    """`params` with the last of several hosts that answered: one before it may not answer in time."""
    if "," not in str(params.get("host", "")) or "hostaddr" in params:
        return params
    answers = [found for found in HOST_FAILED.finditer(message) if FROM_SERVER.match(found[0]) and found["host"]]
    return {**params, "host": answers[-1]["host"], "port": answers[-1]["port"]} if answers else params


def sqlstates(message: str) -> list[str]:
    """One for each server that answered: several hosts may have been tried."""
    return [match["sqlstate"] for match in FROM_SERVER.finditer(message) if match["sqlstate"]]


def transient_cause(message: str) -> str:
    """Why another attempt may succeed, without names of host, user or database; empty for a permanent error.

    `message` is from `with_sqlstates`. With several hosts it has the errors of all: a rejected login is permanent.
    """
    if not message:
        return ANSWERS
    if PERMANENT in message:
        return ""
    if states := sqlstates(message):
        causes = [cause_of(state, message) for state in states]
        return causes[0] if all(causes) else ""
    return next((cause for phrase, cause in TRANSIENT.items() if phrase in message), "")


def cause_of(sqlstate: str, message: str) -> str:
    if sqlstate == MISSING_DATABASE:
        return REPLACED if DETAIL in message else ""
    return TRANSIENT_STATES.get(sqlstate, "")


def connect_verbosely(params: Mapping[str, Any]) -> str:
    """The message with which a connection is refused, or ''."""
    deadline = time.monotonic() + TIMEOUT
    try:
        with contextlib.closing(psycopg2.connect(**params, async_=1)) as attempt:
            raise_verbosity(attempt)
            while (state := attempt.poll()) != POLL_OK:
                poller = select.poll()
                poller.register(attempt.fileno(), select.POLLIN if state == POLL_READ else select.POLLOUT)
                if not poller.poll(max(0.0, deadline - time.monotonic()) * 1000):
                    return "timeout expired"
    except psycopg2.OperationalError as error:
        return str(error)
    return ""


def raise_verbosity(attempt: connection) -> None:
    libpq = ctypes.CDLL(_psycopg.__file__)
    libpq.PQsetErrorVerbosity.argtypes = [ctypes.c_void_p, ctypes.c_int]
    libpq.PQsetErrorVerbosity(attempt.pgconn_ptr, PQERRORS_VERBOSE)
