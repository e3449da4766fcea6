"""The address of a PostgreSQL database, and connections outside of Django's."""

import contextlib
import datetime as dt
import os
import socket
import threading
import weakref
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import psycopg2
from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg2 import errors
from psycopg2.extensions import connection as Connection  # noqa: N812
from psycopg2.extensions import cursor as Cursor  # noqa: N812

from ops.databases.override import new_wrapper
from ops.databases.postgres import refusal, silence, start, url
from ops.databases.postgres.refusal import Refused
from ops.databases.postgres.sqlstate import HOST_FAILED
from ops.databases.postgres.url import EXAMPLE, describe_hosts
from ops.errors import OpsError, PreconditionFailed

APPLICATION = "ops"
DJANGO_OPTIONS = frozenset({"assume_role", "isolation_level", "server_side_binding", "service_file", "pool"})
OWN_OPTIONS = frozenset({"client_encoding", "connection_factory", "cursor_factory"})
"""Options of libpq and psycopg2 that our connections set themselves."""
CONNECT_TIMEOUT = 10
"""Seconds, also for the first answer to a new session."""
CHOOSE_A_HOST = {"target_session_attrs": "PGTARGETSESSIONATTRS", "load_balance_hosts": "PGLOADBALANCEHOSTS"}
"""Options by which libpq chooses among several hosts, and its variables for them."""
RUN_AGAIN = "After a failover the database is on another server. Run the command again."
ENDED = ("08", "57P")
"""How the SQLSTATEs of ended and refused connections begin."""
TRANSACTION_TIMEOUT = 170000
"""The first version of PostgreSQL with the setting; an older one refuses a connection with its name."""
ANSWERED = "ops.session"
"""A setting that no server has: a session without it was not opened with our options."""
KEEPALIVES = " ".join(
    f"-c tcp_{name}={url.KEEPALIVES[name]}" for name in ("keepalives_idle", "keepalives_interval", "keepalives_count")
)
"""For the server: a machine that is gone keeps the lock no longer. Not its limit for data that nobody takes: a program
that writes to a slow disk, or that was stopped, reads again later."""
SESSION = (
    f"-c {ANSWERED}=on -c timezone=UTC -c datestyle=ISO -c intervalstyle=postgres -c standard_conforming_strings=on"
    " -c array_nulls=on -c quote_all_identifiers=off -c statement_timeout=0 -c lock_timeout=0"
    f" -c idle_in_transaction_session_timeout=0 -c idle_session_timeout=0 {KEEPALIVES}"
)
"""In all our sessions, and in those of pg_dump, values have the same text, and no statement is ended for the time it
takes, whatever the defaults of role, database and server are. A database that is read-only by default stays so: a full
disk may be the reason."""
PROJECT_SESSION = (
    f"-c {ANSWERED}=on -c statement_timeout=0 -c lock_timeout=0 -c idle_in_transaction_session_timeout=0"
    " -c idle_session_timeout=0"
)
"""In sessions that show how the project will read its values: with the settings of role and database."""


class OtherServer(OpsError):
    """A connection of an operation reached another server than the first one."""


@dataclass(frozen=True, kw_only=True)
class Server:
    """The server that a session has reached; `started` distinguishes it from all others of a cluster."""

    host: str
    port: str
    started: dt.datetime | None
    """None where the role may not ask for it."""
    waiting: silence.Waiting = field(default_factory=silence.Waiting, compare=False, repr=False)
    """What waits for it: sessions that belong together have one `Server`."""

    def __str__(self) -> str:
        return describe_hosts(self.host, self.port)


class SessionCursor(Cursor):
    """A cursor whose statements raise NoAnswer where their session was ended because of its server."""

    connection: "Session"

    def execute(self, *arguments: Any, **options: Any) -> None:
        with self.connection.naming_end():
            super().execute(*arguments, **options)

    def executemany(self, *arguments: Any, **options: Any) -> None:
        with self.connection.naming_end():
            super().executemany(*arguments, **options)

    def copy_expert(self, *arguments: Any, **options: Any) -> None:
        with self.connection.naming_end():
            super().copy_expert(*arguments, **options)


class Session(Connection):
    """A session of the server itself, with the settings it was opened with. Raises PreconditionFailed behind a pooler.

    A pooler may be told to ignore the options of its clients (``ignore_startup_parameters`` of PgBouncer). The id of
    the backend tells nothing: proxies that pool nothing answer with ids of their own (Neon). Raises OtherServer unless
    it is on the `expected` one: a proxy or a name in DNS may lead to another after a failover.
    """

    address: "ConnectionInfo"
    """What it was opened with."""
    cursor_class = SessionCursor
    """Not `cursor_factory`, which Django sets."""

    def __init__(self, dsn: str, *, expected: Server | None = None, **options: Any) -> None:
        super().__init__(dsn, **options)
        # Of its own, because libpq closes its socket as soon as it finds the session lost. By then another file may
        # have that number.
        self._socket = socket.socket(fileno=os.dup(self.fileno()))
        self._closing = weakref.finalize(self, self._socket.close)
        self._socket_lock = threading.Lock()
        self.in_use = threading.RLock()
        """Held by a thread for the statements between which no other thread may execute one (`lock.locked`)."""
        self.server = expected or Server(host=self.info.host or "", port=str(self.info.port), started=None)
        with silence.answered_within(CONNECT_TIMEOUT, self):
            self.server = self.begin(expected)
        self.server.waiting.add(self)

    def begin(self, expected: Server | None) -> Server:
        self.autocommit = True
        with self.cursor() as cursor:
            try:
                cursor.execute(f"SHOW {ANSWERED}; SELECT pg_catalog.pg_postmaster_start_time()")
                (started,) = cursor.fetchone()
            except errors.InsufficientPrivilege:
                started = None
            except errors.UndefinedObject:
                message = f"No connection to the database {self.info.dbname} itself: a pooler answered, which ignores"
                self.close()
                raise PreconditionFailed(f"{message} the settings of a session.", refusal.pooler_hint()) from None
            if self.server_version >= TRANSACTION_TIMEOUT:
                cursor.execute("SET transaction_timeout = 0")
        if expected and started != expected.started:
            self.close()
            raise OtherServer(
                f"The operation began on the server {expected}, and another server answers now, or the same one after a"
                " restart.",
                RUN_AGAIN,
            )
        self.autocommit = False
        return expected or replace(self.server, started=started)

    @contextlib.contextmanager
    def naming_end(self) -> Iterator[None]:
        """Raise errors of the block as NoAnswer if this process has ended the session because of its server."""
        try:
            yield
        except psycopg2.Error as error:
            if self.closed and self.server.waiting.reason:
                raise silence.NoAnswer(self.server.waiting.reason) from error
            raise

    def cursor(self, *arguments: Any, **options: Any) -> Any:
        with self.naming_end():
            return super().cursor(*arguments, **{"cursor_factory": self.cursor_class, **options})

    def commit(self) -> None:
        with self.naming_end():
            super().commit()

    def rollback(self) -> None:
        with self.naming_end():
            super().rollback()

    def close(self) -> None:
        super().close()
        with self._socket_lock:
            self._closing()

    def shut_down(self) -> None:
        """End the wait of other threads for the server. They, and statements after this, get a psycopg2.Error."""
        with self._socket_lock, contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)


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
    server: Server | None = None
    """The only server that is connected to, where sessions belong together (`on_server_of`)."""

    def __str__(self) -> str:
        return f"{self.database} on {describe_hosts(self.host or str(self.options.get('hostaddr', '')), self.port)}"

    def with_database(self, database: str) -> "ConnectionInfo":
        """The database of that name on the same server."""
        return replace(self, database=database)

    def with_session(self, options: str) -> "ConnectionInfo":
        """The same database, with these options (``-c name=value``) for each session as well."""
        return replace(self, session=f"{self.session} {options}")

    def on_server_of(self, session: Session) -> "ConnectionInfo":
        """The same database, whose connections all go to the server of `session`, or raise OtherServer or Refused.

        With several hosts, each connection goes to the first host that takes writes, which may change meanwhile.
        """
        return replace(self, server=session.server)

    def on_any_server(self) -> "ConnectionInfo":
        """The same database, on whichever server takes writes."""
        return replace(self, server=None)

    def connect(self, *, autocommit: bool = False) -> Session:
        """A new connection with the settings of `session`.

        At the start of an operation it waits for a server, as `start` says. Raises PreconditionFailed with the server's
        message, and OtherServer.
        """
        connection = self._connect() if self.server else start.connect_in_time(self._connect, str(self))
        connection.autocommit = autocommit
        return connection

    def _connect(self) -> Session:
        began = f" on the server {self.server}, where this operation began" if self.server else ""
        refused = f"No connection to the database {self}{began if self.has_several_hosts else ''}"
        if self.waiting and self.waiting.reason:
            raise Refused(f"{refused}: {self.waiting.reason}.", RUN_AGAIN, had_answered=True)
        parameters = self.parameters()
        if self.password:
            parameters["password"] = self.password
        try:
            connection: Session = psycopg2.connect(**parameters, connection_factory=self.session_class)
        except psycopg2.OperationalError as error:
            sqlstate, is_temporary = refusal.explain(str(error), parameters)
            message = "; ".join(host_messages(error)) if self.has_several_hosts else server_message(error)
            raise Refused(
                f"{refused}: {message}.",
                refusal.hint_for(sqlstate, message),
                sqlstate=sqlstate,
                had_answered=bool(self.server),
                is_temporary=is_temporary or isinstance(error, silence.NoAnswer),
            ) from error
        except (psycopg2.ProgrammingError, ValueError) as error:
            raise PreconditionFailed(
                f"The address of the database {self} has a part that PostgreSQL does not accept.",
                "Check the options after ? in the URL.",
            ) from error
        connection.address = self
        return connection

    @property
    def waiting(self) -> silence.Waiting | None:
        """What waits for `server`."""
        return self.server.waiting if self.server else None

    @property
    def session_class(self) -> Any:
        return partial(Session, expected=self.server)

    @property
    def has_several_hosts(self) -> bool:
        named = self.host or self.options.get("hostaddr") or os.environ.get("PGHOST") or os.environ.get("PGHOSTADDR")
        return "," in str(named or "")

    def parameters(self) -> dict[str, Any]:
        """The address for libpq, without the password."""
        host, port = self.host_and_port
        where = {"host": host, "port": port, "user": self.user, "dbname": self.database}
        return {
            "client_encoding": "UTF8",
            **self.libpq_options(),
            **{name: value for name, value in where.items() if value},
            # Distinguishes our sessions from those of the site (see `databases.end_leftover_sessions`).
            "application_name": APPLICATION,
        }

    @property
    def host_and_port(self) -> tuple[str, str]:
        """Those of `server`, or all that may be tried."""
        return (self.server.host, self.server.port) if self.server else (self.host, self.port)

    def libpq_options(self) -> dict[str, str | int]:
        """The options for libpq, such as ``sslmode``, without those of Django and of pools, and those of `session`."""
        found = {
            name: value
            for name, value in self.options.items()
            if isinstance(value, str | int) and not isinstance(value, bool) and name not in DJANGO_OPTIONS | OWN_OPTIONS
        }
        # libpq reads the variable only where it gets no options.
        own = found.get("options") or os.environ.get("PGOPTIONS", "")
        limits = {"connect_timeout": CONNECT_TIMEOUT, **url.KEEPALIVES}
        return {**limits, **self.choose_host(found), "options": f"{own} {self.session}".strip()}

    def choose_host(self, options: Mapping[str, str | int]) -> dict[str, str | int]:
        """`options` by which libpq connects to `server`, or to the one of several hosts that takes writes."""
        target = options.get("target_session_attrs") or os.environ.get(CHOOSE_A_HOST["target_session_attrs"])
        if not (target or self.has_several_hosts):
            return dict(options)
        if self.server:
            others = {name: value for name, value in options.items() if name not in CHOOSE_A_HOST}
            addresses = str(options.get("hostaddr") or os.environ.get("PGHOSTADDR") or "")
            return {**others, "target_session_attrs": url.ANY, **self.address_of_server(addresses)}
        return {**options, "target_session_attrs": target or url.READ_WRITE}

    def address_of_server(self, addresses: str) -> dict[str, str]:
        """The one of `addresses`, a list as long as that of the hosts, that belongs to `server`."""
        if not (addresses and self.server):
            return {}
        hosts = url.pair_hosts(self.host or addresses, self.port)
        for (host, port), address in zip(hosts, addresses.split(","), strict=False):
            if (host, port or url.DEFAULT_PORT) == (self.server.host, self.server.port):
                return {"hostaddr": address}
        return {"hostaddr": addresses}

    def wrapper(self) -> BaseDatabaseWrapper:
        """Django's own, unpooled view of the database."""
        host, port = self.host_and_port
        return new_wrapper(
            "django.db.backends.postgresql",
            NAME=self.database,
            HOST=host,
            PORT=port,
            USER=self.user,
            PASSWORD=self.password,
            OPTIONS={**self.libpq_options(), "connection_factory": self.session_class},
        )


def host_messages(error: BaseException) -> list[str]:
    """Of several hosts, what each answered: ``db1:5432: Connection refused``."""
    found = []
    # libpq's hints are indented.
    for line in filter(None, str(error).splitlines()):
        if match := HOST_FAILED.match(line):
            where = match["socket"] or describe_hosts(match["host"], match["port"])
            found.append(f"{where}: {refusal.SEVERITY.sub('', match['reason']).strip().rstrip('.')}")
        elif not line[0].isspace() and not refusal.SEVERITY.match(line):
            found.append(line.strip().rstrip("."))
    return found or [server_message(error)]


def server_message(error: BaseException) -> str:
    """The server's message, without its severity and the details of the connection."""
    if isinstance(error, psycopg2.Error) and error.diag.message_primary:
        return error.diag.message_primary.rstrip(".")
    # libpq puts "connection to server at …, port … failed:" before the server's own line; hints come after it.
    for line in str(error).splitlines():
        if message := refusal.SEVERITY.sub("", line.rpartition(" failed: ")[2]).strip():
            return message.rstrip(".")
    return "no reason given"


def is_lost(error: psycopg2.Error) -> bool:
    """Whether the error is that of a connection, and not of a statement: the server has ended it, or is not there."""
    is_of_connection = isinstance(error, psycopg2.OperationalError | psycopg2.InterfaceError)
    return is_of_connection and is_ended(error.pgcode or "")


def is_ended(sqlstate: str) -> bool:
    """Whether it is that of a connection which the server ends or refuses, or '', which libpq's own errors have."""
    return not sqlstate or sqlstate.startswith(ENDED)


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


def parse_url(text: str) -> ConnectionInfo:
    """The address in a URL like ``postgres://user:password@host:5432/name?sslmode=require``, also of several hosts.

    Raises PreconditionFailed without repeating the URL, which may hold a password.
    """
    try:
        return from_settings(url.parse(text))
    except url.InvalidUrl as error:
        raise PreconditionFailed(f"The PostgreSQL URL {error}.", f"Example: {EXAMPLE}") from error
