"""People and groups: the first administrator, the console's pages, the two groups."""

from io import StringIO

import pytest
from django.contrib.auth.models import Group, Permission
from django.core.management import CommandError, call_command
from django.test import Client

from homerack.accounts.models import User

pytestmark = pytest.mark.django_db
PASSWORD = "a long enough passphrase"


def ensure(**options: str) -> list[str]:
    out = StringIO()
    call_command("ensure_administrator", stdout=out, **options)
    return out.getvalue().splitlines()


class TestEnsureAdministrator:
    def test_it_makes_the_first_and_says_the_password_once(self) -> None:
        made, password, note = ensure()
        assert made == "Made the administrator admin@homerack.local."
        assert note == "Write it down: it is not shown again."
        user = User.objects.get()
        assert (user.is_superuser, user.is_staff, user.is_active) == (True, True, True)
        assert user.check_password(password.removeprefix("Password: "))

    def test_it_changes_nothing_when_there_is_one(self) -> None:
        User.objects.create_superuser("ada@example.com", PASSWORD)
        assert ensure(email="other@example.com") == ["The administrator is ada@example.com."]
        assert User.objects.count() == 1

    def test_it_takes_another_address(self) -> None:
        assert ensure(email="ada@example.com")[0] == "Made the administrator ada@example.com."

    def test_it_refuses_what_is_no_address(self) -> None:
        with pytest.raises(CommandError, match=r"^'ada' is no e-mail address\. Nobody was made\.$"):
            ensure(email="ada")

    def test_it_promotes_nobody(self) -> None:
        User.objects.create_user("ada@example.com", PASSWORD)
        message = r"^ADA@example\.com exists and is no active administrator\. Name another address with --email\.$"
        with pytest.raises(CommandError, match=message):
            ensure(email="ADA@example.com")
        assert not User.objects.get().is_superuser


class TestGroups:
    def test_editors_do_everything_and_viewers_look(self) -> None:
        rights = {
            group.name: {right.codename for right in group.permissions.all()}
            for group in Group.objects.exclude(name__startswith="Backup")
        }
        models = "brand cable dcimconnection device devicemodel devicespecification devicetype rack rackposition"
        assert rights == {
            "Editors": {f"{verb}_{name}" for name in models.split() for verb in ("add", "change", "delete", "view")},
            "Viewers": {f"view_{name}" for name in models.split()},
        }

    def test_who_may_do_what_with_backups(self) -> None:
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

    def test_no_group_can_be_given_what_administrators_alone_do(self) -> None:
        rights = Permission.objects.filter(content_type__app_label="ops").values_list("codename", flat=True)
        assert set(rights) == {
            *("view_backup", "view_run", "make_backup", "verify_backup", "pin_backup", "restore_backup"),
            "delete_backup",
        }

    def test_they_have_pages(self, admin_client: Client) -> None:
        group = Group.objects.get(name="Editors")
        assert b"Editors" in admin_client.get("/admin/auth/group/").content
        assert admin_client.get(f"/admin/auth/group/{group.pk}/change/").status_code == 200


class TestPages:
    def test_somebody_signs_in_with_an_address_in_any_case(self, client: Client) -> None:
        User.objects.create_superuser("ada@example.com", PASSWORD)
        response = client.post("/admin/login/?next=/admin/", {"username": "ADA@Example.com", "password": PASSWORD})
        assert (response.status_code, response["Location"]) == (302, "/admin/")

    def test_who_signs_in_without_a_way_to_go_comes_to_the_console(self, client: Client) -> None:
        User.objects.create_superuser("ada@example.com", PASSWORD)
        response = client.post("/admin/login/", {"username": "ada@example.com", "password": PASSWORD})
        assert (response.status_code, response["Location"]) == (302, "/admin/")

    def test_a_person_is_made_with_address_password_and_group(self, admin_client: Client) -> None:
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

    def test_an_address_is_taken_once(self, admin_client: Client) -> None:
        User.objects.create_user("zoe@example.com")
        form = {"email": "Zoe@example.com", "password1": PASSWORD, "password2": PASSWORD}
        response = admin_client.post("/admin/accounts/user/add/", form)
        assert response.context["adminform"].errors == {"__all__": ["A user with this e-mail address exists."]}

    def test_a_password_is_changed(self, admin_client: Client) -> None:
        user = User.objects.create_user("zoe@example.com")
        path = f"/admin/accounts/user/{user.pk}/password/"
        assert admin_client.get(path).status_code == 200
        assert admin_client.post(path, {"password1": PASSWORD, "password2": PASSWORD}).status_code == 302
        user.refresh_from_db()
        assert user.check_password(PASSWORD)

    def test_the_list_shows_roles_and_is_searched(self, admin_client: Client) -> None:
        user = User.objects.create_user("zoe@example.com", full_name="Zoë Lee")
        user.groups.add(Group.objects.get(name="Editors"))
        User.objects.create_user("new@example.com")
        page = admin_client.get("/admin/accounts/user/").content.decode()
        for text in ("Editors", "Administrator", "No rights yet"):
            assert text in page
        assert b"new@example.com" not in admin_client.get("/admin/accounts/user/?q=Zo%C3%AB").content

    def test_the_page_of_a_person_opens(self, admin_client: Client) -> None:
        user = User.objects.create_user("zoe@example.com")
        assert admin_client.get(f"/admin/accounts/user/{user.pk}/change/").status_code == 200
        assert admin_client.get("/admin/accounts/user/add/").status_code == 200

    def test_those_without_the_right_see_no_people(self, editor_client: Client) -> None:
        for path in ("accounts/user/", "accounts/user/add/", "auth/group/"):
            assert editor_client.get(f"/admin/{path}").status_code == 403
