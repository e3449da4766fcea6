"""The address of a PostgreSQL database, and connections outside of Django's."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import dj_database_url
import psycopg2
from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg2 import errors
from psycopg2.extensions import connection as Connection  # noqa: N812

from ops.databases.override import new_wrapper
from ops.databases.postgres import refusal
from ops.databases.postgres.refusal import Refused
from ops.errors import PreconditionFailed

APPLICATION = "ops"
DJANGO_OPTIONS = frozenset({"assume_role", "isolation_level", "server_side_binding", "service_file", "pool"})
OWN_OPTIONS = frozenset({"client_encoding", "connection_factory", "cursor_factory"})
"""Options of libpq and psycopg2 that our connections set themselves."""
EXAMPLE = "postgres://user:password@127.0.0.1:5432/mydatabase"
CONNECT_TIMEOUT = 10
"""Seconds."""
TRANSACTION_TIMEOUT = 170000
"""The first version of PostgreSQL with the setting; an older one refuses a connection with its name."""
ANSWERED = "ops.session"
"""A setting that no server has: a session without it was not opened with our options."""
SESSION = (
    f"-c {ANSWERED}=on -c timezone=UTC -c datestyle=ISO -c intervalstyle=postgres -c standard_conforming_strings=on"
    " -c array_nulls=on -c quote_all_identifiers=off -c statement_timeout=0 -c lock_timeout=0"
    " -c idle_in_transaction_session_timeout=0 -c idle_session_timeout=0"
)
"""In all our sessions, and in those of pg_dump, values have the same text, and no statement is ended for the time it
takes, whatever the defaults of role, database and server are. A database that is read-only by default stays so: a full
disk may be the reason."""
PROJECT_SESSION = (
    f"-c {ANSWERED}=on -c statement_timeout=0 -c lock_timeout=0 -c idle_in_transaction_session_timeout=0"
    " -c idle_session_timeout=0"
)
"""In sessions that show how the project will read its values: with the settings of role and database."""


class Session(Connection):
    """A session of the server itself, with the settings it was opened with. Raises PreconditionFailed behind a pooler.

    A pooler may be told to ignore the options of its clients (``ignore_startup_parameters`` of PgBouncer). The id of
    the backend tells nothing: proxies that pool nothing answer with ids of their own (Neon).
    """

    def __init__(self, dsn: str, **options: Any) -> None:
        super().__init__(dsn, **options)
        self.autocommit = True
        with self.cursor() as cursor:
            try:
                cursor.execute(f"SHOW {ANSWERED}")
            except errors.UndefinedObject:
                message = f"No connection to the database {self.info.dbname} itself: a pooler answered, which ignores"
                self.close()
                raise PreconditionFailed(f"{message} the settings of a session.", refusal.pooler_hint()) from None
            if self.server_version >= TRANSACTION_TIMEOUT:
                cursor.execute("SET transaction_timeout = 0")
        self.autocommit = False


@dataclass(frozen=True, kw_only=True)
class ConnectionInfo:
    """The address of one database, with user and password. Its text form has no password."""

    database: str
    host: str = ""
    port: str = ""
    user: str = ""
    password: str = field(default="", repr=False)
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    session: str = SESSION
    """Options (``-c name=value``) for each session, which override those in `options`."""

    def __str__(self) -> str:
        where = self.host or "the local socket"
        return f"{self.database} on {where}{':' + self.port if self.port else ''}"

    def with_database(self, database: str) -> "ConnectionInfo":
        """The database of that name on the same server."""
        return replace(self, database=database)

    def with_session(self, options: str) -> "ConnectionInfo":
        """The same database, with these options (``-c name=value``) for each session as well."""
        return replace(self, session=f"{self.session} {options}")

    def connect(self, *, autocommit: bool = False) -> Connection:
        """A new connection with the settings of `session`. Raises PreconditionFailed with the server's message."""
        parameters = self.parameters()
        if self.password:
            parameters["password"] = self.password
        try:
            connection: Connection = psycopg2.connect(**parameters, connection_factory=Session)
        except psycopg2.OperationalError as error:
            sqlstate = refusal.find_sqlstate(str(error), parameters)
            message = server_message(error)
            raise Refused(
                f"No connection to the database {self}: {message}.",
                refusal.hint_for(sqlstate, message),
                sqlstate=sqlstate,
            ) from error
        except (psycopg2.ProgrammingError, ValueError) as error:
            raise PreconditionFailed(
                f"The address of the database {self} has a part that PostgreSQL does not accept.",
                "Check the options after ? in the URL.",
            ) from error
        connection.autocommit = autocommit
        return connection

    def parameters(self) -> dict[str, Any]:
        """The address for libpq, without the password."""
        where = {"host": self.host, "port": self.port, "user": self.user, "dbname": self.database}
        return {
            "connect_timeout": CONNECT_TIMEOUT,
            "client_encoding": "UTF8",
            **self.libpq_options(),
            **{name: value for name, value in where.items() if value},
            # Distinguishes our sessions from those of the site (see `databases.end_leftover_sessions`).
            "application_name": APPLICATION,
        }

    def libpq_options(self) -> dict[str, str | int]:
        """The options for libpq, such as ``sslmode``, without those of Django and of pools, and those of `session`."""
        found = {
            name: value
            for name, value in self.options.items()
            if isinstance(value, str | int) and not isinstance(value, bool) and name not in DJANGO_OPTIONS | OWN_OPTIONS
        }
        # libpq reads the variable only where it gets no options.
        own = found.get("options") or os.environ.get("PGOPTIONS", "")
        return {**found, "options": f"{own} {self.session}".strip()}

    def wrapper(self) -> BaseDatabaseWrapper:
        """Django's own, unpooled view of the database."""
        return new_wrapper(
            "django.db.backends.postgresql",
            NAME=self.database,
            HOST=self.host,
            PORT=self.port,
            USER=self.user,
            PASSWORD=self.password,
            OPTIONS={**self.libpq_options(), "connection_factory": Session},
        )


def server_message(error: BaseException) -> str:
    """The server's message, without its severity and the details of the connection."""
    if isinstance(error, psycopg2.Error) and error.diag.message_primary:
        return error.diag.message_primary.rstrip(".")
    # libpq puts "connection to server at …, port … failed:" before the server's own line; hints come after it.
    for line in str(error).splitlines():
        if message := refusal.SEVERITY.sub("", line.rpartition(" failed: ")[2]).strip():
            return message.rstrip(".")
    return "no reason given"


def server_detail(error: BaseException) -> str:
    """The server's DETAIL line, or ''. From the text, because an error from another process has no fields."""
    details = [line for line in str(error).splitlines() if line.startswith("DETAIL:")]
    return details[0].removeprefix("DETAIL:").strip() if details else ""


def from_settings(settings: Mapping[str, Any]) -> ConnectionInfo:
    """The address in an entry of Django's ``DATABASES``."""
    return ConnectionInfo(
        database=str(settings["NAME"]),
        host=str(settings.get("HOST") or ""),
        port=str(settings.get("PORT") or ""),
        user=str(settings.get("USER") or ""),
        password=str(settings.get("PASSWORD") or ""),
        options=dict(settings.get("OPTIONS") or {}),
    )


def parse_url(url: str) -> ConnectionInfo:
    """The address in a URL like ``postgres://user:password@host:5432/name?sslmode=require``.

    Raises PreconditionFailed without repeating the URL, which may hold a password.
    """
    scheme, separator, rest = url.partition("://")
    scheme = scheme.partition("+")[0]
    if not separator or scheme not in {"postgres", "postgresql", "pgsql"}:
        raise PreconditionFailed("The PostgreSQL URL has to start with postgres://.", f"Example: {EXAMPLE}")
    unreadable = PreconditionFailed(
        "The PostgreSQL URL cannot be read.",
        f"In a password write # / ? @ : % as %23 %2F %3F %40 %3A %25. Example: {EXAMPLE}",
    )
    if "%00" in rest:
        raise unreadable
    try:
        settings = dj_database_url.parse(f"{scheme}://{rest}")
    except ValueError as error:
        raise unreadable from error
    if not settings["NAME"]:
        raise PreconditionFailed("The PostgreSQL URL names no database.", f"Example: {EXAMPLE}")
    return from_settings(settings)
