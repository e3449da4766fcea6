"""The note that is written on what a restore replaced, so that it is found again and nothing else is taken for it."""

import datetime as dt
import json

from ops.backups.engines.base import PreviousDatabase
from ops.errors import PreconditionFailed
from ops.utils.identifiers import quoted

READ_ONLY = "-c default_transaction_read_only=on"
"""For a session that only looks at what is kept."""


def format_comment(*, run: str, backup: str, comment: str = "") -> str:
    """A comment for PostgreSQL; `comment` is what was written there before."""
    when = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
    return json.dumps({"ops": "undo", "when": when, "run": run, "backup": backup, "comment": comment})


def parse_comment(name: str, comment: str, size: int) -> PreviousDatabase:
    """What `note` wrote. Raises PreconditionFailed when somebody else has something of the name."""
    try:
        said = json.loads(comment)
        if said["ops"] == "undo":
            when = dt.datetime.fromisoformat(said["when"])
            return PreviousDatabase(name=name, replaced_at=when, run=said["run"], backup=said["backup"], size=size)
    except (ValueError, KeyError, TypeError):
        pass
    raise PreconditionFailed(
        f"What a restore replaces is kept as {name}, and there is something of that name that no restore has left."
        " Nothing was changed.",
        f"Rename it: ALTER DATABASE (or SCHEMA) {quoted(name)} RENAME TO …",
    )


def undo_missing(where: str) -> PreconditionFailed:
    return PreconditionFailed(f"Nothing is kept from a restore of {where}. Nothing was changed.")
