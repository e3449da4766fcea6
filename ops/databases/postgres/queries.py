"""Short forms of queries."""

import contextlib
from collections.abc import Sequence
from concurrent.futures import Future, wait
from typing import Any

import psycopg2
from psycopg2.extensions import connection as Connection  # noqa: N812
from psycopg2.extensions import cursor as Cursor  # noqa: N812
from psycopg2.sql import Composable

Query = str | Composable
Parameters = Sequence[Any] | None


def select(connection: Connection, query: Query, parameters: Parameters = None) -> list[tuple[Any, ...]]:
    """All rows of `query`."""
    with connection.cursor() as cursor:
        cursor.execute(query, parameters)
        return cursor.fetchall()


def fetch_row(cursor: Cursor, query: Query, parameters: Parameters = None) -> tuple[Any, ...]:
    """The first row of `query`. Raises LookupError without one."""
    cursor.execute(query, parameters)
    row = cursor.fetchone()
    if row is None:
        raise LookupError("The query returned no row.")
    return row


def fetch_value(cursor: Cursor, query: Query, parameters: Parameters = None) -> Any:
    """The first column of the first row of `query`."""
    return fetch_row(cursor, query, parameters)[0]


def fetch_column(cursor: Cursor, query: Query, parameters: Parameters = None) -> list[Any]:
    """The first column of all rows of `query`."""
    cursor.execute(query, parameters)
    return [row[0] for row in cursor.fetchall()]


def cancel_until_done(work: Sequence[Future[Any]], connections: Sequence[Connection]) -> None:
    """Cancel the queries of the threads that do `work` on `connections`, until all of them have ended."""
    while running := [each for each in work if not each.done()]:
        for connection in connections:
            with contextlib.suppress(psycopg2.Error):
                connection.cancel()
        # Between two queries nothing is cancelled.
        wait(running, timeout=0.1)
