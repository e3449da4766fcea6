"""People and groups in the console."""

from typing import Any, ClassVar

from axes.models import AccessAttempt
from django import forms
from django.conf import settings
from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.models import Group
from django.db import models
from django.db.models import Count, QuerySet
from django.http import HttpRequest
from unfold.decorators import display
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget

from homerack.accounts.models import User
from homerack.unfolded import ModelAdmin, UserAdmin

ROLE_COLORS = {"Administrator": "danger", "Editors": "success", "Viewers": "info", "No rights yet": "warning"}

admin.site.unregister(Group)


class PersonCreationForm(UserCreationForm):  # type: ignore[misc]
    """A new person, who signs in with a password: there is no other way in."""

    usable_password = None

    class Meta:
        model = User
        fields = ("email",)
        field_classes: ClassVar[dict[str, type[forms.Field]]] = {}

    def clean_email(self) -> str:
        return User.objects.normalize_email(self.cleaned_data["email"])


class PersonChangeForm(UserChangeForm):  # type: ignore[misc]
    class Meta:
        model = User
        fields = "__all__"
        field_classes: ClassVar[dict[str, type[forms.Field]]] = {}


@admin.register(User)
class PersonAdmin(UserAdmin[User]):  # type: ignore[type-var]
    form = PersonChangeForm
    add_form = PersonCreationForm
    change_password_form = AdminPasswordChangeForm
    list_display = ("email", "full_name", "roles", "is_active", "last_login")
    list_filter = ("is_active", "is_superuser", "groups")
    list_filter_sheet = False
    search_fields = ("email", "full_name")
    ordering = ("email",)
    # Rights come from groups alone, so that what somebody may do is said in one place.
    filter_horizontal = ()
    autocomplete_fields = ("groups",)
    readonly_fields = ("last_login", "created_at", "updated_at")
    fieldsets = (
        (None, {"fields": ("email", "full_name", "password")}),
        ("Rights", {"fields": ("is_active", "is_staff", "is_superuser", "groups")}),
        ("History", {"fields": (("last_login", "created_at", "updated_at"),)}),
    )
    add_fieldsets = (
        (None, {"fields": ("email", "full_name", "password1", "password2")}),
        ("Rights", {"fields": ("is_staff", "groups")}),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        return super().get_queryset(request).prefetch_related("groups")

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """Those who are entered in the console usually are to use it."""
        return {"is_staff": True, **super().get_changeform_initial_data(request)}

    @display(description="role", label=ROLE_COLORS)  # type: ignore[untyped-decorator]
    def roles(self, user: User) -> str:
        if user.is_superuser:
            return "Administrator"
        return ", ".join(sorted(group.name for group in user.groups.all())) or "No rights yet"


@admin.register(Group)
class GroupAdmin(DjangoGroupAdmin, ModelAdmin[Group]):
    list_display = ("name", "people_count")
    filter_horizontal = ()
    formfield_overrides: ClassVar = {models.ManyToManyField: {"widget": UnfoldAdminCheckboxSelectMultipleWidget}}
    search_fields = ("name",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Group]:
        return super().get_queryset(request).annotate(people_count=Count("user"))

    @admin.display(description="people", ordering="people_count")
    def people_count(self, group: Group) -> int:
        return int(getattr(group, "people_count", 0))


@admin.register(AccessAttempt)
class AccessAttemptAdmin(ModelAdmin[AccessAttempt]):
    """Who failed to sign in lately. To delete an entry is to let somebody try again at once."""

    list_display = ("attempt_time", "username", "ip_address", "failures_since_start", "is_locked_out")
    search_fields = ("username", "ip_address")
    fields = ("attempt_time", "username", "ip_address", "failures_since_start", "user_agent")

    def has_add_permission(self, _request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, _request: HttpRequest, _attempt: AccessAttempt | None = None) -> bool:
        return False

    @admin.display(description="has to wait", boolean=True)
    def is_locked_out(self, attempt: AccessAttempt) -> bool:
        return bool(attempt.failures_since_start >= settings.AXES_FAILURE_LIMIT)
