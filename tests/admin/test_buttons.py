"""Which requests actions accept, and who sees their buttons. tests/security/test_permission_matrix.py has the rest."""

from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from ops.models import Run
from tests.admin.support import add_backup, add_run, text

pytestmark = pytest.mark.django_db

LIST = "/admin/ops/backup/"
ALL_BACKUPS = (
    "make",
    "copy",
    "upload",
    "undo",
    "drop-previous-database",
    "migrate-to-postgresql",
    "migrate-to-sqlite",
    "make-sqlite-file",
    "delete-sqlite-file",
)
ONE_BACKUP = ("verify", "restore-test", "download", "pin", "note", "delete", "restore")
POST_ONLY = ("make", "copy", "make-sqlite-file", "delete-sqlite-file", "verify", "restore-test", "download", "pin")


def url_of(name: str) -> str:
    return f"{LIST}{name}/" if name in ALL_BACKUPS else f"{LIST}{add_backup().pk}/{name}/"


@pytest.mark.parametrize("name", POST_ONLY)
def test_get_is_refused_for_actions_that_change_something(admin_client: Client, name: str) -> None:
    assert admin_client.get(url_of(name)).status_code == 405
    assert not Run.objects.exists()


@pytest.mark.parametrize(
    "name", ["", "upload/", "undo/", "drop-previous-database/", "migrate-to-postgresql/", "migrate-to-sqlite/"]
)
def test_get_of_pages_writes_no_rows(admin_client: Client, name: str) -> None:
    admin_client.get(LIST)
    with CaptureQueriesContext(connection) as captured:
        admin_client.get(LIST + name)
    assert [query["sql"] for query in captured if query["sql"].startswith(("INSERT", "UPDATE", "DELETE"))] == []


@pytest.mark.parametrize("name", [name for name in ALL_BACKUPS + ONE_BACKUP if name != "upload"])
def test_post_without_csrf_token_is_refused(admin_client: Client, name: str) -> None:
    admin_client.handler.enforce_csrf_checks = True
    assert admin_client.post(url_of(name)).status_code == 403
    assert not Run.objects.exists()


def test_upload_without_csrf_token_is_refused(admin_client: Client) -> None:
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


def test_add_change_and_delete_forms_are_refused(admin_client: Client) -> None:
    backup, run = add_backup(), add_run()
    for path in (f"{LIST}{backup.pk}/change/", f"/admin/ops/run/{run.pk}/change/"):
        assert admin_client.post(path, {"who": "mallory"}).status_code == 403
    for path in (f"{LIST}add/", "/admin/ops/run/add/", f"/admin/ops/run/{run.pk}/delete/"):
        assert admin_client.post(path).status_code == 403


def test_download_and_upload_are_shown_to_administrators_only(restorer: Client, admin_client: Client) -> None:
    backup = add_backup()
    for path in (LIST, f"{LIST}{backup.pk}/change/"):
        assert "/download/" not in text(restorer.get(path))
        assert "/download/" in text(admin_client.get(path))
    assert f"{LIST}upload/" not in text(restorer.get(LIST))
    assert f"{LIST}upload/" in text(admin_client.get(LIST))


# --- The empty list -------------------------------------------------------------------------------------------------
def test_empty_list_offers_a_backup(operator: Client, queue: list[str]) -> None:
    page = text(operator.get(LIST))
    assert "No backups yet" in page
    assert f'formaction="{LIST}make/">Back up now</button>' in page
    assert page.count("No backups yet") == 1


def test_empty_list_without_a_worker_names_the_command(operator: Client, settings: Any) -> None:
    settings.OPS_CELERY_APP = ""
    page = text(operator.get(LIST))
    assert 'aria-label="Copy manage.py backup_database"' in page
    assert f'formaction="{LIST}make/"' not in page


def test_empty_list_offers_viewers_nothing(viewer: Client, queue: list[str]) -> None:
    page = text(viewer.get(LIST))
    assert "No backups yet" in page
    assert "Back up now" not in page


def test_list_without_results_of_a_search_does_not_say_that_there_are_none(viewer: Client) -> None:
    add_backup()
    page = text(viewer.get(f"{LIST}?q=nothing"))
    assert "No backups yet" not in page
    assert "No backups match" in page


# --- Buttons that lead to 403 ---------------------------------------------------------------------------------------
def test_restore_of_an_upload_is_offered_to_administrators_only(restorer: Client, admin_client: Client) -> None:
    upload = add_backup(origin="upload", manifest={"untrusted": True, "tables": {}, "migrations": []})
    url = f"{LIST}{upload.pk}/restore/"
    for page in (LIST, f"{LIST}{upload.pk}/change/"):
        assert url not in text(restorer.get(page))
        assert url in text(admin_client.get(page))
    assert restorer.get(url).status_code == 403
