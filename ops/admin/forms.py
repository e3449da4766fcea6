"""The form that confirms a restore or an undo: the database's name in full and the user's own password."""

from typing import Any

from django import forms
from django.contrib.auth import authenticate
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest
from unfold.widgets import UnfoldAdminPasswordWidget, UnfoldAdminTextInputWidget, UnfoldBooleanWidget

from ops.backups.rights.changes import RightsChange, sections


def reauthenticate(request: HttpRequest, password: str) -> bool:
    """Whether `password` is that of the user who is signed in.

    It is checked as at a sign-in, by all authentication backends: a backend that limits failed sign-ins, such as
    django-axes, counts wrong passwords here too, and refuses the right one during a lockout.
    """
    return authenticate(request, username=request.user.get_username(), password=password) == request.user


class PasswordConfirmation(forms.Form):
    """Valid when the user typed their own password."""

    password = forms.CharField(label="Your password", strip=False)

    def __init__(self, request: HttpRequest) -> None:
        super().__init__(request.POST if request.method == "POST" else None)
        self.request = request
        self.fields["password"].widget = UnfoldAdminPasswordWidget(attrs={"autocomplete": "current-password"})

    def clean_password(self) -> str:
        typed: str = self.cleaned_data["password"]
        if not reauthenticate(self.request, typed):
            raise forms.ValidationError("The password is wrong.")
        return typed


class Confirmation(PasswordConfirmation):
    """Valid when the user also typed the name of `database`."""

    database = forms.CharField(label="Database name", strip=True)
    field_order = ("database", "password")

    def __init__(self, request: HttpRequest, database: str) -> None:
        super().__init__(request)
        self.expected = database
        plain = {"autocomplete": "off", "autocapitalize": "none", "spellcheck": "false"}
        self.fields["database"].widget = UnfoldAdminTextInputWidget(attrs=plain)
        self.fields["database"].label = f"To confirm, type the database name: {database}"

    def clean_database(self) -> str:
        typed: str = self.cleaned_data["database"]
        if typed != self.expected:
            raise forms.ValidationError(f"Wrong name. Type {self.expected}.")
        return typed


class RestoreConfirmation(Confirmation):
    """With the choice to skip the backup of the current database, or to make it before the swap."""

    backup_first = forms.BooleanField(
        label="Back up the current database before the swap",
        required=False,
        help_text="Writes are blocked until that backup is verified. Without this, it is made right after the swap.",
    )
    no_pre_backup = forms.BooleanField(
        label="Do not back up the current database",
        required=False,
        help_text="Use this only if the live database is too damaged to back up. The restore can still be undone.",
    )

    def __init__(self, request: HttpRequest, database: str, *, may_choose_order: bool) -> None:
        super().__init__(request, database)
        if not may_choose_order:
            del self.fields["backup_first"]
        for name in ("backup_first", "no_pre_backup"):
            if name in self.fields:
                self.fields[name].widget = UnfoldBooleanWidget()


# --- Rights that a restore or an undo would raise -----------------------------------------------------------------
def may_confirm(request: HttpRequest, change: RightsChange | None) -> bool:
    """Whether the user may confirm it: only an administrator if it raises permissions or activates a user.

    If the file was not read (None), the run compares the permissions before it replaces anything.
    """
    return change is None or not change.needs_administrator or getattr(request.user, "is_superuser", False)


def require_confirmable(request: HttpRequest, change: RightsChange | None) -> None:
    """Raises PermissionDenied for a confirmation that the page did not offer."""
    if request.method == "POST" and not may_confirm(request, change):
        raise PermissionDenied


def rights_context(request: HttpRequest, change: RightsChange | None) -> dict[str, Any]:
    """What ``_rights.html`` and ``_confirmation.html`` show."""
    return {
        "rights": change,
        "rights_sections": sections(change) if change else [],
        "only_administrators": not may_confirm(request, change),
    }
