"""Rename databases in one transaction. Properties stay with the name."""

import contextlib
import threading
from collections.abc import Iterator, Mapping, Sequence

import psycopg2
from psycopg2 import errors, sql
from psycopg2.extensions import connection as Connection  # noqa: N812
from psycopg2.extensions import cursor as Cursor  # noqa: N812

from ops.databases.postgres import lock
from ops.databases.postgres.connection import ConnectionInfo, Session, server_message
from ops.databases.postgres.databases import maintenance_connection
from ops.databases.postgres.properties import DatabaseProperties
from ops.databases.postgres.queries import fetch_column
from ops.errors import OpsError, PreconditionFailed
from ops.utils.formatting import join_names

SWAP_ATTEMPTS = 2
"""Nobody can connect during an attempt, and one that fails takes 5 s."""
END_INTERVAL = 0.05
"""Seconds."""
END_SESSIONS = (
    # Autovacuum workers belong to no role: RENAME ends them itself, and an ordinary role may not. It does not end other
    # workers (of a subscription, of an extension), and waits for them.
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE datname = ANY(%s) AND pid <> pg_backend_pid() AND usesysid IS NOT NULL"
)
OTHER_ROLES = (
    "SELECT DISTINCT usename FROM pg_stat_activity WHERE datname = ANY(%s) AND usename <> current_user ORDER BY 1"
)
SUBSCRIPTIONS = (
    "SELECT format('ALTER SUBSCRIPTION %%I DISABLE;', subname) FROM pg_subscription JOIN pg_database AS d"
    " ON d.oid = subdbid WHERE datname = ANY(%s) AND subenabled ORDER BY 1"
)


def rename_databases(
    connection: Session,
    address: ConnectionInfo,
    *,
    renames: Sequence[tuple[str, str]],
    comments: Mapping[str, str],
    live: str,
    description: DatabaseProperties | None,
) -> None:
    """Rename databases in one transaction, each (from, to) in turn.

    `live` gets comment and limits of `description`; `keep_properties` has given it the others already.
    `connection` is to another database of the server at `address`, and in autocommit mode. `comments` are by the new
    names. Without `description` there was no live database before. Sessions of all of them are ended. A session that is
    being opened waits for the transaction and gets an error that is worth a retry (SQLSTATE 3D000, "just been dropped
    or renamed"). Raises OpsError; then, and when this process is killed, all databases keep their names. So they do
    after an error of psycopg2, which is raised if the session has ended. OutcomeUnknown is the exception.
    """
    replaced = [live, *(before for before, _ in renames)]
    for attempt in range(SWAP_ATTEMPTS):
        try:
            with transaction(connection, live), connection.cursor() as cursor:
                cursor.execute("SET LOCAL lock_timeout = '10s'")
                with ending_new_sessions(address, replaced):
                    end_sessions(cursor, replaced)
                    rename_all(cursor, renames)
                comment_on(cursor, {live: description.comment if description else "", **comments})
                if description:
                    copy_limits(cursor, live, description, name_after(live, renames))
        except errors.ObjectInUse as error:
            # A session of another role, or a prepared transaction.
            if attempt == SWAP_ATTEMPTS - 1:
                raise PreconditionFailed(
                    f"Programs kept connecting to {live}: {server_message(error)}.",
                    "Stop them and run the command again.",
                ) from error
        except psycopg2.Error as error:
            if connection.closed:
                raise
            raise OpsError(f"The new database could not be renamed to {live}: {server_message(error)}.") from error
        else:
            return


def rename_all(cursor: Cursor, renames: Sequence[tuple[str, str]]) -> None:
    for before, after in renames:
        names = sql.Identifier(before), sql.Identifier(after)
        cursor.execute(sql.SQL("ALTER DATABASE {} RENAME TO {}").format(*names))


def name_after(name: str, renames: Sequence[tuple[str, str]]) -> str:
    """The name that the database `name` has after `renames`."""
    for before, after in renames:
        name = after if name == before else name
    return name


def copy_limits(cursor: Cursor, live: str, description: DatabaseProperties, previous: str) -> None:
    """Connection limit and mark of a template, which prevents that a database is dropped: `previous` loses it."""
    if description.is_template:
        cursor.execute(sql.SQL("ALTER DATABASE {} IS_TEMPLATE false").format(sql.Identifier(previous)))
    cursor.execute(
        sql.SQL("ALTER DATABASE {} CONNECTION LIMIT {} IS_TEMPLATE {}").format(
            *(sql.Identifier(live), sql.Literal(description.connection_limit), sql.Literal(description.is_template))
        )
    )


def comment_on(cursor: Cursor, comments: Mapping[str, str]) -> None:
    for name, text in comments.items():
        cursor.execute(sql.SQL("COMMENT ON DATABASE {} IS {}").format(sql.Identifier(name), sql.Literal(text or None)))


def comment(connection: Connection, name: str, text: str) -> None:
    """Set the comment of the database `name`; '' removes it."""
    with connection.cursor() as cursor:
        comment_on(cursor, {name: text})


def end_sessions(cursor: Cursor, databases: Sequence[str]) -> None:
    """End all sessions of the databases, the live one first. Raises PreconditionFailed where the role may not."""
    try:
        cursor.execute(END_SESSIONS, [list(databases)])
    except errors.InsufficientPrivilege as error:
        cursor.connection.rollback()
        roles, subscriptions = (
            fetch_column(cursor, query, [list(databases)]) for query in (OTHER_ROLES, SUBSCRIPTIONS)
        )
        raise PreconditionFailed(
            f"Sessions of other roles are connected to {databases[0]} ({join_names(roles)}), and this role may not end"
            " them.",
            "Stop the programs that use the database, or run the command as their role."
            + "".join(f" As an administrator, in the database: {statement}" for statement in subscriptions),
        ) from error


@contextlib.contextmanager
def ending_new_sessions(address: ConnectionInfo, databases: Sequence[str]) -> Iterator[None]:
    """While the block renames the databases, end the sessions that others open, from a session of its own.

    A program may connect between the end of the others and the lock that RENAME takes. RENAME then waits 5 s for it to
    leave (CountOtherDBBackends in PostgreSQL's procarray.c), and all who connect meanwhile wait for the lock. The block
    ends before the transaction does: the new databases have the same names.
    """
    renamed = threading.Event()

    def end_new_sessions() -> None:
        # Without the right, RENAME fails, and `end_sessions` tells why in the next attempt.
        with contextlib.suppress(psycopg2.Error), connection.cursor() as cursor:
            while not renamed.wait(END_INTERVAL):
                cursor.execute(END_SESSIONS, [list(databases)])

    with maintenance_connection(address) as connection:
        thread = threading.Thread(target=end_new_sessions, name="sessions", daemon=True)
        thread.start()
        try:
            yield
        finally:
            renamed.set()
            thread.join()


@contextlib.contextmanager
def transaction(connection: Session, database: str) -> Iterator[None]:
    """The transaction of a cut-over of `database`, on a connection that is otherwise in autocommit mode.

    No other thread uses it meanwhile.
    """
    with connection.in_use:
        connection.autocommit = False
        try:
            yield
            lock.commit(connection, database)
        except BaseException:
            if not connection.closed:
                connection.rollback()
            raise
        finally:
            if not connection.closed:
                connection.autocommit = True
