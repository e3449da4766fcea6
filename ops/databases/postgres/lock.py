"""One operation at a time on a database: an advisory lock of the server, which ends with the session."""

import contextlib
from collections.abc import Iterator

import psycopg2
from psycopg2.extensions import connection as Connection  # noqa: N812

from ops.databases.postgres.connection import APPLICATION
from ops.databases.postgres.queries import fetch_value
from ops.errors import AlreadyRunning

LABEL = f"{APPLICATION}: "
"""The beginning of the application_name of a session that holds the lock."""


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
