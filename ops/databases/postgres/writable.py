"""Whether a server takes writes. A standby does not, nor do sessions that are read-only by default."""

from typing import Any

from psycopg2.extensions import connection as Connection  # noqa: N812

from ops.errors import PreconditionFailed

STATE = """
SELECT CASE WHEN pg_is_in_recovery() THEN 'recovery'
            WHEN current_setting('transaction_read_only')::boolean THEN 'read-only' ELSE '' END
"""
SOURCE = """
SELECT source, quote_ident(session_user), quote_ident(current_database()) FROM pg_settings
WHERE name = 'default_transaction_read_only'
"""
SETTING = "default_transaction_read_only"
RESETS = {
    "user": f"ALTER ROLE {{role}} RESET {SETTING};",
    "database": f"ALTER DATABASE {{database}} RESET {SETTING};",
    "database user": f"ALTER ROLE {{role}} IN DATABASE {{database}} RESET {SETTING};",
    "global": f"ALTER ROLE ALL RESET {SETTING};",
    "configuration file": f"ALTER SYSTEM RESET {SETTING}; SELECT pg_reload_conf();",
}
"""By the source of the setting."""


def explain_read_only(cursor: Any) -> tuple[str, str]:
    """Why a session cannot write, and what to do about it; two empty texts where it can.

    `cursor` is one of psycopg2 or of Django, and not in a transaction that was begun as read-only.
    """
    cursor.execute(STATE)
    (state,) = cursor.fetchone()
    if state == "recovery":
        return (
            "the server is in recovery (a standby, or a server that replays its log)",
            "Connect to the primary server, or promote this one.",
        )
    if not state:
        return "", ""
    cursor.execute(SOURCE)
    source, role, database = cursor.fetchone()
    return f"its transactions are read-only ({SETTING})", (
        f"As an administrator: SET {SETTING} = off; {RESETS[source].format(role=role, database=database)}"
        " Some providers set it while the disk is full: then free some space first."
        if source in RESETS
        else f"Remove {SETTING} from the OPTIONS of the database, the variable PGOPTIONS or the server's configuration."
    )


def require_writable(connection: Connection, where: str) -> None:
    """Raises PreconditionFailed unless the server `where` takes writes."""
    with connection.cursor() as cursor:
        reason, hint = explain_read_only(cursor)
    if reason:
        raise PreconditionFailed(f"The database {where} cannot be written: {reason}. Nothing was changed.", hint)
