"""One psycopg2 connection: opening it, asking whether it lives, and making it as good as new."""

import select
from typing import Any

import psycopg2
from psycopg2.extensions import TRANSACTION_STATUS_IDLE, connection
from psycopg2.extras import register_default_jsonb

ENCODING = "UTF8"


def open_session(params: dict[str, Any]) -> connection:
    """A connection in autocommit mode, prepared as Django's own backend prepares it."""
    raw: connection = psycopg2.connect(**params)
    raw.autocommit = True
    # Django's JSONField decodes by itself; without this psycopg2 would have decoded already.
    register_default_jsonb(conn_or_curs=raw, loads=lambda text: text)
    return raw


def is_alive(raw: connection) -> bool:
    """Whether the server answers, by asking it. Blocks while the server is silent."""
    try:
        with raw.cursor() as cursor:
            cursor.execute("SELECT 1")
    except psycopg2.Error:
        return False
    return True


def is_silent(raw: connection) -> bool:
    """Whether nothing has arrived on an idle connection. A server that ends one says so, or at least hangs up.

    Costs one system call and no round trip.
    """
    poller = select.poll()
    poller.register(raw.fileno(), select.POLLIN)
    return not poller.poll(0)


def reset(raw: connection) -> None:
    """End the transaction and forget whatever the last user left in the session, on the server and in psycopg2.

    Raises psycopg2.Error when that is not possible; then the connection must not be used again.
    """
    raw.rollback()  # no round trip unless psycopg2 itself began a transaction
    if (raw.isolation_level, raw.readonly, raw.deferrable) != (None, None, None):
        raw.set_session(isolation_level="default", readonly="default", deferrable="default")  # three round trips
    raw.autocommit = True
    with raw.cursor() as cursor:
        if raw.info.transaction_status != TRANSACTION_STATUS_IDLE:
            cursor.execute("ROLLBACK")  # of a BEGIN that was sent as a statement
        cursor.execute("DISCARD ALL")
    if raw.encoding != ENCODING:
        raw.set_client_encoding(ENCODING)  # DISCARD ALL turned the server back, but not psycopg2
    raw.notices.clear()
    raw.notifies.clear()
