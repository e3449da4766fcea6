"""One operation at a time on a database: an advisory lock of the server, which ends with the session."""

import contextlib
import time
from collections.abc import Iterator

import psycopg2
from psycopg2.extensions import connection as Connection  # noqa: N812

from ops.databases.postgres.connection import APPLICATION, RUN_AGAIN, ConnectionInfo, server_message
from ops.databases.postgres.databases import maintenance_connection
from ops.databases.postgres.queries import fetch_value
from ops.databases.postgres.writable import require_writable
from ops.errors import AlreadyRunning, OpsError

LABEL = f"{APPLICATION}: "
"""The beginning of the application_name of a session that holds the lock."""

RETRY_INTERVAL = 0.5
"""Seconds."""
NEXT_RUN_FINDS_OUT = "The next run finds out: manage.py rebuild_backup_index"
LONGEST_FAILOVER = 60.0
"""Seconds that a run waits for an answer after its cut-over."""


class OutcomeUnknown(OpsError):
    """The session ended at the COMMIT of a swap. Only the server knows whether the swap was done."""

    @classmethod
    def because(cls, reason: str, hint: str = "") -> "OutcomeUnknown":
        lost = f"The connection to the server was lost at the cut-over ({reason})."
        return cls(f"{lost} It is not known whether the new database is live.", hint or NEXT_RUN_FINDS_OUT)


class LockLost(OpsError):
    """The session that holds the lock of a database has ended."""


@contextlib.contextmanager
def naming_loss(connection: Connection, database: str) -> Iterator[None]:
    """Raise errors of the block as LockLost if the session `connection`, which holds the lock, has ended."""
    try:
        yield
    except psycopg2.Error as error:
        if not connection.closed:
            raise
        raise LockLost(
            f"The server changed during the run: the session that holds the lock of the database {database} has ended"
            f" ({server_message(error)}). Nothing was changed.",
            RUN_AGAIN,
        ) from error


@contextlib.contextmanager
def locked(connection: Connection, database: str, label: str = "") -> Iterator[None]:
    """Hold `database`; `label` names the holder. Raises AlreadyRunning with what is known of the holder."""
    key = f"ops:{database}"
    with connection.cursor() as cursor:
        if label:
            cursor.execute("SELECT set_config('application_name', %s, false)", [f"{LABEL}{label}"])
        if not fetch_value(cursor, "SELECT pg_try_advisory_lock(hashtextextended(%s, 0))", [key]):
            holder, session = read_holder(connection, key)
            raise AlreadyRunning(
                f"Another operation on the database {database} is running{f': {holder}' if holder else ''}{session}.",
                "Wait until it has ended, or stop it, and run the command again.",
                holder=holder,
            )
    try:
        yield
    finally:
        if not connection.closed:
            with contextlib.suppress(psycopg2.Error), connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_unlock(hashtextextended(%s, 0))", [key])


@contextlib.contextmanager
def relocked(address: ConnectionInfo, label: str, *, within: float, hint: str = "") -> Iterator[Connection]:
    """Hold the database at `address` again after the session that held it was lost, on the server that takes writes.

    Waits up to `within` seconds for such a server, and until the lost session has ended there: whatever it has sent is
    done or undone by then. Raises OutcomeUnknown with `hint`.
    """
    deadline = time.monotonic() + within
    with contextlib.ExitStack() as stack:
        while True:
            try:
                with contextlib.ExitStack() as attempt:
                    connection = attempt.enter_context(maintenance_connection(address))
                    attempt.enter_context(locked(connection, address.database, label))
                    require_writable(connection, str(address))
                    stack.enter_context(attempt.pop_all())
                break
            except (OpsError, psycopg2.Error) as error:
                if time.monotonic() > deadline:
                    reason = f"no server has taken writes for {within:g} s: {explain(error)}"
                    raise OutcomeUnknown.because(reason, hint) from error
                time.sleep(RETRY_INTERVAL)
        yield connection


def explain(error: Exception) -> str:
    return error.message.rstrip(".") if isinstance(error, OpsError) else server_message(error)


def read_holder(connection: Connection, key: str) -> tuple[str, str]:
    """The label of the holder, and its session in parentheses; each is empty if it is not known."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT activity.pid, application_name,"
            " to_char(activity.backend_start AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI')"
            " FROM pg_locks JOIN pg_stat_activity AS activity USING (pid)"
            " WHERE locktype = 'advisory' AND granted AND objsubid = 1"
            " AND (classid::bigint << 32 | objid::bigint) = hashtextextended(%s, 0)",
            [key],
        )
        row = cursor.fetchone()
    if not row:
        return "", ""
    process, name, since = row
    label = name.removeprefix(LABEL) if name.startswith(LABEL) else ""
    # Only some roles may see when another session began.
    return label, f" (server process {process}{f', since {since} UTC' if since else ''})"
