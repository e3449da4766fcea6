"""Which page explains a failure of the database.

Without imports of psycopg2: a site on SQLite does not load it. Its SQLSTATEs and class names decide.
"""

from collections.abc import Iterator

from django.db import DatabaseError, InterfaceError, OperationalError

from homerack.web.error_texts import (
    COMMIT_UNKNOWN,
    CONNECTION_LOST,
    CONNECTIONS_IN_USE,
    DATABASE_FAILED,
    DATABASE_LOCKED,
    NO_ANSWER,
    NO_WRITABLE_SERVER,
    QUERY_CANCELLED,
    READ_ONLY,
    UNREACHABLE,
    ErrorPage,
)
from ops.databases.postgres import libpq_words

BY_SQLSTATE = {"25006": READ_ONLY, "57014": QUERY_CANCELLED, "57P01": CONNECTION_LOST, "57P02": CONNECTION_LOST}
BY_CLASS = {"CommitUnknown": COMMIT_UNKNOWN, "NoAnswer": NO_ANSWER, "PoolExhausted": CONNECTIONS_IN_USE}
BY_TEXT = {
    "database table is locked": DATABASE_LOCKED,
    "locking protocol": DATABASE_LOCKED,
    "database is locked": DATABASE_LOCKED,
    libpq_words.CLOSED_BY_SERVER: CONNECTION_LOST,
    "connection already closed": CONNECTION_LOST,
    "SSL connection has been closed": CONNECTION_LOST,
    "SSL SYSCALL error": CONNECTION_LOST,
    libpq_words.NOTHING_RECEIVED: CONNECTION_LOST,
    "could not send data to server": CONNECTION_LOST,
    **dict.fromkeys(libpq_words.NOT_WRITABLE, NO_WRITABLE_SERVER),
    "connection to server": UNREACHABLE,
    libpq_words.NAME_NOT_RESOLVED: UNREACHABLE,
}
"""SQLite's text, and those of libpq and psycopg2, which are in English."""


def page_of(error: BaseException | None) -> ErrorPage | None:
    """The page for a database that failed; None for another error.

    The first failure counts: later ones, such as "current transaction is aborted", follow from it.
    """
    pages = [page for fault in causes(error) if (page := _page_of(fault))]
    return next((page for page in pages if page is COMMIT_UNKNOWN), pages[-1] if pages else None)


def causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _page_of(error: BaseException) -> ErrorPage | None:
    known = BY_SQLSTATE.get(getattr(error, "pgcode", None) or "") or BY_CLASS.get(type(error).__name__)
    if known or not isinstance(error, DatabaseError | InterfaceError):
        return known
    cause = error.__cause__
    if cause is not None and (known := _page_of(cause)):
        return known
    text = str(error)
    known = next((page for part, page in BY_TEXT.items() if part in text), None)
    return known or (DATABASE_FAILED if isinstance(error, OperationalError | InterfaceError) else None)
