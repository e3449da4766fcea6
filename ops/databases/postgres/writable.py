"""Whether a server takes writes. A standby does not, nor do sessions that are read-only by default."""

from typing import Any

from psycopg2.extensions import connection as Connection  # noqa: N812

from ops.errors import PreconditionFailed

STATE = """
SELECT CASE WHEN pg_is_in_recovery() THEN 'recovery'
            WHEN current_setting('transaction_read_only')::boolean THEN 'read-only' ELSE '' END
"""
EXPLANATIONS = {
    "": ("", ""),
    "recovery": (
        "the server is in recovery (a standby, or a server that replays its log)",
        "Connect to the primary server, or promote this one.",
    ),
    "read-only": (
        "its transactions are read-only (default_transaction_read_only)",
        "As an administrator: RESET default_transaction_read_only with ALTER ROLE, ALTER DATABASE or ALTER SYSTEM.",
    ),
}


def explain_read_only(cursor: Any) -> tuple[str, str]:
    """Why a session cannot write, and what to do about it; two empty texts where it can.

    `cursor` is one of psycopg2 or of Django, and not in a transaction that was begun as read-only.
    """
    cursor.execute(STATE)
    return EXPLANATIONS[cursor.fetchone()[0]]


def require_writable(connection: Connection, where: str) -> None:
    """Raises PreconditionFailed unless the server `where` takes writes."""
    with connection.cursor() as cursor:
        reason, hint = explain_read_only(cursor)
    if reason:
        raise PreconditionFailed(f"The database {where} cannot be written: {reason}. Nothing was changed.", hint)
