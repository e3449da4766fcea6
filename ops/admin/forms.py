"""Before something that everybody feels: the database's name in full, and the person's password once more."""

from typing import Any

from django import forms
from django.contrib.auth import authenticate
from django.http import HttpRequest
from unfold.widgets import UnfoldAdminPasswordWidget, UnfoldAdminTextInputWidget, UnfoldBooleanWidget


def reauthenticate(request: HttpRequest, password: str) -> bool:
    """Whether `password` is that of the user who is signed in.

    It is checked as at a sign-in, through every authentication backend: what counts wrong passwords there (django-axes,
    for example) counts them here, and refuses the right one where it would refuse a sign-in.
    """
    return authenticate(request, username=request.user.get_username(), password=password) == request.user


class Confirmation(forms.Form):
    """Valid when the person who is signed in typed the name of `database` and the password of their own."""

    database = forms.CharField(label="Database's name", strip=True)
    password = forms.CharField(label="Your password", strip=False)

    def __init__(self, request: HttpRequest, database: str) -> None:
        super().__init__(request.POST if request.method == "POST" else None)
        self.request, self.expected = request, database
        quiet = {"autocomplete": "off", "autocapitalize": "none", "spellcheck": "false"}
        self.fields["database"].widget = UnfoldAdminTextInputWidget(attrs=quiet)
        self.fields["database"].label = f"Type the database's name, {database}"
        self.fields["password"].widget = UnfoldAdminPasswordWidget(attrs={"autocomplete": "current-password"})

    def clean_database(self) -> str:
        typed: str = self.cleaned_data["database"]
        if typed != self.expected:
            raise forms.ValidationError(f"That is not the database's name; it is {self.expected}.")
        return typed

    def clean_password(self) -> str:
        typed: str = self.cleaned_data["password"]
        if not reauthenticate(self.request, typed):
            raise forms.ValidationError("That is not your password.")
        return typed


class RestoreConfirmation(Confirmation):
    """With the choice to go without a backup of what is there now."""

    no_pre_backup = forms.BooleanField(
        label="Do not back up first",
        required=False,
        help_text="Only when the database is too broken for that. It is kept for an undo all the same.",
    )

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.fields["no_pre_backup"].widget = UnfoldBooleanWidget()
