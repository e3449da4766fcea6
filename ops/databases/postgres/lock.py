"""One operation at a time on a database: an advisory lock of the server, which ends with the session.

While it is held, its session asks the server regularly whether it answers (`ops.databases.postgres.silence`).
"""

import contextlib
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import psycopg2
from psycopg2.extensions import connection as Connection  # noqa: N812

from ops.databases.postgres import silence
from ops.databases.postgres.connection import (
    APPLICATION,
    CONNECT_TIMEOUT,
    RUN_AGAIN,
    ConnectionInfo,
    OtherServer,
    Session,
    SessionCursor,
    server_message,
)
from ops.databases.postgres.databases import maintenance_connection
from ops.databases.postgres.queries import fetch_value
from ops.databases.postgres.refusal import Refused
from ops.databases.postgres.writable import require_writable
from ops.errors import AlreadyRunning, OpsError, PreconditionFailed

LABEL = f"{APPLICATION}: "
"""The beginning of the application_name of a session that holds the lock."""

RETRY_INTERVAL = 0.5
"""Seconds."""
NOT_DONE = (
    "The server changed at the cut-over, and the server that answers now does not have the new database. Nothing was"
    " changed."
)
NEXT_RUN_FINDS_OUT = "The next run finds out: manage.py rebuild_backup_index"
LONGEST_FAILOVER = 60.0
"""Seconds that a run waits for an answer after its cut-over."""
RUN, CUT_OVER = "ops:{}", "ops cut-over:{}"
"""The keys of a run's lock on a database, and of the lock that a cut-over holds until its COMMIT is done or undone."""
HOLDS = (
    "locktype = 'advisory' AND granted AND objsubid = 1"
    " AND (classid::bigint << 32 | objid::bigint) = hashtextextended(%s, 0)"
)
"""The condition for a row of pg_locks."""


class OutcomeUnknown(OpsError):
    """The session ended at the COMMIT of a swap. Only the server knows whether the swap was done."""

    @classmethod
    def because(cls, reason: str, hint: str = "") -> "OutcomeUnknown":
        lost = f"The connection to the server was lost at the cut-over ({reason})."
        return cls(f"{lost} It is not known whether the new database is live.", hint or NEXT_RUN_FINDS_OUT)


class LockLost(OpsError):
    """The session that holds the lock of a database has ended."""


@contextlib.contextmanager
def naming_loss(connection: Session, database: str) -> Iterator[None]:
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
def locked(connection: Session, database: str, label: str = "") -> Iterator[None]:
    """Hold `database`; `label` names the holder. Raises AlreadyRunning with what is known of the holder.

    If the session ends, or its server does not answer, all that waits for that server is ended (`Session.server`).
    """
    key = RUN.format(database)
    try:
        with silence.answered_within(silence.SILENCE, connection):
            take(connection, database, key, label)
    except psycopg2.Error as error:
        if not connection.closed:
            raise
        lost = f"The connection to the server of the database {database} was lost: {server_message(error)}."
        raise PreconditionFailed(f"{lost} Nothing was changed.", RUN_AGAIN) from error
    connection.cursor_class = ExclusiveCursor
    watch = silence.Watch(Inquiry(connection).ask, connection.server.waiting)
    watch.start()
    try:
        yield
    finally:
        watch.stop()
        if not connection.closed:
            with (
                contextlib.suppress(psycopg2.Error),
                silence.answered_within(silence.SILENCE, connection),
                connection.cursor() as cursor,
            ):
                cursor.execute("SELECT pg_advisory_unlock(hashtextextended(%s, 0))", [key])


def take(connection: Session, database: str, key: str, label: str) -> None:
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


class ExclusiveCursor(SessionCursor):
    """A cursor of a session that two threads use: the one of the run, and the one that watches its lock."""

    def execute(self, *arguments: Any, **options: Any) -> None:
        with self.connection.in_use:
            super().execute(*arguments, **options)


class Inquiry:
    """Asks the server of the `session` that holds a lock whether it answers.

    That session is asked, which also keeps proxies from ending it for its silence; while it executes a statement, a new
    one.
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        self.silent = 0.0
        """The seconds in which no new session could be opened."""

    def ask(self) -> str:
        """Why the server is given up, or ''."""
        if self.session.closed:
            return ""  # the thread that uses it has had the error
        if not self.session.in_use.acquire(blocking=False):
            return self.ask_in_another()
        try:
            with silence.answered_within(silence.SILENCE, self.session), self.session.cursor() as cursor:
                cursor.execute("SELECT 1")
        except psycopg2.Error as error:
            return server_message(error)
        finally:
            self.session.in_use.release()
        self.silent = 0.0
        return ""

    def ask_in_another(self) -> str:
        began = time.monotonic()
        try:
            self.session.address.on_server_of(self.session).connect().close()
        except OtherServer as error:
            return error.message.rstrip(".")
        except (PreconditionFailed, psycopg2.Error) as error:
            if isinstance(error, Refused) and not error.sqlstate:  # not even a refusal of the server
                self.silent += silence.INTERVAL + min(time.monotonic() - began, CONNECT_TIMEOUT)
                return f"the server did not answer for {self.silent:.0f} s" if self.silent > silence.SILENCE else ""
        self.silent = 0.0
        return ""


def is_held(cursor: Any, database: str) -> bool:
    """Whether a run holds `database`. `cursor` is one of psycopg2 or of Django."""
    return bool(fetch_value(cursor, f"SELECT EXISTS (SELECT FROM pg_locks WHERE {HOLDS})", [RUN.format(database)]))


# --- A cut-over, and a COMMIT of one whose answer was lost ------------------------------------------------------------
def announce_commit(cursor: Any, database: str) -> None:
    """Call it in the transaction of a cut-over of `database`, before its COMMIT, so that others can wait for that."""
    cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [CUT_OVER.format(database)])


def commit(connection: Session, database: str) -> None:
    """Commit a cut-over of `database`. Raises OutcomeUnknown if the session ends before the server has answered.

    It is ended if there is no answer in time.
    """
    with connection.cursor() as cursor:
        announce_commit(cursor, database)
    try:
        with silence.answered_within(silence.SILENCE, connection):
            connection.commit()
    except psycopg2.Error as error:
        if not connection.closed:
            raise
        raise OutcomeUnknown.because(server_message(error)) from error


@contextlib.contextmanager
def relocked(address: ConnectionInfo, label: str, *, within: float) -> Iterator[Session]:
    """Hold the database at `address` again after the session that held it was lost, on the server that takes writes.

    Waits up to `within` seconds for such a server, and until the lost session has ended there. Raises OutcomeUnknown.
    """

    @contextlib.contextmanager
    def connect() -> Iterator[Session]:
        with maintenance_connection(address) as connection, locked(connection, address.database, label):
            yield connection

    with after_lost_commit(connect, address.database, within=within) as connection:
        yield connection


@contextlib.contextmanager
def after_lost_commit(
    connect: Callable[[], AbstractContextManager[Session]], database: str, *, within: float, hint: str = ""
) -> Iterator[Session]:
    """A session in autocommit mode on the server that takes writes, after the lost COMMIT is done or undone there.

    `connect` gives a session of the database in which the cut-over was committed. Waits up to `within` seconds for such
    a server, and for the lost session on it: its COMMIT may wait for a standby. Raises OutcomeUnknown with `hint`.
    """
    deadline = time.monotonic() + within
    with contextlib.ExitStack() as stack:
        while True:
            try:
                with contextlib.ExitStack() as attempt:
                    connection = attempt.enter_context(connect())
                    require_writable(connection, database)
                    wait_for_commit(connection, database, within=deadline - time.monotonic())
                    stack.enter_context(attempt.pop_all())
                break
            except (OpsError, psycopg2.Error) as error:
                if time.monotonic() > deadline:
                    reason = f"no server has taken writes for {within:g} s: {explain(error)}"
                    raise OutcomeUnknown.because(reason, hint) from error
                time.sleep(RETRY_INTERVAL)
        yield connection


def wait_for_commit(connection: Session, database: str, *, within: float) -> None:
    """Wait until no cut-over of `database` is under way. Raises LockNotAvailable after `within` seconds."""
    timeout = f"{max(1, round(within * 1000))}ms"
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('lock_timeout', %s, false)", [timeout])
        cursor.execute("SELECT pg_advisory_xact_lock_shared(hashtextextended(%s, 0))", [CUT_OVER.format(database)])
        cursor.execute("SET lock_timeout = 0")


def explain(error: Exception) -> str:
    return error.message.rstrip(".") if isinstance(error, OpsError) else server_message(error)


def read_holder(connection: Connection, key: str) -> tuple[str, str]:
    """The label of the holder, and its session in parentheses; each is empty if it is not known."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT activity.pid, application_name,"
            " to_char(activity.backend_start AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI')"
            f" FROM pg_locks JOIN pg_stat_activity AS activity USING (pid) WHERE {HOLDS}",
            [key],
        )
        row = cursor.fetchone()
    if not row:
        return "", ""
    process, name, since = row
    label = name.removeprefix(LABEL) if name.startswith(LABEL) else ""
    # Only some roles may see when another session began.
    return label, f" (server process {process}{f', since {since} UTC' if since else ''})"
