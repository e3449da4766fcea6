"""Why a server refused a connection, and what to do: by the SQLSTATE, which is the same in every language.

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

from ops.conf import setting_name
from ops.errors import PreconditionFailed

TIMEOUT = 1.0
"""Seconds for the attempt: the server has just answered."""
PQERRORS_VERBOSE = 2
SEVERITY = re.compile(r"^[^:\n]+:  ")
"""In the language of the server, with two spaces after the colon. libpq's own messages have none, and are in English,
because Python does not set the locale of messages."""
FROM_SERVER = re.compile(r"^(?:.* failed: )?[^:\n]+:  (?:(?P<sqlstate>[0-9A-Z]{5}): )?", re.MULTILINE)
NOT_ADMITTED = "28000"
OF_ONE_DATABASE = frozenset({NOT_ADMITTED, "3D000", "42501", "53300", "55000"})
"""After these a connection to another database of the server may succeed."""
TEMPORARY = frozenset({"53300", "57P01", "57P02", "57P03"})
"""All connections are in use, or the server is starting or stopping."""
FROM_POOLER = frozenset({"08P01", "0A000"})
"""Protocol violation, as PgBouncer calls everything that it does not support, and what Amazon's RDS Proxy calls it."""
SEE_OPTIONS = "Check the options after ? in the URL."
SEE_LOG = "The server answers; its log may say more."
STARTING = "The server is starting, stopping or recovering. Run the command again in a moment."
HINTS = {
    "22023": SEE_OPTIONS,
    NOT_ADMITTED: "The server answers; its pg_hba.conf or the role does not admit the user to the database.",
    "28P01": "The server answers; the user or the password is wrong. In a URL write # / ? @ : % as %23 %2F %3F …",
    "3D000": "The server answers. Create the database, or correct its name.",
    "42501": "The server answers. As an administrator: GRANT CONNECT ON DATABASE … TO …;",
    "42704": SEE_OPTIONS,
    "53300": "The server answers; all of its connections are in use. End some, or raise max_connections.",
    "55000": "The server answers. As an administrator: ALTER DATABASE … ALLOW_CONNECTIONS true;",
    "57P01": STARTING,
    "57P02": STARTING,
    "57P03": STARTING,
}
"""By SQLSTATE."""


class Refused(PreconditionFailed):
    """A connection was refused. `sqlstate` is the server's; '' where none answered."""

    def __init__(self, message: str, hint: str = "", *, sqlstate: str = "") -> None:
        super().__init__(message, hint)
        self.sqlstate = sqlstate


def find_sqlstate(message: str, params: Mapping[str, Any]) -> str:
    """The SQLSTATE of a refused connection; '' where no server wrote the `message`."""
    if not FROM_SERVER.search(message):
        return ""
    found = [match["sqlstate"] for match in FROM_SERVER.finditer(connect_verbosely(params)) if match["sqlstate"]]
    return found[-1] if found else ""


def hint_for(sqlstate: str, message: str) -> str:
    """What to do about a connection that was refused."""
    if sqlstate in FROM_POOLER:
        return pooler_hint()
    if sqlstate:
        return HINTS.get(sqlstate, SEE_LOG)
    # libpq's own messages.
    if "invalid" in message and "value" in message:
        return SEE_OPTIONS
    return "Is the server running, and are host, port, user and password right?"


def pooler_hint() -> str:
    return (
        "PgBouncer answered, and backups, restores and migrations need a session of the server itself. Set"
        f" {setting_name('OPS_DIRECT_DATABASE')} to the server."
    )


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
