"""Why a server refused a connection, and what to do: by the SQLSTATE, which is the same in every language."""

import re
from collections.abc import Mapping
from typing import Any

from ops.conf import setting_name
from ops.databases.postgres import libpq_words
from ops.databases.postgres.sqlstate import sqlstates, transient_cause, with_sqlstates
from ops.errors import PreconditionFailed

SEVERITY = re.compile(r"^[^:\n]+:  ")
"""In the language of the server, with two spaces after the colon. libpq's own messages have none, and are in English,
because Python does not set the locale of messages."""
NOT_ADMITTED = "28000"
OF_ONE_DATABASE = frozenset({NOT_ADMITTED, "3D000", "42501", "53300", "55000"})
"""After these a connection to another database of the server may succeed."""
TEMPORARY = frozenset({"53300", "57P01", "57P02", "57P03"})
"""All connections are in use, or the server is starting or stopping."""
FROM_POOLER = frozenset({"08P01", "0A000"})
"""Protocol violation, as PgBouncer calls everything that it does not support, and what Amazon's RDS Proxy calls it."""
SEE_OPTIONS = "Check the options after ? in the URL."
SEE_LOG = "The server answers; its log may say more."
NONE_WRITABLE = (
    "Each server that answers is a standby, or read-only. During a failover, run the command again in a moment. To read"
    " a database that is read-only by default: target_session_attrs=primary in the URL."
)
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
    """A connection was refused. `sqlstate` is the server's; '' where none answered.

    `had_answered`: the same server had accepted others of the run. `is_temporary`: the server starts, stops or does not
    answer, or no server takes writes, as during a failover.
    """

    def __init__(
        self,
        message: str,
        hint: str = "",
        *,
        sqlstate: str = "",
        had_answered: bool = False,
        is_temporary: bool = False,
    ) -> None:
        super().__init__(message, hint)
        self.sqlstate, self.had_answered, self.is_temporary = sqlstate, had_answered, is_temporary

    def with_message(self, message: str) -> "Refused":
        """The same refusal in other words."""
        return Refused(
            message,
            self.hint,
            sqlstate=self.sqlstate,
            had_answered=self.had_answered,
            is_temporary=self.is_temporary,
        )


def explain(message: str, params: Mapping[str, Any]) -> tuple[str, bool]:
    """The SQLSTATE of a refused connection, '' where no server wrote the `message`; and `Refused.is_temporary`."""
    message = with_sqlstates(message, params)
    found = sqlstates(message)
    return found[-1] if found else "", bool(transient_cause(message)) and not OF_ONE_DATABASE.intersection(found)


def hint_for(sqlstate: str, message: str) -> str:
    """What to do about a connection that was refused."""
    if sqlstate in FROM_POOLER:
        return pooler_hint()
    if sqlstate:
        return HINTS.get(sqlstate, SEE_LOG)
    # libpq's own messages.
    if any(words in message for words in libpq_words.NOT_WRITABLE):
        return NONE_WRITABLE
    if "invalid" in message and "value" in message:
        return SEE_OPTIONS
    return "Is the server running, and are host, port, user and password right?"


def superuser_hint() -> str:
    return (
        f"Set {setting_name('OPS_DIRECT_DATABASE')} to the database with the name and password of a superuser, and run"
        " the command again. Owners and privileges stay as they are."
    )


def pooler_hint() -> str:
    return (
        "PgBouncer answered, and backups, restores and migrations need a session of the server itself. Set"
        f" {setting_name('OPS_DIRECT_DATABASE')} to the server."
    )
