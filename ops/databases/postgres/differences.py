"""Differences between the properties of two databases: the statements that remove them, and what the role may not do.

An administrator's settings and grants are no reason for a restore to fail: each statement runs in a savepoint, and
those that the server refuses are named.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import psycopg2
from msgspec import Struct
from psycopg2 import errors
from psycopg2.extensions import connection as Connection  # noqa: N812
from psycopg2.extensions import cursor as Cursor  # noqa: N812

from ops.databases.postgres.connection import server_message
from ops.databases.postgres.savepoints import savepoint
from ops.errors import PreconditionFailed
from ops.utils.schema import Text

MAX_NAMED = 3
NO_EFFECT = "the role may not"
"""GRANT and REVOKE of a role without the right are warnings in some cases."""


class NotKept(Struct, frozen=True, kw_only=True):
    """A property of the live database that the one which replaces it lacks. `statement` is the SQL that gives it."""

    key: Text
    """As in `Difference`."""
    what: Text
    reason: Text
    statement: Text

    def __str__(self) -> str:
        remedy = f" As an administrator: {self.statement}" if self.statement else ""
        return f"Not kept: {self.what} ({self.reason}).{remedy}"


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A property that one database has and the other lacks, and the `statement` that gives it to that one."""

    key: str
    """The same for differences in both directions: ``owner of table public.rack``."""
    what: str
    statement: str
    owner: bool = False
    """Owners are set before rights are granted, because a new owner takes the rights of the old one."""
    widens: str = ""
    """The right that a role would have without a grant. Only where this is '' may the difference stay."""
    in_template: bool = False
    """Of an object that PostgreSQL or an extension makes in each database: a template can have its rights."""
    reason: str = ""
    """Why no statement can be executed while the database is used, or ''."""


Found = TypeVar("Found")


def remove(
    connection: Connection,
    *,
    read: Callable[[], Found],
    compare: Callable[[Found, str], Sequence[Difference]],
    name: str,
    live: str,
) -> tuple[NotKept, ...]:
    """Execute the statements that remove the differences of the database `name`, which is that of `connection`.

    `compare` takes what was read, and the name that statements have for the database. Returns what remains, with
    statements for the database `live`. Raises PreconditionFailed where it would widen rights.
    """
    reasons: dict[str, str | None] = {}
    found = read()
    with connection.cursor() as cursor:
        while steps := next_steps(compare(found, name), reasons):
            for step in steps:
                reasons[step.statement] = try_statement(cursor, step.statement)
            found = read()
    pairs = [
        (here, there)
        for here, there in zip(compare(found, name), compare(found, live), strict=True)
        if here.reason or reasons[here.statement] is not None
    ]
    not_kept = tuple(
        NotKept(
            key=there.key,
            what=there.what,
            reason=there.reason or reasons[here.statement] or NO_EFFECT,
            statement=there.statement,
        )
        for here, there in pairs
    )
    require_no_wider_rights([here for here, _ in pairs], not_kept)
    return not_kept


def next_steps(differences: Iterable[Difference], tried: Iterable[str]) -> list[Difference]:
    steps = [found for found in differences if not found.reason and found.statement not in tried]
    return [step for step in steps if step.owner] or steps


def try_statement(cursor: Cursor, statement: str) -> str | None:
    """Execute it in a savepoint. Returns the server's reason for refusing it, or ''; None without its column."""
    try:
        with savepoint(cursor):
            cursor.execute(statement)
    except psycopg2.Error as error:
        if cursor.connection.closed:
            raise
        return None if isinstance(error, errors.UndefinedColumn) else server_message(error)
    return ""


def require_no_wider_rights(remaining: Sequence[Difference], not_kept: Sequence[NotKept]) -> None:
    wider = [(left, named) for left, named in zip(remaining, not_kept, strict=True) if left.widens]
    if not wider:
        return
    more = f"; and {len(wider) - MAX_NAMED} more" if len(wider) > MAX_NAMED else ""
    raise PreconditionFailed(
        "The role may not restrict rights as they are restricted in the live database:"
        f" {'; '.join(f'{left.widens} ({named.reason})' for left, named in wider[:MAX_NAMED])}{more}."
        " Nothing was changed.",
        (
            "Run the command as a superuser. Or, as an administrator, in the database template1 (which has to have the"
            " same locale and extensions):"
            if all(left.in_template for left, _ in wider)
            else "Run the command as a superuser, or as a role that may execute:"
        )
        + f" {' '.join(named.statement for _, named in wider)}",
    )
