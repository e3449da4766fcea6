"""The forms with which users sign in and change their own passwords."""

from typing import Any, ClassVar

from django import forms
from django.http import HttpRequest
from unfold.forms import AdminOwnPasswordChangeForm, AuthenticationForm

from ops.admin.forms import reauthenticate


class SignInForm(AuthenticationForm):  # type: ignore[misc]
    """Says the same for a wrong address, a wrong password, and an account that may not sign in."""

    error_messages: ClassVar = {
        **AuthenticationForm.error_messages,
        "invalid_login": "No account that may sign in has this e-mail address and this password.",
    }


class OwnPasswordChangeForm(AdminOwnPasswordChangeForm):  # type: ignore[misc]
    """The old password is checked as at a sign-in, so wrong ones are counted."""

    def __init__(self, *args: Any, request: HttpRequest, **options: Any) -> None:
        super().__init__(*args, **options)
        self.request = request

    def clean_old_password(self) -> str:
        typed: str = self.cleaned_data["old_password"]
        if not reauthenticate(self.request, typed):
            raise forms.ValidationError(self.error_messages["password_incorrect"], code="password_incorrect")
        return typed
