"""The forms of users and groups, as their readers see them."""

import re
from collections.abc import Callable

import pytest
from django.contrib.auth.models import Group, Permission
from django.test import Client
from django.utils.html import strip_tags

from homerack.accounts.models import User

pytestmark = pytest.mark.django_db


def permission(codename: str) -> Permission:
    return Permission.objects.get(codename=codename)


def group_form(client: Client, group: Group) -> dict[str, list[str]]:
    """The verbs of each line of the page."""
    page = client.get(f"/admin/auth/group/{group.pk}/change/").content.decode()
    lines = re.findall(r"<legend>(.+?)</legend>(.+?)</fieldset>", page, re.DOTALL)
    return {line: [strip_tags(label).strip() for label in options.split("</label>")[:-1]] for line, options in lines}


class TestPermissionsOfGroup:
    def test_each_list_of_the_admin_has_a_line(self, admin_client: Client) -> None:
        lines = group_form(admin_client, Group.objects.create(name="Night shift"))
        assert lines["Devices"] == lines["Rack positions"] == ["view", "add", "change", "delete"]
        assert lines["Runs"] == ["view"]
        assert lines["Backups"][:2] == ["view", "delete"]
        assert "restore a backup" in lines["Backups"]
        assert "Sessions" not in lines

    def test_permission_without_a_page_remains(self, admin_client: Client) -> None:
        group = Group.objects.create(name="Night shift")
        group.permissions.set([permission("view_session"), permission("view_rack")])
        assert group_form(admin_client, group)["Sessions"] == ["view"]
        chosen = [permission("view_session").pk, permission("view_device").pk]
        path = f"/admin/auth/group/{group.pk}/change/"
        assert admin_client.post(path, {"name": "Night shift", "permissions": chosen}).status_code == 302
        assert {found.codename for found in group.permissions.all()} == {"view_session", "view_device"}

    def test_permission_without_a_page_cannot_be_given(self, admin_client: Client) -> None:
        chosen = [permission("view_session").pk]
        response = admin_client.post("/admin/auth/group/add/", {"name": "Night shift", "permissions": chosen})
        assert "permissions" in response.context["adminform"].errors
        assert not Group.objects.filter(name="Night shift").exists()


class TestPasswordOfUser:
    def test_page_has_a_link_and_no_hash(self, admin_client: Client) -> None:
        user = User.objects.create_user("zoe@example.com", "a long enough passphrase")
        page = admin_client.get(f"/admin/accounts/user/{user.pk}/change/").content.decode()
        assert 'href="../password/">Change the password</a>' in page
        assert user.password[-12:] not in page
        assert "algorithm" not in page

    def test_viewers_of_users_see_neither(self, sign_in: Callable[..., Client]) -> None:
        Group.objects.create(name="Desk").permissions.add(permission("view_user"))
        user = User.objects.create_user("zoe@example.com", "a long enough passphrase")
        page = sign_in("Desk").get(f"/admin/accounts/user/{user.pk}/change/").content.decode()
        assert "zoe@example.com" in page
        assert "../password/" not in page
        assert user.password[-12:] not in page


def test_form_of_a_new_user_does_not_promise_more_fields(admin_client: Client) -> None:
    page = admin_client.get("/admin/accounts/user/add/").content.decode()
    assert "May sign in" in page
    assert "more user options" not in page


def test_staff_without_permissions_are_told_whom_to_ask(sign_in: Callable[..., Client]) -> None:
    page = sign_in().get("/admin/").content.decode()
    assert "Your account has no permissions yet" in page
    assert "An administrator has to add you to a group" in page
