"""Whether the user who requested a restore in the admin may make the loaded database live."""

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
    """Compare the permissions in the live database with those in the loaded one, right before the cut-over.

    They may have changed since the user confirmed the restore on its page, and a large backup is not compared there.
    Raises PreconditionFailed if a user who is not an administrator would raise permissions or activate a deactivated
    account. Commands are not restricted: users who can run them can change every account anyway.
    """
    if run.origin != Run.Origin.ADMIN or is_administrator(run.requested_by):
        return
    change = rights_in(scratch)
    if not change.needs_administrator:
        return
    why = change.unknown or f"The restore would give more permissions to {join_names(change.gaining)}."
    raise PreconditionFailed(
        f"{why} {run.requested_by} is not an administrator. Nothing was changed.",
        "Ask an administrator to start it, or type the command where the site runs: it lists the rights and asks.",
    )


def is_administrator(who: str) -> bool:
    """Whether `who` is the active superuser of that name now. Raises PreconditionFailed when nobody can tell."""
    user = get_user_model()
    try:
        found = list(user._base_manager.filter(**{user.USERNAME_FIELD: who})[:2])
    except DatabaseError as error:
        raise PreconditionFailed(
            f"The live database does not say whether {who} is an administrator ({type(error).__name__})."
            " Nothing was changed.",
            "Type the command where the site runs: it asks nobody for rights.",
        ) from error
    return len(found) == 1 and found[0].is_active and getattr(found[0], "is_superuser", False)


def rights_in(scratch: Scratch) -> RightsChange:
    """What changes when the loaded database goes live."""
    layout = layout_of(get_user_model())

    def then() -> Accounts:
        with scratch.as_default():
            return accounts_of_default(layout, where="the loaded database")

    return compare_accounts(layout, then)


def rights_of_undo(engine: Engine) -> RightsChange:
    """What changes when the previous database goes live again. It is only read. Raises PreconditionFailed."""
    layout = layout_of(get_user_model())

    def then() -> Accounts:
        with engine.swap_strategy().previous_as_default():
            return accounts_of_default(layout, where="the previous database")

    return compare_accounts(layout, then)
