"""The form with which users change their own passwords."""

from typing import Any

from django import forms
from django.http import HttpRequest
from unfold.forms import AdminOwnPasswordChangeForm

from ops.admin.forms import reauthenticate


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
