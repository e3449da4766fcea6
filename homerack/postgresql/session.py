"""One psycopg2 connection: open, test and reset it."""

import select
from collections.abc import Callable, Mapping
from typing import Any

import psycopg2
from psycopg2.extensions import TRANSACTION_STATUS_IDLE, connection
from psycopg2.extras import register_default_jsonb

from homerack.postgresql.deadlines import WatchedConnection, within
from ops.databases.postgres.url import pair_hosts

ENCODING = "UTF8"
UPKEEP_SECONDS = 2.0
"""How long a ping or a reset may take, in all processes. Each is a round trip without work."""
WRITABLE_ONLY = frozenset({"read-write", "primary"})
"""Values of libpq's ``target_session_attrs`` that refuse a standby."""

HOST_SECONDS = 2
"""How long a request waits for each of several hosts; the least that libpq accepts."""
Server = tuple[str, str]
"""Host and port."""


def open_session(params: dict[str, Any], *, limit: float | None = None) -> connection:
    """A connection in autocommit mode, set up as in Django's own backend; `limit`: the seconds of a statement."""
    raw = connect(params, limit=limit)
    raw.autocommit = True
    # Django's JSONField decodes the text; psycopg2 would decode it first.
    register_default_jsonb(conn_or_curs=raw, loads=lambda text: text)
    return raw


def connect(
    params: dict[str, Any], *, limit: float | None = None, by: Callable[..., Any] = psycopg2.connect
) -> connection:
    """What `by` returns for `params`; with a `limit` a watched connection.

    Of several hosts, the one that accepted the last connection is tried first.
    """
    servers, params = _servers(params), dict(params)
    if len(servers) > 1:
        # libpq would wait for a frozen host that is named before it.
        first = sorted(servers, key=lambda server: server != _accepted_last.get(servers))
        params["host"] = ",".join(host for host, _ in first)
        params["port"] = ",".join(port for _, port in first)
    if limit is None:
        raw: connection = by(**params)
    else:
        if len(servers) > 1:
            params["connect_timeout"] = HOST_SECONDS
        watched: WatchedConnection = by(**params, connection_factory=WatchedConnection)
        watched.watch(limit)
        raw = watched
    if len(servers) > 1:
        _accepted_last[servers] = server_of(raw)
    return raw


_accepted_last: dict[tuple[Server, ...], Server] = {}
"""Of several hosts, the one that accepted the last connection."""


def _servers(params: Mapping[str, Any]) -> tuple[Server, ...]:
    if params.get("hostaddr"):
        return ()  # a second list, in the same order
    return tuple(pair_hosts(str(params.get("host", "")), str(params.get("port", ""))))


def server_of(raw: connection) -> Server:
    return raw.info.host, str(raw.info.port)


def reports_read_only(raw: connection) -> bool:
    """Whether the server said with its last answer that the session cannot write. No round trip.

    Servers report both parameters since PostgreSQL 14.
    """
    read = raw.info.parameter_status
    return "on" in {read("in_hot_standby"), read("default_transaction_read_only")}


def is_alive(raw: connection) -> bool:
    """Whether the server answers a statement within `UPKEEP_SECONDS`."""
    try:
        with within(UPKEEP_SECONDS, raw), raw.cursor() as cursor:
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

    Raises psycopg2.Error if that fails, or takes longer than `UPKEEP_SECONDS`; the connection must not be used
    again.
    """
    with within(UPKEEP_SECONDS, raw):
        _reset(raw)


def _reset(raw: connection) -> None:
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
