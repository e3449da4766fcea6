"""The comment that identifies the previous database or schema."""

import contextlib
import datetime as dt
import json
from collections.abc import Iterable
from typing import Any

from psycopg2.extensions import cursor as Cursor  # noqa: N812

from ops.backups.engines.base import PreviousDatabase
from ops.backups.engines.postgresql.table_digests import UNDO_SCHEMA
from ops.databases.postgres.databases import COMMENT, suffixed_name
from ops.databases.postgres.differences import NotKept
from ops.databases.postgres.queries import fetch_column
from ops.errors import PreconditionFailed
from ops.utils.identifiers import quoted

PREVIOUS = "_ops_undo"
"""The suffix that the live database's name gets as that of the previous database."""
READ_ONLY = "-c default_transaction_read_only=on"
"""An option for sessions that only read the previous database."""
SCHEMA = """
SELECT coalesce(obj_description(n.oid, 'pg_namespace'), ''),
       (SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint FROM pg_class AS c
        WHERE relkind IN ('r', 'm') AND relnamespace = n.oid)
FROM pg_namespace AS n WHERE nspname = %s
"""


def format_comment(
    *, run: str, backup: str, comment: str = "", not_kept: Iterable[NotKept] = (), backup_due: bool = False
) -> str:
    """The comment as JSON; `comment` is the earlier comment of the database.

    `not_kept` are the properties that this database has and the one which replaced it lacks. `backup_due` is as in
    `PreviousDatabase`.
    """
    when = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
    keys = sorted({left.key for left in not_kept})
    content = {"ops": "undo", "when": when, "run": run, "backup": backup, "comment": comment, "not_kept": keys}
    return json.dumps({**content, "backup_due": backup_due})


def without_due_backup(comment: str) -> str:
    """A comment of `format_comment` for a database that has been backed up since."""
    return json.dumps({**json.loads(comment), "backup_due": False})


def parse_not_kept(comment: str) -> list[str]:
    """The keys of the properties `not_kept` in a comment of `format_comment`."""
    keys: list[str] = json.loads(comment).get("not_kept", [])
    return keys


def parse_comment(name: str, comment: str, size: int | None) -> PreviousDatabase:
    """The inverse of `format_comment`. Raises PreconditionFailed for the comment of an unrelated object."""
    try:
        content = json.loads(comment)
        if content["ops"] == "undo":
            when = dt.datetime.fromisoformat(content["when"])
            return PreviousDatabase(
                name=name,
                replaced_at=when,
                run=content["run"],
                backup=content["backup"],
                size=size,
                backup_due=content.get("backup_due", False),
            )
    except (ValueError, KeyError, TypeError):
        pass
    raise PreconditionFailed(
        f"A restore keeps the previous database as {name}, and an unrelated object with that name exists."
        " Nothing was changed.",
        f"Rename it: ALTER DATABASE (or SCHEMA) {quoted(name)} RENAME TO …",
    )


def find_backup_due(cursor: Any, live: str) -> PreviousDatabase | None:
    """The previous database of the database `live`, if its pre-restore backup is due.

    Without its size: reading that takes longer, and needs a right. `cursor` is one of psycopg2 or of Django.
    """
    name = suffixed_name(live, PREVIOUS)
    for comment in fetch_column(cursor, COMMENT, [name]):
        with contextlib.suppress(PreconditionFailed):
            previous = parse_comment(name, comment, None)
            return previous if previous.backup_due else None
    return None


def find_previous_schema(cursor: Cursor) -> PreviousDatabase | None:
    """The schema that the last restore without a separate database has kept. Raises as `parse_comment`."""
    cursor.execute(SCHEMA, [UNDO_SCHEMA])
    found = cursor.fetchone()
    return parse_comment(UNDO_SCHEMA, *found) if found else None
