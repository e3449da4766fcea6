"""Whose rights a restore or an undo would raise, on its page, and who may confirm that."""

from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest

from ops.backups.rights.changes import RightsChange, sections


def may_confirm(request: HttpRequest, change: RightsChange | None) -> bool:
    """Whether the one who asks may: all who may restore, unless rights are raised or an account is revived.

    Where the file was not read (None) the run itself compares before it replaces anything.
    """
    return change is None or not change.needs_administrator or getattr(request.user, "is_superuser", False)


def require_confirmable(request: HttpRequest, change: RightsChange | None) -> None:
    """Raises PermissionDenied for a confirmation that the page did not offer."""
    if request.method == "POST" and not may_confirm(request, change):
        raise PermissionDenied


def rights_on_page(request: HttpRequest, change: RightsChange | None) -> dict[str, Any]:
    """What ``rights.html`` and ``confirm.html`` show."""
    return {
        "rights": change,
        "rights_sections": sections(change) if change else [],
        "only_administrators": not may_confirm(request, change),
    }
