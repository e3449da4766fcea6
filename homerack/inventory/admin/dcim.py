"""Connections to DCIM software in the admin. API tokens can be set, but are never shown."""

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import Case, Value, When
from django.db.models.query import QuerySet
from django.http import HttpRequest
from unfold.decorators import display
from unfold.widgets import UnfoldAdminPasswordWidget, UnfoldBooleanSwitchWidget

from homerack.inventory.admin.base import InventoryAdmin, InventoryForm
from homerack.inventory.models import DcimConnection

STATES = {"success": "success", "failed": "danger", "in_progress": "info"}


class DcimConnectionForm(InventoryForm[DcimConnection]):
    new_token = forms.CharField(
        label="New API token",
        required=False,
        max_length=500,
        widget=UnfoldAdminPasswordWidget(attrs={"autocomplete": "new-password"}),
        help_text="The token is stored and never shown again. Leave empty to keep the current token.",
    )
    remove_token = forms.BooleanField(
        label="Remove the current token", required=False, widget=UnfoldBooleanSwitchWidget()
    )

    class Meta:
        model = DcimConnection
        fields = ("name", "type", "base_url", "is_public", "sync_status", "last_sync")

    def clean(self) -> dict[str, Any]:
        values = super().clean() or self.cleaned_data
        if values.get("new_token") and values.get("remove_token"):
            self.add_error("remove_token", "Enter a new token or remove the current one, not both.")
        return values

    def save(self, commit: bool = True) -> DcimConnection:  # noqa: FBT001, FBT002
        if self.cleaned_data.get("remove_token"):
            self.instance.api_token = None
        self.instance.api_token = self.cleaned_data.get("new_token") or self.instance.api_token
        return super().save(commit)


@admin.register(DcimConnection)
class DcimConnectionAdmin(InventoryAdmin[DcimConnection]):
    form = DcimConnectionForm
    list_display = ("name", "type", "base_url", "token_state", "state", "last_sync")
    list_filter = ("type", "is_public")
    search_fields = ("name", "base_url")
    readonly_fields = ("token_state", "created_at", "updated_at")
    fieldsets = (
        (None, {"fields": (("name", "type"), "base_url")}),
        ("Access", {"fields": ("is_public", "token_state", "new_token", "remove_token")}),
        ("Synchronisation", {"fields": ("sync_status", "last_sync")}),
        ("History", {"fields": (("created_at", "updated_at"),)}),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[DcimConnection]:
        """Without the token: lists and pages only read whether there is one."""
        present = Case(When(api_token__gt="", then=Value(value=True)), default=Value(value=False))
        return super().get_queryset(request).defer("api_token").annotate(has_token=present)

    def get_fieldsets(self, request: HttpRequest, obj: DcimConnection | None = None) -> Any:
        """Without the fields for a new token for users who may only view the connection."""
        fieldsets = super().get_fieldsets(request, obj)
        may_save = self.has_change_permission(request, obj) if obj else self.has_add_permission(request)
        if may_save:
            return fieldsets
        hidden = {"new_token", "remove_token"}
        return [
            (title, {**options, "fields": tuple(field for field in options["fields"] if field not in hidden)})
            for title, options in fieldsets
        ]

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        """Refuse filters such as ``?api_token__startswith=a``, with which the token could be guessed."""
        return not lookup.startswith("api_token") and super().lookup_allowed(lookup, value, request)

    @display(description="API token", label={"set": "success", "not set": "warning"})
    def token_state(self, connection: DcimConnection) -> str:
        return "set" if getattr(connection, "has_token", False) else "not set"

    @display(description="sync status", ordering="sync_status", label=STATES)
    def state(self, connection: DcimConnection) -> str:
        return connection.sync_status or "never synchronised"
