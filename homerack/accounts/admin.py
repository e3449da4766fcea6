"""Users, groups and access attempts in the admin."""

from typing import Any, ClassVar

import django_stubs_ext
from axes.models import AccessAttempt
from django import forms
from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.forms import ReadOnlyPasswordHashWidget
from django.contrib.auth.models import Group
from django.db.models import Count, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from unfold.admin import ModelAdmin
from unfold.decorators import display
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from homerack.accounts.login_protection import wait_until
from homerack.accounts.models import User
from homerack.accounts.permission_choices import PermissionsField, offered
from homerack.accounts.reporting import with_email
from homerack.accounts.rights import grantable_groups, grantable_permissions, may_manage
from homerack.autocomplete import SafeAutocompletes
from homerack.ordering import alphabetical_key
from homerack.search import SearchedAdmin

# Makes `ModelAdmin[Group]` legal at run time.
django_stubs_ext.monkeypatch()

ROLE_COLORS = {"Administrator": "danger", "Editors": "success", "Viewers": "info", "No permissions yet": "warning"}

admin.site.unregister(Group)


LABELS = {"is_staff": "May sign in", "is_superuser": "Administrator"}
HELP_TEXTS = {
    "is_staff": "Users without this cannot sign in.",
    "is_superuser": "Has all permissions, with or without groups.",
    "groups": "The user has the permissions of all these groups.",
}


class EmailUserCreationForm(UserCreationForm):  # type: ignore[misc]
    """A new user always gets a password: there is no other way to sign in."""

    usable_password = None

    class Meta:
        model = User
        fields = ("email",)
        labels, help_texts = LABELS, HELP_TEXTS
        field_classes: ClassVar[dict[str, type[forms.Field]]] = {}

    def clean_email(self) -> str:
        return User.objects.normalize_email(self.cleaned_data["email"])


class PasswordLink(ReadOnlyPasswordHashWidget):
    """The link to the form of the password, instead of a hash, which tells users nothing."""

    template_name = "accounts/password_link.html"


class EmailUserChangeForm(UserChangeForm):  # type: ignore[misc]
    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.fields["password"].widget = PasswordLink()
        self.fields["password"].help_text = ""

    class Meta:
        model = User
        fields = "__all__"
        labels, help_texts = LABELS, HELP_TEXTS
        field_classes: ClassVar[dict[str, type[forms.Field]]] = {}


@admin.register(User)
class UserAdmin(SafeAutocompletes, SearchedAdmin, DjangoUserAdmin[User], ModelAdmin[User]):  # type: ignore[type-var]
    form = EmailUserChangeForm
    add_form = EmailUserCreationForm
    # The template of Django adds that more can be edited later; this form has everything.
    add_form_template = None
    change_password_form = AdminPasswordChangeForm
    list_display = ("email", "full_name", "roles", "is_active", "last_login")
    list_filter = ("is_active", "is_superuser", "groups")
    list_filter_sheet = False
    search_fields = ("email", "full_name")
    empty_value_display = "–"
    ordering = ("email",)
    # The page has no field for a user's own permissions: permissions come from groups alone.
    filter_horizontal = ()
    autocomplete_fields = ("groups",)
    readonly_fields = ("last_login", "created_at", "updated_at")
    fieldsets = (
        (None, {"fields": ("email", "full_name", "password")}),
        ("Permissions", {"fields": ("is_active", "is_staff", "is_superuser", "groups")}),
        ("History", {"fields": (("last_login", "created_at", "updated_at"),)}),
    )
    add_fieldsets = (
        (None, {"fields": ("email", "full_name", "password1", "password2")}),
        ("Permissions", {"fields": ("is_staff", "groups")}),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        return super().get_queryset(request).prefetch_related("groups")

    def get_fieldsets(self, request: HttpRequest, obj: User | None = None) -> Any:
        """Without the password, which is a link to its form, for users who may not change it."""
        found = super().get_fieldsets(request, obj)
        if obj is None or self.has_change_permission(request, obj):
            return found
        return [
            (name, {**options, "fields": [field for field in options["fields"] if field != "password"]})
            for name, options in found
        ]

    # --- Users give no more permissions than they have -------------------------------------------------------------
    def has_change_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return super().has_change_permission(request, obj) and (obj is None or may_manage(request.user, obj))

    def has_delete_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return super().has_delete_permission(request, obj) and (obj is None or may_manage(request.user, obj))

    def get_readonly_fields(self, request: HttpRequest, _user: User | None = None) -> Any:
        """The form has no fields for what the user may not change, so forged values are ignored."""
        return (*self.readonly_fields, *(() if request.user.is_superuser else ("is_superuser",)))

    def formfield_for_manytomany(self, db_field: Any, request: HttpRequest, **options: Any) -> Any:
        if db_field.name == "groups":
            options["queryset"] = grantable_groups(request.user)
        return super().formfield_for_manytomany(db_field, request, **options)

    def user_change_password(self, request: HttpRequest, id: str, form_url: str = "") -> HttpResponse:  # noqa: A002
        """For the user's own password: redirect to the page that asks for the old one."""
        if self.get_object(request, unquote(id)) == request.user:
            return redirect("admin:password_change")
        return super().user_change_password(request, id, form_url)

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """New users get access to the admin, unless the form says otherwise."""
        return {"is_staff": True, **super().get_changeform_initial_data(request)}

    def describe_found(self, row: User) -> str:
        return " · ".join(part for part in (row.full_name, self.roles(row)) if part)

    @display(description="role", label=ROLE_COLORS)
    def roles(self, user: User) -> str:
        if user.is_superuser:
            return "Administrator"
        return (
            ", ".join(sorted((group.name for group in user.groups.all()), key=alphabetical_key)) or "No permissions yet"
        )


@admin.register(Group)
class GroupAdmin(DjangoGroupAdmin, ModelAdmin[Group]):
    list_display = ("name", "users_count")
    filter_horizontal = ()
    search_fields = ("name",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Group]:
        return super().get_queryset(request).annotate(users_count=Count("user"))

    def has_change_permission(self, request: HttpRequest, obj: Group | None = None) -> bool:
        return super().has_change_permission(request, obj) and self.may_manage(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Group | None = None) -> bool:
        return super().has_delete_permission(request, obj) and self.may_manage(request, obj)

    def may_manage(self, request: HttpRequest, group: Group | None) -> bool:
        return group is None or grantable_groups(request.user).filter(pk=group.pk).exists()

    def formfield_for_manytomany(self, db_field: Any, request: HttpRequest, **options: Any) -> Any:
        if db_field.name == "permissions":
            match = request.resolver_match
            key = str(match.kwargs.get("object_id")) if match else ""
            permissions = offered(grantable_permissions(request.user), int(key) if key.isdecimal() else None)
            return PermissionsField(queryset=permissions, required=False)
        return super().formfield_for_manytomany(db_field, request, **options)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Group], search_term: str
    ) -> tuple[QuerySet[Group], bool]:
        """The field of a user's groups offers the groups that may be given."""
        if "field_name" in request.GET:
            queryset = queryset.filter(pk__in=grantable_groups(request.user).values("pk"))
        return super().get_search_results(request, queryset, search_term)

    @admin.display(description="users", ordering="users_count")
    def users_count(self, group: Group) -> int:
        return int(getattr(group, "users_count", 0))


@admin.register(AccessAttempt)
class AccessAttemptAdmin(ModelAdmin[AccessAttempt]):
    """Recent failed sign-ins. Deleting an entry ends its lock at once."""

    list_display = ("attempt_time", "account", "ip_address", "failures_since_start", "is_locked_out")
    search_fields = ("email", "username", "ip_address")
    list_per_page = 25
    fields = ("attempt_time", "account", "ip_address", "failures_since_start", "user_agent")

    def get_queryset(self, request: HttpRequest) -> QuerySet[AccessAttempt]:
        return with_email(super().get_queryset(request))

    def has_add_permission(self, _request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, _request: HttpRequest, _attempt: AccessAttempt | None = None) -> bool:
        return False

    @admin.display(description="account", ordering="email")
    def account(self, attempt: AccessAttempt) -> str:
        return attempt.email or f"unknown: {attempt.username.removeprefix('name:')}"

    @admin.display(description="locked out", boolean=True)
    def is_locked_out(self, attempt: AccessAttempt) -> bool:
        now = timezone.now()
        return wait_until(attempt.username, attempt.ip_address, now) > now
