"""Users and groups: the first superuser, the groups of the migrations, the pages of the admin."""

import datetime as dt
import re
from collections.abc import Callable
from io import StringIO

import pytest
import time_machine
from axes.models import AccessAttempt
from django.contrib.auth.models import Group, Permission
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse

from homerack.accounts.models import User

pytestmark = pytest.mark.django_db
PASSWORD = "a long enough passphrase"


def create_initial_superuser(**options: str) -> list[str]:
    out = StringIO()
    call_command("createinitialsuperuser", stdout=out, **options)
    return out.getvalue().splitlines()


class TestCreateInitialSuperuser:
    def test_first_superuser_is_created_with_random_password(self) -> None:
        created, password, note = create_initial_superuser()
        assert created == "Created the superuser admin@homerack.local."
        assert note == "Write the password down: it is not shown again."
        user = User.objects.get()
        assert (user.is_superuser, user.is_staff, user.is_active) == (True, True, True)
        assert user.check_password(password.removeprefix("Password: "))

    def test_no_user_is_created_when_a_superuser_exists(self) -> None:
        User.objects.create_superuser("ada@example.com", PASSWORD)
        assert create_initial_superuser(email="other@example.com") == ["There is a superuser already: ada@example.com."]
        assert User.objects.count() == 1

    def test_email_option_replaces_the_default(self) -> None:
        assert create_initial_superuser(email="ada@example.com")[0] == "Created the superuser ada@example.com."

    def test_invalid_email_is_refused(self) -> None:
        with pytest.raises(CommandError, match=r"^'ada' is not an e-mail address\. No user was created\.$"):
            create_initial_superuser(email="ada")

    def test_existing_user_is_not_promoted(self) -> None:
        User.objects.create_user("ada@example.com", PASSWORD)
        message = r"^ADA@example\.com exists, but is not an active superuser\. No user was created\. Choose another "
        with pytest.raises(CommandError, match=message):
            create_initial_superuser(email="ADA@example.com")
        assert not User.objects.get().is_superuser


class TestGroups:
    def test_editors_have_all_permissions_and_viewers_view_permissions(self) -> None:
        rights = {
            group.name: {right.codename for right in group.permissions.all()}
            for group in Group.objects.exclude(name__startswith="Backup")
        }
        models = "brand cable device devicemodel devicetype rack rackposition"
        assert rights == {
            "Editors": {f"{verb}_{name}" for name in models.split() for verb in ("add", "change", "delete", "view")},
            "Viewers": {f"view_{name}" for name in models.split()},
        }

    def test_backup_groups_have_permissions_of_ops(self) -> None:
        rights = {
            group.name: {right.codename for right in group.permissions.all()}
            for group in Group.objects.filter(name__startswith="Backup")
        }
        view = {"view_backup", "view_run"}
        operate = {*view, "make_backup", "verify_backup", "pin_backup"}
        assert rights == {
            "Backup viewers": view,
            "Backup operators": operate,
            "Backup restorers": {*operate, "restore_backup"},
        }

    def test_actions_of_superusers_have_no_permission(self) -> None:
        rights = Permission.objects.filter(content_type__app_label="ops").values_list("codename", flat=True)
        assert set(rights) == {
            *("view_backup", "view_run", "make_backup", "verify_backup", "pin_backup", "restore_backup"),
            "delete_backup",
        }

    def test_group_pages_open(self, admin_client: Client) -> None:
        group = Group.objects.get(name="Editors")
        assert b"Editors" in admin_client.get("/admin/auth/group/").content
        assert admin_client.get(f"/admin/auth/group/{group.pk}/change/").status_code == 200


class TestUserPages:
    def test_sign_in_ignores_the_case_of_the_email(self, client: Client) -> None:
        User.objects.create_superuser("ada@example.com", PASSWORD)
        response = client.post("/admin/login/?next=/admin/", {"username": "ADA@Example.com", "password": PASSWORD})
        assert (response.status_code, response["Location"]) == (302, "/admin/")

    def test_sign_in_without_next_redirects_to_the_dashboard(self, client: Client) -> None:
        User.objects.create_superuser("ada@example.com", PASSWORD)
        response = client.post("/admin/login/", {"username": "ada@example.com", "password": PASSWORD})
        assert (response.status_code, response["Location"]) == (302, "/admin/")

    @pytest.mark.parametrize("name", ["", "Ada Lovelace"])
    def test_menu_shows_the_address_once(self, admin_client: Client, name: str) -> None:
        User.objects.update(email="ada@example.com", full_name=name)
        menu = admin_client.get("/admin/password_change/").content.decode()
        assert menu.count("ada@example.com") == 1
        assert name in menu

    def test_add_form_creates_user_with_password_and_group(self, admin_client: Client) -> None:
        form = {
            "email": "zoe@EXAMPLE.com",
            "full_name": "Zoë Lee",
            "password1": PASSWORD,
            "password2": PASSWORD,
            "is_staff": "on",
            "groups": [Group.objects.get(name="Viewers").pk],
        }
        assert admin_client.post("/admin/accounts/user/add/", form).status_code == 302
        user = User.objects.get(email="zoe@example.com")
        assert (user.full_name, user.is_staff, user.is_superuser) == ("Zoë Lee", True, False)
        assert [group.name for group in user.groups.all()] == ["Viewers"]
        assert user.check_password(PASSWORD)

    def test_add_form_refuses_existing_email_in_other_case(self, admin_client: Client) -> None:
        User.objects.create_user("zoe@example.com")
        form = {"email": "Zoe@example.com", "password1": PASSWORD, "password2": PASSWORD}
        response = admin_client.post("/admin/accounts/user/add/", form)
        assert response.context["adminform"].errors == {"__all__": ["A user with this e-mail address exists."]}

    def test_password_form_changes_the_password(self, admin_client: Client) -> None:
        user = User.objects.create_user("zoe@example.com")
        path = f"/admin/accounts/user/{user.pk}/password/"
        assert admin_client.get(path).status_code == 200
        assert admin_client.post(path, {"password1": PASSWORD, "password2": PASSWORD}).status_code == 302
        user.refresh_from_db()
        assert user.check_password(PASSWORD)

    def test_list_shows_roles_and_is_searched_by_name(self, admin_client: Client) -> None:
        user = User.objects.create_user("zoe@example.com", full_name="Zoë Lee")
        user.groups.add(Group.objects.get(name="Editors"))
        User.objects.create_user("new@example.com")
        page = admin_client.get("/admin/accounts/user/").content.decode()
        for text in ("Editors", "Administrator", "No permissions yet"):
            assert text in page
        assert b"new@example.com" not in admin_client.get("/admin/accounts/user/?q=Zo%C3%AB").content

    def test_roles_are_in_the_order_of_the_alphabet(self, admin_client: Client) -> None:
        user = User.objects.create_user("zoe@example.com")
        user.groups.set(Group.objects.create(name=name) for name in ("Zebra", "apple"))
        assert "apple, Zebra" in admin_client.get("/admin/accounts/user/").content.decode()

    def test_add_and_change_pages_open(self, admin_client: Client) -> None:
        user = User.objects.create_user("zoe@example.com")
        assert admin_client.get(f"/admin/accounts/user/{user.pk}/change/").status_code == 200
        assert admin_client.get("/admin/accounts/user/add/").status_code == 200

    def test_pages_are_refused_without_the_permission(self, editor_client: Client) -> None:
        for path in ("accounts/user/", "accounts/user/add/", "auth/group/"):
            assert editor_client.get(f"/admin/{path}").status_code == 403


class TestDates:
    """Pages of Django and of other packages write dates as the pages of `ops` do."""

    @pytest.mark.parametrize(
        "page",
        [
            "admin:accounts_user_changelist",
            "admin:accounts_user_change",
            "admin:accounts_user_history",
            "admin:axes_accessattempt_changelist",
            "admin:axes_accessattempt_change",
        ],
    )
    def test_date_is_in_iso_format(self, sign_in: Callable[..., Client], page: str) -> None:
        client = sign_in(is_superuser=True)
        when = dt.datetime(2026, 3, 7, 16, 5, 9, tzinfo=dt.UTC)
        with time_machine.travel(when, tick=False):
            user = User.objects.create_user("vera@example.com", PASSWORD)
        User.objects.filter(pk=user.pk).update(last_login=when)
        attempt = AccessAttempt.objects.create(username="name:vera", ip_address="192.0.2.1", failures_since_start=1)
        AccessAttempt.objects.update(attempt_time=when)
        keys = {"user": user.pk, "accessattempt": attempt.pk}
        model, _, view = page.rpartition("_")
        arguments = () if view == "changelist" else (keys[model.rpartition("_")[2]],)
        shown = client.get(reverse(page, args=arguments)).content.decode()
        assert "2026-03-07 16:05" in shown
        assert re.findall(r"March 7|Mar\. 7|4:05 p\.m\.", shown) == []
