"""Who loads a file that somebody else made: a role that can neither run programs nor read the server's files."""

import contextlib
import hashlib
import secrets
from collections.abc import Iterator
from dataclasses import replace

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import connection as Connection  # noqa: N812

from ops.errors import PreconditionFailed
from ops.postgres.address import Address, server_words
from ops.postgres.queries import fetch_value

PREFIX = "ops_loader_"
POWERFUL = (
    "SELECT rolsuper OR EXISTS (SELECT 1 FROM pg_roles AS other WHERE other.rolname = ANY(%s)"
    " AND pg_has_role(current_user, other.oid, 'MEMBER')) FROM pg_roles WHERE rolname = current_user"
)
POWERS = ["pg_execute_server_program", "pg_read_server_files", "pg_write_server_files"]


def is_powerful(connection: Connection) -> bool:
    """Whether what the role runs can reach beyond its databases."""
    with connection.cursor() as cursor:
        return bool(fetch_value(cursor, POWERFUL, [POWERS]))


def require_lesser(connection: Connection) -> None:
    """Raises PreconditionFailed for a role that should not run the statements of a stranger."""
    if is_powerful(connection):
        raise PreconditionFailed(
            "The role of the database can run programs on the server, and may not make a lesser one to load a file of"
            " unknown origin. Nothing was changed.",
            f"As an administrator: REVOKE {', '.join(POWERS)} FROM the role; or ALTER ROLE … CREATEDB CREATEROLE.",
        )


@contextlib.contextmanager
def lesser_role(scratch: Address) -> Iterator[Address]:
    """The scratch database as a role that owns it and nothing else; afterwards all in it is ours, and the role is gone.

    That is our own role when it can do no harm. Raises PreconditionFailed when there is none that can log in.
    """
    with contextlib.closing(scratch.connect(autocommit=True)) as connection:
        if not is_powerful(connection):
            yield scratch
            return
        stranger = replace(scratch, user=role_name(scratch.database), password=secrets.token_urlsafe(24))
        try:
            make_owner(connection, stranger)
            stranger.connect().close()
        except (psycopg2.Error, PreconditionFailed) as error:
            remove(connection, stranger.user)
            raise PreconditionFailed(
                "A file of unknown origin is loaded by a role that can not run programs, and there is none:"
                f" {server_words(error)}. Nothing was changed.",
                "Let new roles log in with a password (pg_hba.conf: scram-sha-256), or give the site a role of its own"
                " that is no superuser.",
            ) from error
        try:
            yield stranger
        finally:
            remove(connection, stranger.user)


def role_name(database: str) -> str:
    """The role that loads into `database`; always the same, so that one which was left behind can be found."""
    return f"{PREFIX}{hashlib.sha256(database.encode()).hexdigest()[:16]}"


def make_owner(connection: Connection, stranger: Address) -> None:
    role = sql.Identifier(stranger.user)
    with connection.cursor() as cursor:
        cursor.execute(
            sql.SQL("CREATE ROLE {} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION PASSWORD {}").format(
                role, sql.Literal(stranger.password)
            )
        )
        cursor.execute(sql.SQL("ALTER DATABASE {} OWNER TO {}").format(sql.Identifier(stranger.database), role))


def drop_leftover(connection: Connection, database: str) -> None:
    """Drop the role that a killed run left; `database`, into which it loaded, is gone."""
    with contextlib.suppress(psycopg2.Error), connection.cursor() as cursor:
        cursor.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(role_name(database))))


def remove(connection: Connection, name: str) -> None:
    """Take over what the role made, end its sessions and drop it. Nothing happens when the server is gone."""
    role = sql.Identifier(name)
    with contextlib.suppress(psycopg2.Error), connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s", [name])
        cursor.execute(sql.SQL("REASSIGN OWNED BY {} TO CURRENT_USER").format(role))
        cursor.execute(sql.SQL("DROP OWNED BY {}").format(role))
        cursor.execute(sql.SQL("DROP ROLE {}").format(role))
