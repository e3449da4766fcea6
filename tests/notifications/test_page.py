"""The page of notifications: tests of targets, and their changes."""

import html
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyrage
import pytest
from django.http import HttpResponse
from django.test import Client

from ops import stored_settings
from ops.admin.notifications import EXAMPLES, id_of
from ops.backups.encryption import AgeKeys
from ops.backups.storage.atomic_files import AtomicFiles
from ops.models import Run
from ops.notifications.channels import require_target
from tests.admin.support import messages_of, text
from tests.notifications.conftest import Receiver

PAGE = "/admin/ops/backup/notifications/"
CANARY = "geheim77"


@pytest.fixture(autouse=True)
def own_storage(storage: Path, settings: Any) -> None:
    settings.BACKUP_AGE_IDENTITY = str(pyrage.x25519.Identity.generate())
    settings.NOTIFY_URLS, settings.HEARTBEAT_URL, settings.OPS_SETTING_SOURCES = [], "", {}


@pytest.fixture
def administrator(sign_in: Callable[..., Client]) -> Client:
    return sign_in(is_superuser=True)


@pytest.fixture
def url(receiver: Receiver) -> str:
    return f"json://someone:{CANARY}@{receiver.host}/{CANARY}"


def post(client: Client, action: str, **fields: str) -> HttpResponse:
    return client.post(PAGE, {"action": action, **fields})


def rows(shown: str) -> list[str]:
    """The text of each target."""
    found = re.findall(r"<li>\s*<span class=\"material.*?</li>", shown, re.DOTALL)
    return [" ".join(re.sub(r"<[^>]+>", " ", row).split()) for row in found]


def test_target_is_added_shown_without_its_address_and_removed_after_a_question(
    administrator: Client, receiver: Receiver, url: str
) -> None:
    answer = post(administrator, "add", url=url)
    assert messages_of(answer) == ["Added: json at 127.0.0.1."]
    assert stored_settings.notify_urls() == (url,)
    shown = text(administrator.get(PAGE))
    assert rows(shown) == ["send json at 127.0.0.1 Send test to json at 127.0.0.1 Remove… json at 127.0.0.1"]

    asked = text(administrator.get(PAGE, {"remove": id_of(url)}))
    assert "Remove json at 127.0.0.1?" in asked
    assert stored_settings.notify_urls() == (url,)
    assert messages_of(post(administrator, "remove", target=id_of(url))) == ["Removed: json at 127.0.0.1."]
    assert stored_settings.notify_urls() == ()
    assert "There is no target, so nothing is sent." in text(administrator.get(PAGE))
    assert receiver.requests == []


@pytest.mark.parametrize("page", [PAGE, "/admin/ops/backup/settings/"])
def test_page_reads_the_stored_settings_once_and_decrypts_them_once(
    administrator: Client, receiver: Receiver, url: str, page: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    post(administrator, "add", url=url)
    post(administrator, "add", url=f"http://{receiver.host}/beat", kind="HEARTBEAT_URL")
    called: list[str] = []
    for owner, name in ((AtomicFiles, "document"), (AgeKeys, "decrypt")):
        method = getattr(owner, name)

        def counted(self: Any, *arguments: Any, _method: Any = method) -> Any:
            called.extend({stored_settings.FILE} & {*arguments})
            return _method(self, *arguments)

        monkeypatch.setattr(owner, name, counted)
    shown = text(administrator.get(page))
    assert "json at 127.0.0.1" in shown
    assert "http at 127.0.0.1" in shown
    assert called == [stored_settings.FILE] * 2


def test_each_target_is_tested_alone_and_its_answer_is_next_to_it(
    administrator: Client, receiver: Receiver, url: str
) -> None:
    post(administrator, "add", url=url)
    post(administrator, "add", url=f"json://{receiver.host}/other")
    post(administrator, "add", url=f"http://{receiver.host}/beat", kind="HEARTBEAT_URL")
    receiver.status = 418
    shown = text(post(administrator, "test", target=id_of(url)))
    assert ["Failed." in row for row in rows(shown)] == [True, False, False]
    assert "418" in rows(shown)[0]
    receiver.status = 200
    shown = text(post(administrator, "test", target=id_of(f"http://{receiver.host}/beat")))
    assert ["Accepted." in row for row in rows(shown)] == [False, False, True]
    assert sorted(receiver.paths) == ["/beat", f"/{CANARY}"]


def test_all_targets_are_tested_at_once(administrator: Client, receiver: Receiver, url: str) -> None:
    post(administrator, "add", url=url)
    post(administrator, "add", url=f"http://{receiver.host}/beat", kind="HEARTBEAT_URL")
    shown = text(post(administrator, "test"))
    assert ["Accepted." in row for row in rows(shown)] == [True, True]
    assert len(receiver.requests) == 2


@pytest.mark.parametrize(("kind", "scheme"), [("NOTIFY_URLS", "json"), ("HEARTBEAT_URL", "http")])
def test_address_is_tested_before_it_is_saved_and_need_not_be_entered_again(
    administrator: Client, receiver: Receiver, kind: str, scheme: str
) -> None:
    url = f"{scheme}://{receiver.host}/{CANARY}"
    shown = text(post(administrator, "try", url=url, kind=kind))
    assert f"The address ({scheme} at 127.0.0.1) is not saved yet." in shown
    assert "<b>Accepted.</b>" in shown
    assert receiver.paths == [f"/{CANARY}"]
    assert stored_settings.secret(kind).source == "default"
    sealed = re.search(r'name="sealed" value="([^"]+)"', shown)
    assert sealed
    assert CANARY not in shown

    assert messages_of(post(administrator, "add", sealed=sealed[1], kind=kind)) == [f"Added: {scheme} at 127.0.0.1."]
    assert stored_settings.secret(kind).value == ([url] if kind == "NOTIFY_URLS" else url)
    assert len(receiver.requests) == 1


def test_sealed_address_is_of_one_user_one_kind_and_one_hour(
    administrator: Client, sign_in: Callable[..., Client], url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sealed = re.search(r'name="sealed" value="([^"]+)"', text(post(administrator, "try", url=url)))
    assert sealed
    other = sign_in("Viewers", is_superuser=True)
    assert "Enter an address." in text(post(other, "add", sealed=sealed[1]))
    assert "Enter an address." in text(post(administrator, "add", sealed=sealed[1], kind="HEARTBEAT_URL"))
    assert "Enter an address." in text(post(administrator, "add", sealed=sealed[1] + "x"))
    monkeypatch.setattr("django.core.signing.time.time", lambda: 4e9)
    assert "Enter an address." in text(post(administrator, "add", sealed=sealed[1]))
    assert stored_settings.notify_urls() == ()


@pytest.mark.parametrize("action", ["add", "try"])
@pytest.mark.parametrize(
    ("kind", "url", "fault"),
    [
        ("NOTIFY_URLS", "", "Enter an address."),
        ("NOTIFY_URLS", f"nosuchservice://{CANARY}", "This is not the address of a service that apprise knows."),
        ("HEARTBEAT_URL", f"json://{CANARY}", "This is not a web address."),
        ("HEARTBEAT_URL", f"https://lab.example.org/{CANARY * 300}", "Ensure this value has at most 2000 characters"),
    ],
)
def test_wrong_address_is_an_error_at_the_field(
    administrator: Client, receiver: Receiver, action: str, kind: str, url: str, fault: str
) -> None:
    shown = text(post(administrator, action, url=url, kind=kind))
    errors = re.findall(rf'<p class="ops-error" role="alert" id="id_{kind.lower()}_url_error">([^<]*)', shown)
    assert len(errors) == 1
    assert fault in errors[0]
    assert receiver.requests == []
    assert not Run.objects.exists()


def test_target_is_not_added_twice(administrator: Client, url: str) -> None:
    post(administrator, "add", url=url)
    assert "This target is in the list already." in text(post(administrator, "add", url=url))
    assert Run.objects.count() == 1


def test_address_is_in_no_page_log_history_or_file(
    administrator: Client,
    receiver: Receiver,
    url: str,
    storage: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Whatever is done with it: also while its service answers with it, and while the storage refuses it."""
    receiver.status, receiver.answer = 500, f"unknown key {CANARY}".encode()
    pages = [post(administrator, "try", url=url), post(administrator, "add", url=url), administrator.get(PAGE)]
    pages += [post(administrator, "test"), administrator.get(PAGE, {"remove": id_of(url)})]
    (run,) = Run.objects.all()
    pages += [administrator.get(f"/admin/ops/run/{run.pk}/change/"), administrator.get("/admin/ops/run/")]
    (storage / "settings.json").unlink()
    (storage / "settings.json").mkdir()
    pages += [post(administrator, "add", url=url)]
    files = [path.read_text() for path in storage.rglob("*") if path.is_file()]
    shown = [html.unescape(page.content.decode()) for page in pages]
    # That of apprise goes nowhere.
    logged = [record.getMessage() for record in caplog.records if record.name != "apprise"]
    for place in (*shown, *files, *logged, str(capfd.readouterr()), str(Run.objects.values_list())):
        assert CANARY not in place
    assert CANARY in str(receiver.requests)


def test_change_is_recorded_with_the_name_of_the_user(administrator: Client, url: str) -> None:
    post(administrator, "add", url=url)
    run = Run.objects.get()
    assert (run.kind, run.status, run.requested_by) == ("settings", "succeeded", "nobody@example.com")
    shown = text(administrator.get(f"/admin/ops/run/{run.pk}/change/"))
    assert "Targets of notifications: json at 127.0.0.1, before none." in shown
    assert "/admin/ops/run/?kind__exact=settings" in text(administrator.get(PAGE))


def test_targets_of_the_project_are_fixed(administrator: Client, settings: Any, url: str, receiver: Receiver) -> None:
    settings.NOTIFY_URLS, settings.OPS_SETTING_SOURCES = [url], {"NOTIFY_URLS": "file .env"}
    shown = text(administrator.get(PAGE))
    assert rows(shown) == ["send json at 127.0.0.1 Send test to json at 127.0.0.1"]
    assert "File .env: NOTIFY_URLS. Change them there and restart the site" in shown
    assert "Add a target" not in shown
    refused = text(post(administrator, "add", url="json://lab.example.org"))
    assert "File .env" in refused
    (message,) = messages_of(post(administrator, "remove", target=id_of(url)))
    assert message.startswith("NOTIFY_URLS is set in the file .env. Nothing was changed.")
    assert "Accepted." in text(post(administrator, "test", target=id_of(url)))


def test_page_without_a_key_says_what_to_set_and_still_tests(
    administrator: Client, settings: Any, receiver: Receiver, url: str
) -> None:
    settings.BACKUP_AGE_IDENTITY = ""
    shown = text(administrator.get(PAGE))
    assert "this machine has no key. Set BACKUP_AGE_IDENTITY" in shown
    assert 'value="add"' not in shown
    assert "<b>Accepted.</b>" in text(post(administrator, "try", url=url))
    assert "BACKUP_AGE_IDENTITY" in text(post(administrator, "add", url=url))
    assert not Run.objects.exists()


def test_targets_that_no_key_opens_are_reported(administrator: Client, settings: Any, url: str) -> None:
    post(administrator, "add", url=url)
    settings.BACKUP_AGE_IDENTITY = str(pyrage.x25519.Identity.generate())
    assert "No notification is sent to the targets in it." in text(administrator.get(PAGE))


def test_no_target_replaces_a_file_that_is_ignored(administrator: Client, storage: Path, url: str) -> None:
    post(administrator, "add", url=url)
    (storage / "settings.json").write_text("{}")
    assert "No target can be added before that file is replaced" in text(administrator.get(PAGE))
    assert "Save the page of settings first." in text(post(administrator, "add", url=url))
    assert (storage / "settings.json").read_text() == "{}"


def test_target_that_is_gone_is_not_removed_again(administrator: Client) -> None:
    gone = "This target is not in the list any more."
    assert messages_of(post(administrator, "remove", target="gone")) == [gone]
    assert set(messages_of(administrator.get(PAGE, {"remove": "gone"}))) == {gone}


@pytest.mark.parametrize("method", ["get", "post"])
def test_page_is_forbidden_without_superuser_status(editor_client: Client, url: str, method: str) -> None:
    assert getattr(editor_client, method)(PAGE, {"action": "add", "url": url}).status_code == 403
    assert stored_settings.notify_urls() == ()


def test_form_without_csrf_token_sends_nothing(administrator: Client, receiver: Receiver, url: str) -> None:
    administrator.handler.enforce_csrf_checks = True
    assert post(administrator, "try", url=url).status_code == 403
    assert receiver.requests == []


@pytest.mark.parametrize(("service", "example"), EXAMPLES)
def test_example_is_an_address_that_apprise_knows(service: str, example: str) -> None:
    require_target(example)
