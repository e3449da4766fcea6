"""Whether the one who asked for a restore in the console may put the loaded database in place."""

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
    """Compare the rights of the live database with those of the loaded one, right before that goes live.

    The page that was confirmed may be old, or may have known less. Raises PreconditionFailed where a user of the
    console who is no administrator would give somebody more rights than today or revive an account. Whoever can type a
    command can change every account without a restore.
    """
    if run.origin != Run.Origin.CONSOLE or is_administrator(run.requested_by):
        return
    change = rights_in(scratch)
    if not change.needs_administrator:
        return
    why = change.unknown or f"It would give more rights than today to {join_names(change.gaining)}."
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
