"""Who may do what: every action checks for itself, and buttons are for those who may press them."""

from collections.abc import Callable

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from ops.console import deeds
from ops.errors import PreconditionFailed
from ops.models import Run
from tests.console.support import add_backup, add_run, text

pytestmark = pytest.mark.django_db

LIST = "/admin/ops/backup/"
OF_ALL = ("make", "upload", "undo", "let-go", "to-postgresql")
OF_ONE = ("verify", "drill", "download", "keep", "note", "delete", "restore")
POST_ONLY = ("make", "verify", "drill", "download", "keep")
MAY = {
    "Backup viewers": set(),
    "Backup operators": {"make", "verify", "drill", "keep", "note"},
    "Backup restorers": {"make", "verify", "drill", "keep", "note", "restore", "undo", "let-go"},
}


def address(name: str) -> str:
    return f"{LIST}{name}/" if name in OF_ALL else f"{LIST}{add_backup().pk}/{name}/"


@pytest.fixture
def nothing_to_work_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is done at once would leave rows behind: a run writes them on a connection of its own."""

    def refuse() -> None:
        raise PreconditionFailed("There is no site.")

    monkeypatch.setattr(deeds, "current_site", refuse)


@pytest.mark.parametrize("group", MAY)
@pytest.mark.parametrize("name", OF_ALL + OF_ONE)
@pytest.mark.usefixtures("queue", "nothing_to_work_on")
def test_each_group_may_do_what_it_is_for(sign_in: Callable[..., Client], group: str, name: str) -> None:
    answer = sign_in(group).post(address(name))
    assert (answer.status_code != 403) is (name in MAY[group])


@pytest.mark.parametrize("name", OF_ALL + OF_ONE)
def test_others_of_the_staff_may_do_nothing(viewer_client: Client, name: str) -> None:
    assert viewer_client.post(address(name)).status_code == 403
    assert not Run.objects.exists()


@pytest.mark.parametrize("name", OF_ALL + OF_ONE)
def test_strangers_are_asked_to_sign_in(client: Client, name: str) -> None:
    answer = client.post(address(name))
    assert answer.status_code == 302
    assert answer.headers["Location"].startswith("/admin/login/")


@pytest.mark.parametrize("name", POST_ONLY)
def test_a_link_does_nothing(admin_client: Client, name: str) -> None:
    assert admin_client.get(address(name)).status_code == 405
    assert not Run.objects.exists()


@pytest.mark.parametrize("name", ["", "upload/", "undo/", "let-go/", "to-postgresql/"])
def test_looking_writes_nothing(admin_client: Client, name: str) -> None:
    admin_client.get(LIST)
    with CaptureQueriesContext(connection) as captured:
        admin_client.get(LIST + name)
    assert [query["sql"] for query in captured if query["sql"].startswith(("INSERT", "UPDATE", "DELETE"))] == []


@pytest.mark.parametrize("name", [name for name in OF_ALL + OF_ONE if name != "upload"])
def test_a_post_needs_its_token(admin_client: Client, name: str) -> None:
    admin_client.handler.enforce_csrf_checks = True
    assert admin_client.post(address(name)).status_code == 403
    assert not Run.objects.exists()


def test_an_upload_needs_its_token_too(admin_client: Client) -> None:
    admin_client.handler.enforce_csrf_checks = True
    assert admin_client.post(f"{LIST}upload/").status_code == 403


def test_viewers_see_no_buttons(viewer: Client) -> None:
    backup, run = add_backup(), add_run(status="running")
    for path in (LIST, f"{LIST}{backup.pk}/change/", f"/admin/ops/run/{run.pk}/change/"):
        page = text(viewer.get(path))
        assert '<button class="ops-' not in page
        assert '<a class="ops-button' not in page
        assert "ops-icon-button" not in page
        assert "/cancel/" not in page


def test_nobody_edits_or_adds_by_a_form(admin_client: Client) -> None:
    backup, run = add_backup(), add_run()
    for path in (f"{LIST}{backup.pk}/change/", f"/admin/ops/run/{run.pk}/change/"):
        assert admin_client.post(path, {"who": "mallory"}).status_code == 403
    for path in (f"{LIST}add/", "/admin/ops/run/add/", f"/admin/ops/run/{run.pk}/delete/"):
        assert admin_client.post(path).status_code == 403
