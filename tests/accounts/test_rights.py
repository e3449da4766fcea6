"""Users who may change users and groups give no more permissions than they have, and manage no one who has more."""

import contextlib
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group, Permission
from django.db import transaction
from django.http import HttpResponse
from django.test import Client

from homerack.accounts.models import User
from homerack.accounts.rights import grantable_groups, may_manage
from tests.support.slow import slow_except

pytestmark = pytest.mark.django_db

PASSWORD = "a long enough passphrase"
USERS, GROUPS = "/admin/accounts/user/", "/admin/auth/group/"
MANAGES = [
    f"{verb}_{model}" for model in ("user", "group", "permission") for verb in ("view", "add", "change", "delete")
]
"""All permissions about users and groups, and no others."""


def permissions(*codenames: str) -> list[Permission]:
    found = list(Permission.objects.filter(codename__in=codenames))
    assert {permission.codename for permission in found} == set(codenames)
    return found


@pytest.fixture
def manager() -> User:
    """Manages users and groups, and views racks: by permissions of their own and of groups."""
    user = User.objects.create_user("manager@example.com", PASSWORD, is_staff=True)
    user.user_permissions.set(permissions(*MANAGES))
    viewing = Group.objects.create(name="Rack viewers")
    viewing.permissions.set(permissions("view_rack"))
    user.groups.add(viewing)
    return user


@pytest.fixture
def browser(manager: User) -> Client:
    client = Client()
    client.force_login(manager)
    return client


def account(
    email: str = "target@example.com", *, codenames: tuple[str, ...] = (), groups: tuple[str, ...] = (), **fields: Any
) -> User:
    user = User.objects.create_user(email, PASSWORD, is_staff=True, **fields)
    user.user_permissions.set(permissions(*codenames))
    user.groups.set(Group.objects.filter(name__in=groups))
    return user


ACCOUNTS: dict[str, tuple[Callable[[], User], bool]] = {
    "without permissions": (account, True),
    "with the same permission": (lambda: account(codenames=("view_rack",)), True),
    "in the same group": (lambda: account(groups=("Rack viewers",)), True),
    "another manager": (lambda: account(codenames=tuple(MANAGES)), True),
    "deactivated, without permissions": (lambda: account(is_active=False), True),
    "with one more permission": (lambda: account(codenames=("view_rack", "change_rack")), False),
    "in a group with more permissions": (lambda: account(groups=("Editors",)), False),
    "superuser": (lambda: account(is_superuser=True), False),
    "deactivated superuser": (lambda: account(is_superuser=True, is_active=False), False),
    "deactivated, with one more permission": (lambda: account(codenames=("change_rack",), is_active=False), False),
}
"""A function that creates the account, and whether the manager may manage it."""


def state(user: User) -> Any:
    """The values of an account that can be changed; None after its deletion."""
    row = User.objects.filter(pk=user.pk).values().first()
    if row is None:
        return None
    del row["updated_at"], row["last_login"]
    return row, sorted(user.groups.values_list("name", flat=True)), sorted(permission_names(user))


def permission_names(user: User) -> set[str]:
    return set(Permission.objects.filter(user=user).values_list("codename", flat=True))


def form(user: User | None, **changes: Any) -> dict[str, Any]:
    values = {"email": "target@example.com", "full_name": "", "is_active": "on", "is_staff": "on", **changes}
    new = {"password1": PASSWORD, "password2": PASSWORD} if user is None else {}
    return {**new, **values}


def take_over(browser: Client, user: User, how: str) -> HttpResponse:
    page = f"{USERS}{user.pk}/"
    path, data = {
        "e-mail": (f"{page}change/", form(user, email="mallory@example.com")),
        "deactivation": (f"{page}change/", {"email": user.email, "is_staff": "on"}),
        "activation": (f"{page}change/", form(user)),
        "groups": (f"{page}change/", form(user, groups=[Group.objects.get(name="Rack viewers").pk])),
        "password": (f"{page}password/", {"password1": "mallory's passphrase", "password2": "mallory's passphrase"}),
        "deletion": (f"{page}delete/", {"post": "yes"}),
        "deletion from the list": (USERS, {"action": "delete_selected", "_selected_action": [user.pk], "post": "yes"}),
    }[how]
    answer: HttpResponse = browser.post(path, data)
    return answer


WAYS = ("e-mail", "deactivation", "activation", "groups", "password", "deletion", "deletion from the list")


@contextlib.contextmanager
def rolled_back() -> Iterator[None]:
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


@pytest.mark.parametrize("name", ACCOUNTS)
def test_account_with_more_permissions_cannot_be_managed(browser: Client, manager: User, name: str) -> None:
    make, is_allowed = ACCOUNTS[name]
    user = make()
    assert may_manage(manager, user) is is_allowed
    before = state(user)
    for how in WAYS:
        with rolled_back():
            answer = take_over(browser, user, how)
            if is_allowed:
                assert answer.status_code == 302, (how, answer.content.decode())
            else:
                assert state(user) == before, how
                assert answer.status_code == (403 if how != "deletion from the list" else answer.status_code), how


@pytest.mark.parametrize("name", [name for name, (_, is_allowed) in ACCOUNTS.items() if not is_allowed])
def test_page_of_account_with_more_permissions_is_read_only(browser: Client, name: str) -> None:
    user = ACCOUNTS[name][0]()
    page = browser.get(f"{USERS}{user.pk}/change/")
    assert page.status_code == 200
    assert page.context["has_change_permission"] is False
    assert browser.get(f"{USERS}{user.pk}/password/").status_code == 403
    assert browser.get(f"{USERS}{user.pk}/delete/").status_code == 403


@pytest.mark.parametrize("name", [None, *(name for name, (_, is_allowed) in ACCOUNTS.items() if is_allowed), "oneself"])
class TestForgedFields:
    """A new account, one that the manager may change, and the manager's own."""

    def send(self, browser: Client, manager: User, name: str | None, **forged: Any) -> tuple[User | None, HttpResponse]:
        user = manager if name == "oneself" else ACCOUNTS[name][0]() if name else None
        email = user.email if user else "new@example.com"
        path = f"{USERS}{user.pk}/change/" if user else f"{USERS}add/"
        answer = browser.post(path, form(user, email=email, **forged))
        return User.objects.filter(email=email).first(), answer

    def test_forged_superuser_status_is_ignored(self, browser: Client, manager: User, name: str | None) -> None:
        user, answer = self.send(browser, manager, name, is_superuser="on")
        assert answer.status_code == 302
        assert user is not None
        assert not user.is_superuser

    def test_forged_user_permissions_are_ignored(self, browser: Client, manager: User, name: str | None) -> None:
        everything = list(Permission.objects.values_list("pk", flat=True))
        user, _ = self.send(browser, manager, name, user_permissions=everything)
        assert user is not None
        assert permission_names(user) <= {*MANAGES, "view_rack"}

    @pytest.mark.parametrize(
        "group",
        slow_except(["Editors", "Backup restorers", "Mixed", "Viewers", "Backup viewers"], "Backup restorers", "Mixed"),
    )
    def test_group_with_more_permissions_is_refused(
        self, browser: Client, manager: User, name: str | None, group: str
    ) -> None:
        mixed = Group.objects.create(name="Mixed")
        mixed.permissions.set(permissions("view_rack", "view_device"))
        user, answer = self.send(browser, manager, name, groups=[Group.objects.get(name=group).pk])
        assert answer.status_code == 200
        assert "groups" in answer.context["adminform"].form.errors
        assert user is None or group not in user.groups.values_list("name", flat=True)

    def test_group_with_own_permissions_is_accepted(self, browser: Client, manager: User, name: str | None) -> None:
        user, answer = self.send(browser, manager, name, groups=[Group.objects.get(name="Rack viewers").pk])
        assert answer.status_code == 302
        assert user is not None
        assert [group.name for group in user.groups.all()] == ["Rack viewers"]


class TestGroups:
    def save(self, browser: Client, group: Group | None, *codenames: str, name: str = "Name") -> HttpResponse:
        path = f"{GROUPS}{group.pk}/change/" if group else f"{GROUPS}add/"
        keys = [permission.pk for permission in permissions(*codenames)]
        answer: HttpResponse = browser.post(path, {"name": name, "permissions": keys})
        return answer

    def test_own_permissions_can_be_granted_to_a_group(self, browser: Client) -> None:
        assert self.save(browser, None, "view_rack", "change_user").status_code == 302
        group = Group.objects.get(name="Name")
        assert self.save(browser, group, "view_rack").status_code == 302
        assert [permission.codename for permission in group.permissions.all()] == ["view_rack"]

    @pytest.mark.parametrize("codename", ["change_rack", "view_device", "restore_backup", "delete_accessattempt"])
    @pytest.mark.parametrize("is_new", [True, False])
    def test_other_permissions_cannot_be_granted_to_a_group(self, browser: Client, codename: str, is_new: bool) -> None:
        group = None if is_new else Group.objects.get(name="Rack viewers")
        answer = self.save(browser, group, "view_rack", codename)
        assert answer.status_code == 200
        assert "permissions" in answer.context["adminform"].form.errors
        assert not Group.objects.filter(name="Name").exists()
        assert not Group.objects.filter(name="Rack viewers", permissions__codename=codename).exists()

    @pytest.mark.parametrize("how", ["change", "delete", "list"])
    def test_group_with_more_permissions_cannot_be_changed_or_deleted(self, browser: Client, how: str) -> None:
        group = Group.objects.get(name="Editors")
        before = set(group.permissions.all())
        if how == "change":
            assert self.save(browser, group, "view_rack").status_code == 403
        elif how == "delete":
            assert browser.post(f"{GROUPS}{group.pk}/delete/", {"post": "yes"}).status_code == 403
        else:
            browser.post(GROUPS, {"action": "delete_selected", "_selected_action": [group.pk], "post": "yes"})
        assert set(Group.objects.get(name="Editors").permissions.all()) == before

    def test_autocomplete_offers_grantable_groups_only(self, browser: Client) -> None:
        Group.objects.create(name="Empty")
        field = {"app_label": "accounts", "model_name": "user", "field_name": "groups"}
        offered = browser.get("/admin/autocomplete/", field).json()["results"]
        assert sorted(group["text"] for group in offered) == ["Empty", "Rack viewers"]
        assert b"Editors" in browser.get(GROUPS).content


def test_superuser_manages_every_account(admin_client: Client) -> None:
    for make, _ in ACCOUNTS.values():
        Group.objects.get_or_create(name="Rack viewers")
        user = make()
        editors = Group.objects.get(name="Editors")
        data = form(user, is_superuser="on", groups=[editors.pk])
        assert admin_client.post(f"{USERS}{user.pk}/change/", data).status_code == 302
        user.refresh_from_db()
        assert (user.is_superuser, list(user.groups.all())) == (True, [editors])
        assert admin_client.post(f"{USERS}{user.pk}/delete/", {"post": "yes"}).status_code == 302


def test_group_is_grantable_when_all_its_permissions_are() -> None:
    """Against a plain reading of the rule, for all sets of three permissions."""
    names = ("view_rack", "view_device", "view_brand")
    sets = [frozenset(chosen) for size in range(4) for chosen in itertools.combinations(names, size)]
    Group.objects.all().delete()
    for number, chosen in enumerate(sets):
        Group.objects.create(name=str(number)).permissions.set(permissions(*chosen))
    for number, own in enumerate(sets):
        user = account(f"{number}@example.com", codenames=tuple(own))
        expected = {str(other) for other, chosen in enumerate(sets) if chosen <= own}
        assert set(grantable_groups(user).values_list("name", flat=True)) == expected


def test_only_user_and_group_pages_edit_permissions() -> None:
    """A new page on which permissions can be given needs the same rule."""
    fields = {"groups", "permissions", "user_permissions", "is_superuser"}
    found = {
        model.__name__
        for model, model_admin in admin.site._registry.items()
        if fields & {field.name for field in model._meta.get_fields()} or model is Permission
        if not model.__module__.startswith("ops.")
    }
    assert found == {"User", "Group"}
    assert not [one.list_editable for one in admin.site._registry.values() if one.list_editable]
