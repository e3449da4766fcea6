"""Helpers for queries that always return a row."""

from collections.abc import Sequence
from typing import Any

from psycopg2.extensions import cursor as Cursor  # noqa: N812
from psycopg2.sql import Composable


def fetch_row(cursor: Cursor, query: str | Composable, parameters: Sequence[Any] | None = None) -> tuple[Any, ...]:
    """The first row of `query`. Raises LookupError without one."""
    cursor.execute(query, parameters)
    row = cursor.fetchone()
    if row is None:
        raise LookupError("The query returned no row.")
    return row


def fetch_value(cursor: Cursor, query: str | Composable, parameters: Sequence[Any] | None = None) -> Any:
    """The first column of the first row of `query`."""
    return fetch_row(cursor, query, parameters)[0]
