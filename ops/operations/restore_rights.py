"""Whether the user who requested a restore in the admin may make the loaded database live."""

from collections.abc import Callable
from contextlib import AbstractContextManager

from django.contrib.auth import get_user_model
from django.db import Error as DatabaseError

from ops.backups.engines.base import Engine, Scratch
from ops.backups.rights.accounts import accounts_of_default, compare_accounts
from ops.backups.rights.changes import Accounts, RightsChange
from ops.backups.rights.tables import layout_of
from ops.errors import PreconditionFailed
from ops.models import Run
from ops.runs.recorder import RunRecorder
from ops.utils.formatting import join_names


def require_rights_stay(run: RunRecorder, scratch: Scratch) -> None:
    """Compare the permissions in the live database with those in the staging database, right before the cut-over.

    They may have changed since the user confirmed the restore on its page, and a large backup is not compared there.
    Raises PreconditionFailed if a user who is not a superuser would raise permissions or activate a deactivated
    account. Commands are not restricted: users who can run them can change every account anyway.
    """
    if run.origin != Run.Origin.ADMIN or is_administrator(run.requested_by):
        return
    change = rights_in(scratch.as_default, where="the staging database")
    if not change.needs_administrator:
        return
    reason = change.unknown or f"The restore would give more permissions to {join_names(change.gaining)}."
    raise PreconditionFailed(
        f"{reason} {run.requested_by} is not a superuser. Nothing was changed.",
        "Ask a superuser to start it, or run the command on the server: it lists the permissions and asks.",
    )


def is_administrator(username: str) -> bool:
    """Whether `username` is an active superuser now. Raises PreconditionFailed if the database does not answer."""
    user = get_user_model()
    try:
        users = list(user._base_manager.filter(**{user.USERNAME_FIELD: username})[:2])
    except DatabaseError as error:
        raise PreconditionFailed(
            f"Whether {username} is a superuser cannot be read from the live database ({type(error).__name__})."
            " Nothing was changed.",
            "Run the command on the server: it needs no permission in the database.",
        ) from error
    return len(users) == 1 and users[0].is_active and getattr(users[0], "is_superuser", False)


def rights_of_undo(engine: Engine) -> RightsChange:
    """What an undo changes. The previous database is only read. Raises PreconditionFailed."""
    strategy = engine.strategy_of(engine.require_previous())
    return rights_in(strategy.previous_as_default, where="the previous database")


def rights_in(as_default: Callable[[], AbstractContextManager[object]], *, where: str) -> RightsChange:
    """What changes when the database that `as_default` makes "default" goes live."""
    layout = layout_of(get_user_model())

    def then() -> Accounts:
        with as_default():
            return accounts_of_default(layout, where=where)

    return compare_accounts(layout, then)
