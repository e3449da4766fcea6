"""The pages of recovery kits: the key is in one answer, and nowhere else."""

import re
from pathlib import Path
from typing import Any

import pytest
import time_machine
from django.core.cache import cache
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from homerack.accounts.models import User
from ops.admin import recovery_kits
from ops.backups.encryption import AgeKeys, new_identity, recipient_of
from ops.backups.recovery_kit import PROOF_INTERVAL
from ops.keys import recovery_kits_from_settings
from ops.models import Run
from ops.runs.context import get_context
from tests.admin.support import add_backup, messages_of, text

pytestmark = pytest.mark.django_db(transaction=True)

PAGE = "/admin/ops/backup/recovery-kits/"
CREATE = "/admin/ops/backup/create-recovery-kit/"
PROVE = "/admin/ops/backup/prove-recovery-kit/"
WITHDRAW = "/admin/ops/backup/withdraw-recovery-kit/"
PASSWORD = "a long passphrase"
KEY = re.compile(r"AGE-SECRET-KEY-1[0-9A-Z]{58}")


@pytest.fixture(autouse=True)
def keys(settings: Any) -> None:
    settings.BACKUP_SIGNING_KEY = "signs the backups of this installation"
    settings.BACKUP_AGE_IDENTITY = [new_identity()]


@pytest.fixture
def administrator() -> Client:
    user = User.objects.create_superuser("ada@example.com", PASSWORD)
    client = Client()
    client.force_login(user)
    return client


def hidden(page: str, name: str) -> str:
    found = re.search(rf'<input type="hidden" name="{name}" value="([^"]+)"', page)
    assert found, page
    return found[1]


def create(client: Client) -> str:
    """The page of a new kit."""
    form = {"run": hidden(text(client.get(PAGE)), "run"), "password": PASSWORD}
    return text(client.post(CREATE, form))


def key_of(page: str) -> str:
    (key,) = set(KEY.findall(page))
    return key


def test_new_kit_is_shown_once_and_not_cached(administrator: Client) -> None:
    form = {"run": hidden(text(administrator.get(PAGE)), "run"), "password": PASSWORD}
    answer = administrator.post(CREATE, form)
    key = key_of(text(answer))
    assert "no-store" in answer["Cache-Control"]
    (kit,) = recovery_kits_from_settings().read()
    assert kit.recipient == recipient_of(key)
    assert kit.created_by == "ada@example.com"
    again = administrator.post(CREATE, form)
    assert again.status_code == 302
    assert messages_of(again)[-1].startswith("This kit was shown already")
    assert len(recovery_kits_from_settings().read()) == 1
    assert KEY.findall(text(administrator.get(PAGE))) == []


def test_key_is_in_no_row_session_file_or_log(
    administrator: Client, storage: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    key = key_of(create(administrator))
    (run,) = Run.objects.all()
    assert (run.kind, run.status, run.arguments) == ("recovery_kit", "succeeded", {"recipient": recipient_of(key)})
    files = "".join(path.read_text(errors="replace") for path in storage.rglob("*") if path.is_file())
    rows = str(Run.objects.values())
    session = str(dict(administrator.session))
    for stored in (files, rows, session, caplog.text, str(getattr(cache, "_cache", ""))):
        assert key not in stored
    assert recipient_of(key) in files


def test_page_of_a_kit_needs_no_script_and_no_other_file(administrator: Client) -> None:
    page = create(administrator)
    assert "<script" not in page
    assert not re.findall(r"""(?:src|url\(|@import|href="http)""", page)
    assert re.findall(r' on[a-z]+="', page) == []
    assert page.count("<svg") == 2


@pytest.mark.parametrize("password", ["", "wrong"])
def test_kit_needs_the_password(administrator: Client, password: str) -> None:
    form = {"run": hidden(text(administrator.get(PAGE)), "run"), "password": password}
    page = text(administrator.post(CREATE, form))
    assert KEY.findall(page) == []
    assert recovery_kits_from_settings().read() == ()


def test_kit_without_a_signing_key_is_refused(administrator: Client, settings: Any) -> None:
    settings.BACKUP_SIGNING_KEY = ""
    page = text(administrator.get(PAGE))
    assert "SECRET_KEY signs backups. It is in no recovery kit" in page
    assert 'name="password"' not in page
    run = "0" * 8 + "-0000-0000-0000-" + "0" * 12
    refused = administrator.post(CREATE, {"run": run, "password": PASSWORD})
    assert messages_of(refused)[-1].startswith("SECRET_KEY signs backups.")
    assert recovery_kits_from_settings().read() == ()


@pytest.mark.parametrize("run", ["", "x", "'"])
def test_form_without_a_valid_run_makes_nothing(administrator: Client, run: str) -> None:
    assert administrator.post(CREATE, {"run": run, "password": PASSWORD}).status_code == 302
    assert recovery_kits_from_settings().read() == ()


def test_kit_is_refused_while_another_operation_runs(administrator: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    form = {"run": hidden(text(administrator.get(PAGE)), "run"), "password": PASSWORD}
    with get_context().engine.locked("a backup"):
        refused = administrator.post(CREATE, form)
    assert refused.status_code == 302
    assert KEY.findall(refused.content.decode()) == []
    assert recovery_kits_from_settings().read() == ()


def challenge(client: Client, kit: str) -> tuple[str, str]:
    """The armored text and the token of a new challenge."""
    page = text(client.post(PROVE, {"kit": kit}))
    armored = re.search(r"-----BEGIN AGE.*?END AGE ENCRYPTED FILE-----\n", page, re.DOTALL)
    assert armored
    return armored[0], hidden(page, "challenge")


def test_word_of_the_challenge_proves_the_kit(administrator: Client) -> None:
    key = key_of(create(administrator))
    armored, token = challenge(administrator, recipient_of(key))
    word = AgeKeys((key,), ()).decrypt(armored.encode(), "the challenge").decode()
    assert word.strip() not in token
    wrong = text(administrator.post(PROVE, {"challenge": token, "word": "abcd-efgh-jkmn"}))
    assert "This is not the word. Nothing was recorded." in wrong
    assert armored in wrong
    assert recovery_kits_from_settings().read()[0].proven_at is None
    done = administrator.post(PROVE, {"challenge": token, "word": word.upper()})
    assert messages_of(done)[-1] == "The recovery kit is at hand. The next proof is due in half a year."
    (kit,) = recovery_kits_from_settings().read()
    assert kit.proven_by == "ada@example.com"
    run = Run.objects.get(kind="kit_proof")
    assert (run.status, run.requested_by, run.arguments) == (
        "succeeded",
        "ada@example.com",
        {"recipient": kit.recipient},
    )


def test_challenge_of_another_user_another_site_or_yesterday_proves_nothing(administrator: Client) -> None:
    key = key_of(create(administrator))
    armored, token = challenge(administrator, recipient_of(key))
    word = AgeKeys((key,), ()).decrypt(armored.encode(), "the challenge").decode()
    other = Client()
    other.force_login(User.objects.create_superuser("eve@example.com", PASSWORD))
    attempts = [(other, token), (administrator, token[:-1] + "x"), (administrator, "forged")]
    for client, given in attempts:
        refused = client.post(PROVE, {"challenge": given, "word": word})
        assert messages_of(refused)[-1] == recovery_kits.OLD
    with time_machine.travel(timezone.now() + recovery_kits.CHALLENGE_LASTS * 1.01):
        refused = administrator.post(PROVE, {"challenge": token, "word": word})
    assert messages_of(refused)[-1] == recovery_kits.OLD
    assert recovery_kits_from_settings().read()[0].proven_at is None


def test_withdrawal_asks_and_is_recorded(administrator: Client) -> None:
    recipient = recipient_of(key_of(create(administrator)))
    add_backup(recipients=[recipient])
    page = text(administrator.get(WITHDRAW, {"kit": recipient}))
    assert "can still open 1 of 1 encrypted backup." in page
    assert recovery_kits_from_settings().current()
    done = administrator.post(WITHDRAW, {"kit": recipient})
    assert "was withdrawn. New backups are not encrypted to it." in messages_of(done)[-1]
    assert recovery_kits_from_settings().current() == ()
    assert Run.objects.get(kind="kit_withdrawal").requested_by == "ada@example.com"
    page = text(administrator.get(PAGE))
    assert "(withdrawn)" in page
    assert "Prove that it is at hand" not in page


@pytest.mark.parametrize("url", [PROVE, WITHDRAW])
def test_unknown_kit_is_a_message(administrator: Client, url: str) -> None:
    refused = administrator.post(url, {"kit": "age1unknown"})
    assert refused["Location"] == reverse("admin:ops_backup_recovery_kits")
    assert messages_of(refused)[-1].startswith("There is no recovery kit 'age1unknown'.")


def test_page_says_which_backups_each_key_opens_and_what_is_due(administrator: Client, settings: Any) -> None:
    recipient = recipient_of(key_of(create(administrator)))
    machine = recipient_of(settings.BACKUP_AGE_IDENTITY[0])
    mine = add_backup(recipients=[machine, recipient])
    older = add_backup(recipients=[machine])
    lost = add_backup(recipients=["age1lost"])
    add_backup()
    page = text(administrator.get(PAGE))
    assert "1 of 3 encrypted backups" in page
    assert f"not {older.name}, {lost.name}" in page
    assert "2 of 3 encrypted backups" in page
    assert f"No known key opens the encrypted copies of {lost.name}." in page
    assert "due since" not in page
    with time_machine.travel(timezone.now() + PROOF_INTERVAL):
        administrator.force_login(User.objects.get())
        page = text(administrator.get(PAGE))
    assert "due since" in page
    assert "A proof is due that the recovery kit" in page
    assert mine.name not in page


def test_list_that_is_not_trusted_is_shown_as_a_concern(administrator: Client, storage: Path) -> None:
    create(administrator)
    (storage / "recovery_kits.json").write_text("{}")
    page = text(administrator.get(PAGE))
    assert "recovery_kits.json, the list of recovery kits, is not trusted: it is not signed." in page
