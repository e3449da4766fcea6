"""Who may start which kind of run. Checked when a page queues the run, and again before the worker starts it."""

from collections.abc import Mapping
from typing import Any, Protocol

from django.contrib.auth import get_user_model

from ops.models import Run

PERMISSIONS: Mapping[str, str] = {
    Run.Kind.BACKUP: "ops.make_backup",
    Run.Kind.COPY: "ops.make_backup",
    Run.Kind.VERIFICATION: "ops.verify_backup",
    Run.Kind.RESTORE_TEST: "ops.verify_backup",
    Run.Kind.RESTORE: "ops.restore_backup",
    Run.Kind.UNDO: "ops.restore_backup",
    Run.Kind.DROP_PREVIOUS: "ops.restore_backup",
}
"""Other kinds are for superusers."""


class User(Protocol):
    """A user of the project's own model, or Django's anonymous one."""

    @property
    def is_active(self) -> bool: ...
    @property
    def is_superuser(self) -> bool: ...
    def has_perm(self, perm: str, /) -> bool: ...


def may_start(user: User, kind: str, arguments: Mapping[str, Any] | None = None) -> bool:
    """Whether `user` may start, and cancel, a run of this kind.

    Untrusted restores and kinds without a permission are for superusers.
    """
    permission = PERMISSIONS.get(kind)
    if permission is None or (arguments or {}).get("untrusted"):
        return user.is_active and user.is_superuser
    return user.has_perm(permission)


def find_refusal(*, username: str, kind: str, arguments: Mapping[str, Any]) -> str:
    """Why the user `username` may not start this run now, as the end of a sentence; '' if they may.

    The name must match exactly. Raises Django's database errors.
    """
    users = get_user_model()
    user = users._default_manager.filter(**{users.USERNAME_FIELD: username}).first()
    if user is None:
        return "this user no longer exists"
    if not (user.is_active and user.is_staff):
        return "this user may no longer use the admin"
    if not may_start(user, kind, arguments):
        return "this user no longer has the permission to start it"
    return ""
