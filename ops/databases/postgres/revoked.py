"""Functions of PostgreSQL that an administrator has revoked from PUBLIC, and that operations need."""

import contextlib
import re

import psycopg2

from ops.databases.postgres.connection import ConnectionInfo, server_message
from ops.databases.postgres.queries import fetch_row
from ops.errors import PreconditionFailed

REVOKED = """
SELECT quote_ident(current_user), array(
  SELECT p.oid::regprocedure::text FROM pg_proc AS p
  WHERE p.oid < 16384 AND NOT has_function_privilege(p.oid, 'EXECUTE')
    AND NOT EXISTS (SELECT 1 FROM pg_init_privs WHERE classoid = 'pg_proc'::regclass AND objoid = p.oid))
"""
"""16384 is the first oid that initdb does not give; it has revoked some functions itself."""


def how_to_grant(address: ConnectionInfo, message: str) -> str:
    """The statement that allows the functions which `message` names, or ''."""
    with contextlib.suppress(PreconditionFailed, psycopg2.Error), contextlib.closing(address.connect()) as connection:
        with connection.cursor() as cursor:
            role, revoked = fetch_row(cursor, REVOKED)
        if functions := [each for each in revoked if re.search(rf"\b{re.escape(each.partition('(')[0])}\b", message)]:
            statement = f"GRANT EXECUTE ON FUNCTION {', '.join(functions)} TO {role};"
            return f"As an administrator, in the database {address.database}: {statement}"
    return ""


def unreadable(address: ConnectionInfo, error: psycopg2.Error) -> PreconditionFailed:
    """The error of a database of which something cannot be read."""
    message = server_message(error)
    return PreconditionFailed(f"The database {address} cannot be read: {message}.", how_to_grant(address, message))
