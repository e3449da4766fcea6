"""One psycopg2 connection: open, test and reset it."""

import select
from typing import Any

import psycopg2
from psycopg2.extensions import TRANSACTION_STATUS_IDLE, connection
from psycopg2.extras import register_default_jsonb

ENCODING = "UTF8"


def open_session(params: dict[str, Any]) -> connection:
    """A connection in autocommit mode, set up as in Django's own backend."""
    raw: connection = psycopg2.connect(**params)
    raw.autocommit = True
    # Django's JSONField decodes the text; psycopg2 would decode it first.
    register_default_jsonb(conn_or_curs=raw, loads=lambda text: text)
    return raw


def is_alive(raw: connection) -> bool:
    """Whether the server answers a statement. Blocks while the server does not respond."""
    try:
        with raw.cursor() as cursor:
            cursor.execute("SELECT 1")
    except psycopg2.Error:
        return False
    return True


def is_silent(raw: connection) -> bool:
    """Whether no data has arrived on an idle connection. A server that ends it sends an error or closes the socket.

    This costs one system call and no round trip.
    """
    poller = select.poll()
    poller.register(raw.fileno(), select.POLLIN)
    return not poller.poll(0)


def reset(raw: connection) -> None:
    """Roll back, and reset the session state on the server and in psycopg2.

    Raises psycopg2.Error if that fails; the connection must not be used again.
    """
    raw.rollback()  # no round trip unless psycopg2 began a transaction
    if (raw.isolation_level, raw.readonly, raw.deferrable) != (None, None, None):
        raw.set_session(isolation_level="default", readonly="default", deferrable="default")  # three round trips
    raw.autocommit = True
    with raw.cursor() as cursor:
        if raw.info.transaction_status != TRANSACTION_STATUS_IDLE:
            cursor.execute("ROLLBACK")  # of a BEGIN that was sent as a statement
        cursor.execute("DISCARD ALL")
    if raw.encoding != ENCODING:
        raw.set_client_encoding(ENCODING)  # DISCARD ALL resets the server's encoding, but not psycopg2's
    raw.notices.clear()
    raw.notifies.clear()
