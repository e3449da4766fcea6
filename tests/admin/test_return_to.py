"""After each action users are where they expect: on the page on which they began it, with its filters."""

import html
import re
from typing import Any
from urllib.parse import quote

import pytest
from django.test import Client
from django.utils import timezone

from ops.models import Backup, Run
from ops.runs import index
from ops.runs.context import repository_from_settings
from tests.admin.support import add_backup, messages_of, text
from tests.backups import factories

pytestmark = pytest.mark.django_db(transaction=True)
LIST = "/admin/ops/backup/"
FILTERED = f"{LIST}?origin=manual&q=homerack&p=0"


def stored_backup(**values: Any) -> Backup:
    record = factories.backup(repository_from_settings(), taken_at=timezone.now(), **values)
    index.write_backup(record)
    return Backup.objects.get(name=record.name)


def page_of(backup: Backup) -> str:
    return f"{LIST}{backup.pk}/change/"


def button_of(page: str, action: str) -> str:
    """The URL of the button or link of an action."""
    found = re.findall(rf'(?:formaction|href|action)="([^"]*/{action}/[^"]*)"', page)
    assert found, action
    return html.unescape(found[0])


@pytest.mark.parametrize("start", ["list", "page"])
@pytest.mark.parametrize(
    ("action", "data", "message"),
    [
        ("pin", {"set": "yes"}, "is pinned."),
        ("note", {"note": "before the move"}, "The note was saved."),
        ("delete", {}, "was deleted."),
    ],
)
def test_user_returns_to_the_start_after_a_change(
    admin_client: Client, start: str, action: str, data: dict[str, str], message: str
) -> None:
    older = stored_backup()
    stored_backup()
    begin = FILTERED if start == "list" else page_of(older)
    url = next(
        html.unescape(found)
        for found in re.findall(rf'"([^"]*/{older.pk}/{action}/[^"]*)"', admin_client.get(begin).content.decode())
    )
    answer = admin_client.post(url, data)
    (shown,) = messages_of(answer)
    assert shown.endswith(message)
    assert answer.url == (LIST if (start, action) == ("page", "delete") else begin)


def test_deletion_on_a_page_returns_to_the_filtered_list_it_was_opened_from(admin_client: Client) -> None:
    older = stored_backup()
    stored_backup()
    filters = "origin=manual&q=homerack"
    page = text(admin_client.get(f"{page_of(older)}?_changelist_filters={quote(filters)}"))
    assert admin_client.post(button_of(page, "delete")).url == f"{LIST}?{filters}"


@pytest.mark.parametrize("start", [FILTERED, "page"])
@pytest.mark.parametrize("action", ["verify", "restore-test"])
def test_user_stays_when_there_is_no_worker(admin_client: Client, settings: Any, start: str, action: str) -> None:
    settings.OPS_CELERY_APP = ""
    backup = add_backup()
    begin = page_of(backup) if start == "page" else start
    answer = admin_client.post(button_of(text(admin_client.get(begin)), action))
    (shown,) = messages_of(answer)
    assert shown.startswith("The site has no worker.")
    assert answer.url == begin


@pytest.mark.parametrize("action", ["verify", "restore-test"])
def test_queued_run_is_shown(admin_client: Client, queue: list[str], action: str) -> None:
    add_backup()
    answer = admin_client.post(button_of(text(admin_client.get(LIST)), action))
    assert answer.url == f"/admin/ops/run/{Run.objects.get().pk}/change/"
    assert queue


@pytest.mark.parametrize("name", ["note", "delete"])
def test_back_leads_to_a_page_of_the_backup_or_the_list(admin_client: Client, name: str) -> None:
    older = stored_backup()
    stored_backup()
    page = text(admin_client.get(f"{LIST}{older.pk}/{name}/"))
    assert page_of(older) in page


@pytest.mark.parametrize("start", ["/admin/", FILTERED])
def test_back_up_now_without_a_worker_stays(admin_client: Client, settings: Any, start: str) -> None:
    settings.OPS_CELERY_APP = ""
    add_backup()
    answer = admin_client.post(button_of(text(admin_client.get(start)), "make"))
    assert answer.url == ("/admin/" if start == "/admin/" else LIST)


@pytest.mark.parametrize(
    "page", ["https://evil.example/admin/", "//evil.example/admin/", "/logout", "javascript:alert(1)"]
)
def test_other_pages_are_not_returned_to(admin_client: Client, page: str) -> None:
    backup = stored_backup()
    answer = admin_client.post(f"{LIST}{backup.pk}/pin/?next={quote(page)}", {"set": "yes"})
    assert answer.url == page_of(backup)
