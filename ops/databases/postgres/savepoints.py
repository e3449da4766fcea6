"""Statements that may fail without ending their transaction."""

import contextlib
from collections.abc import Iterator

import psycopg2
from psycopg2.extensions import cursor as Cursor  # noqa: N812

NOT_ABOUT_ROWS = ("08", "0A", "25", "26", "28", "40", "42", "53", "55", "57", "58", "F0", "XX")
"""Classes of SQLSTATE: the connection, the statement, resources, or the server itself."""


@contextlib.contextmanager
def savepoint(cursor: Cursor) -> Iterator[None]:
    """Undo what the block did if it raises an error."""
    cursor.execute("SAVEPOINT part")
    try:
        yield
    except BaseException:
        # Of a broken connection, the first error tells more.
        with contextlib.suppress(psycopg2.Error):
            cursor.execute("ROLLBACK TO SAVEPOINT part; RELEASE SAVEPOINT part")
        raise
    cursor.execute("RELEASE SAVEPOINT part")


def is_about_rows(error: psycopg2.Error) -> bool:
    """Whether the server refused a statement because of the rows that it read."""
    return bool(error.pgcode) and not str(error.pgcode).startswith(NOT_ABOUT_ROWS)
