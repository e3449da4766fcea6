"""Rights on the page of a restore, and who may confirm it. tests/operations has the same for both engines."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission
from django.db import DatabaseError
from django.test import Client

from homerack.accounts.models import User
from ops.admin import restore
from ops.backups.rights import accounts
from ops.models import Backup, Run
from ops.operations import restore_rights as rights
from ops.runs.context import get_context
from ops.utils.shell_commands import show_command
from tests.admin.support import text
from tests.admin.test_backup_actions import LIST, PASSWORD, back_up

pytestmark = pytest.mark.django_db(transaction=True)
ONLY = "Only an administrator can confirm this"
LONG_NAME = "<b>eve</b>@example.com"


@pytest.fixture
def restorer(queue: list[str]) -> Client:
    # Groups of the migrations are gone after a test that flushes.
    group, _ = Group.objects.get_or_create(name="Backup restorers")
    group.permissions.set(Permission.objects.filter(content_type__app_label="ops"))
    user = User.objects.create_user("rita@example.com", PASSWORD, is_staff=True)
    user.groups.add(group)
    client = Client()
    client.force_login(user)
    return client


def confirm(client: Client, backup: Backup) -> int:
    form = {"database": get_context().engine.database, "password": PASSWORD}
    return client.post(f"{LIST}{backup.pk}/restore/", form).status_code


def page_of(client: Client, backup: Backup) -> str:
    return " ".join(text(client.get(f"{LIST}{backup.pk}/restore/")).split())


def test_restore_is_confirmed_by_restorer_when_no_rights_are_raised(restorer: Client, queue: list[str]) -> None:
    backup = back_up()
    page = page_of(restorer, backup)
    assert "No user will get more permissions. No password will change." in page
    assert ONLY not in page
    assert confirm(restorer, backup) == 302
    assert len(queue) == 1


def test_forged_confirmation_is_refused_before_the_password_is_checked(
    restorer: Client, queue: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    User.objects.create_superuser("eve@example.com", PASSWORD)
    backup = back_up()
    User.objects.filter(email="eve@example.com").update(is_superuser=False)

    def fail(*_arguments: object) -> bool:
        raise AssertionError("A password was checked.")

    monkeypatch.setattr(User, "check_password", fail)
    for confirmation in ({}, {"password": PASSWORD}, {"database": "x", "password": "wrong"}):
        assert restorer.post(f"{LIST}{backup.pk}/restore/", confirmation).status_code == 403, confirmation
    assert queue == []
    assert not Run.objects.filter(kind="restore").exists()


def test_names_are_escaped_and_long_lists_are_collapsed(restorer: Client) -> None:
    User.objects.create_superuser(LONG_NAME, PASSWORD)
    for number in range(12):
        User.objects.create_user(f"user{number:02}@example.com", PASSWORD)
    backup = back_up()
    User.objects.filter(email=LONG_NAME).update(is_superuser=False)
    User.objects.filter(email__startswith="user").update(password="!")
    page = restorer.get(f"{LIST}{backup.pk}/restore/").content.decode()
    assert "&lt;b&gt;eve&lt;/b&gt;@example.com: all permissions (superuser)" in page
    assert LONG_NAME not in page
    assert "<b>12 users will get different passwords:</b> user00@example.com, " in page
    assert "user09@example.com and 2 more</summary>user10@example.com, user11@example.com</details>" in page


def test_only_administrator_confirms_when_live_rights_are_unreadable(
    restorer: Client, queue: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    backup = back_up()
    User.objects.create_superuser("ada@example.com", PASSWORD)
    ada = Client()
    ada.force_login(User.objects.get(email="ada@example.com"))

    class Broken:
        introspection: Any = None

        def cursor(self) -> None:
            raise DatabaseError("could not read block 0")

    monkeypatch.setattr(accounts, "connection", Broken())
    for client, may in ((restorer, False), (ada, True)):
        page = page_of(client, backup)
        assert "The permissions could not be compared: the live database is unreachable (DatabaseError)." in page
        assert (ONLY in page) is not may
        assert (confirm(client, backup) == 302) is may
    assert len(queue) == 1


def test_rights_of_large_backup_are_left_to_the_run(
    restorer: Client, queue: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    User.objects.create_superuser("eve@example.com", PASSWORD)
    backup = back_up()
    User.objects.filter(email="eve@example.com").update(is_superuser=False)
    monkeypatch.setattr(restore, "MAX_PREVIEW_SIZE", 1)
    page = page_of(restorer, backup)
    assert "If a user would get more, it stops, unless an administrator started it." in page
    command = show_command(f"manage.py restore_database {backup.name}")
    assert f"To see which permissions change, run: {command}" in page
    assert confirm(restorer, backup) == 302
    assert len(queue) == 1


def test_restore_of_damaged_backup_is_not_queued(restorer: Client, queue: list[str], storage: Path) -> None:
    backup = back_up()
    (storage / backup.name).write_bytes(b"short")
    assert confirm(restorer, backup) == 200
    assert queue == []


@pytest.mark.parametrize(
    ("changes", "is_one"),
    [
        ({}, True),
        ({"is_active": False}, False),
        ({"is_superuser": False}, False),
        ({"email": "other@example.com"}, False),
    ],
)
def test_is_administrator_needs_active_superuser_with_exact_name(
    make_user: Callable[..., None], changes: dict[str, Any], is_one: bool
) -> None:
    make_user(**changes)
    assert rights.is_administrator("admin@example.com") is is_one
    assert not rights.is_administrator("Admin@example.com")
    assert not rights.is_administrator("adm\u0131n@example.com")


@pytest.fixture
def make_user() -> Callable[..., None]:
    def make(**changes: Any) -> None:
        User.objects.create_superuser("admin@example.com", PASSWORD)
        User.objects.update(**changes)

    return make
