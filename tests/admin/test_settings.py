"""The page of settings: numbers that are changed here, what the next pruning would delete, and what is only shown."""

import datetime as dt
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import psycopg2
import pyrage
import pytest
from django.core.management import call_command
from django.http import HttpResponse
from django.test import Client

from ops import stored_settings
from ops.backups.engines.base import PreviousDatabase
from ops.models import Run
from ops.runs import index
from ops.runs.context import get_context
from ops.runs.setting_words import NUMBER_WORDS
from ops.stored_settings import NUMBERS, StoredSettings
from ops.utils import clock
from tests.admin.support import messages_of, text
from tests.backups import factories

pytestmark = pytest.mark.django_db

PAGE = "/admin/ops/backup/settings/"
DAY = dt.timedelta(days=1)
CANARY = "geheim77"


@pytest.fixture(autouse=True)
def nothing_is_set_outside(settings: Any) -> None:
    settings.OPS_SETTING_SOURCES = {}
    settings.BACKUP_LOCATIONS = []


@pytest.fixture
def administrator(sign_in: Callable[..., Client]) -> Client:
    return sign_in(is_superuser=True)


def save(client: Client, **changes: Any) -> HttpResponse:
    """Post the form with the values of this moment and `changes`."""
    stored = stored_settings.read_or_default()
    now = {name: stored_settings.number(name, stored) for name in NUMBERS}
    entered = {name: each.value for name, each in now.items() if not each.is_fixed}
    return client.post(PAGE, {"action": "save"} | entered | changes)


def backups_of_days(*ages: float) -> dict[float, str]:
    """Verified backups that are so many days old, in BACKUP_DIR and as rows. Returns their names."""
    context = get_context()
    about = {"engine": context.engine.kind, "database": context.engine.database}
    made = {age: factories.backup(context.repository, taken_at=clock.now() - age * DAY, **about).name for age in ages}
    index.rebuild_index(context.repository)
    return made


def value_of(shown: str, name: str) -> str:
    found = re.search(rf'<input type="text" name="{name}" value="([^"]*)"', shown)
    assert found, name
    return found[1]


def deleted_by_dry_run(capsys: pytest.CaptureFixture[str]) -> set[str]:
    capsys.readouterr()
    call_command("prune_backups", "--dry-run", "--json")
    return set(json.loads(capsys.readouterr().out)["deleted"])


def test_page_has_words_for_every_number() -> None:
    assert NUMBER_WORDS.keys() == NUMBERS.keys()


def test_numbers_are_saved_recorded_and_shown_with_their_source(administrator: Client) -> None:
    assert "Set here" not in text(administrator.get(PAGE))
    answer = save(administrator, BACKUP_RETENTION_DAYS="30", BACKUP_KEEP_WEEKLY=" 4 ")
    changed = "Keep all backups for … days: 30, before 7. Keep one backup of each of the last … weeks: 4, before 0."
    assert messages_of(answer) == [f"The settings were saved. {changed}"]
    assert stored_settings.read().numbers == {"BACKUP_RETENTION_DAYS": 30, "BACKUP_KEEP_WEEKLY": 4}
    shown = text(administrator.get(PAGE))
    assert value_of(shown, "BACKUP_RETENTION_DAYS") == "30"
    assert shown.count("<span>Set here</span>") == 2
    run = Run.objects.get()
    assert (run.kind, run.requested_by) == ("settings", "nobody@example.com")
    assert "Keep all backups for … days: 30, before 7." in text(administrator.get(f"/admin/ops/run/{run.pk}/change/"))
    assert f"/admin/ops/run/?kind__exact={run.kind}" in shown
    listed = text(administrator.get("/admin/ops/run/"))
    assert "Keep all backups for … days: 30, before 7, and 1 more<" in listed
    assert "Change of settings" in text(administrator.get(f"/admin/ops/run/?kind__exact={run.kind}"))


def test_unchanged_numbers_keep_their_source_and_are_not_recorded(administrator: Client) -> None:
    assert messages_of(save(administrator)) == ["No setting was changed."]
    assert not Run.objects.exists()


def test_change_keeps_what_another_user_has_changed_meanwhile(administrator: Client) -> None:
    shown = text(administrator.get(PAGE))
    form = {name: value_of(shown, name) for name in NUMBERS}
    initial = dict(re.findall(r'<input type="hidden" name="(initial-\w+)" value="(\d+)"', shown))
    assert len(initial) == len(NUMBERS)
    save(administrator, BACKUP_RETENTION_DAYS="365")
    backups_of_days(1, 10)
    answer = administrator.post(PAGE, {"action": "save"} | form | initial | {"UNDO_KEEP_DAYS": "9"})
    changed = "Keep the previous database of a restore for … days: 9, before 3."
    assert messages_of(answer)[-1] == f"The settings were saved. {changed}"
    assert stored_settings.read().numbers == {"BACKUP_RETENTION_DAYS": 365, "UNDO_KEEP_DAYS": 9}


@pytest.mark.parametrize("entered", ["", "abc", "0", "-1", "36501", "7.5", "9" * 5000, "\x00"])
def test_wrong_number_is_an_error_at_the_field_and_entered_values_stay(administrator: Client, entered: str) -> None:
    shown = text(save(administrator, BACKUP_RETENTION_DAYS=entered, BACKUP_KEEP_YEARLY="3"))
    assert re.findall(r'id="(\w+)_error">([^<]*)', shown) == [
        ("id_BACKUP_RETENTION_DAYS", "Enter a whole number from 1 to 36,500.")
    ]
    mistake = "Keep all backups for … days</a>: Enter a whole number from 1 to 36,500."
    assert f'<a class="ops-link" href="#id_BACKUP_RETENTION_DAYS">{mistake}' in shown
    assert "Nothing was saved. Correct this mistake, and save again." in shown
    assert value_of(shown, "BACKUP_KEEP_YEARLY") == "3"
    if entered.isprintable() and entered:
        assert value_of(shown, "BACKUP_RETENTION_DAYS") == entered
    assert re.search(r'name="BACKUP_RETENTION_DAYS"[^>]* autofocus', shown)
    assert stored_settings.read().numbers == {}


def test_number_goes_back_to_the_default(administrator: Client) -> None:
    save(administrator, UNDO_KEEP_DAYS="9")
    assert "Back to the default (3)" in text(administrator.get(PAGE))
    assert messages_of(administrator.post(PAGE, {"default": "UNDO_KEEP_DAYS"}))[-1].endswith(
        "Keep the previous database of a restore for … days: 3, before 9."
    )
    assert "Back to the default" not in text(administrator.get(PAGE))


def test_number_that_the_project_sets_is_a_text_with_its_source(administrator: Client, settings: Any) -> None:
    settings.OPS_SETTING_SOURCES, settings.UNDO_KEEP_DAYS = {"UNDO_KEEP_DAYS": "file .env"}, 11
    shown = text(administrator.get(PAGE))
    assert 'name="UNDO_KEEP_DAYS"' not in shown
    assert "File .env: UNDO_KEEP_DAYS" in shown
    assert "Change it there and restart the site" in shown
    save(administrator, UNDO_KEEP_DAYS="2")
    assert stored_settings.read().numbers == {}
    refused = text(administrator.post(PAGE, {"default": "UNDO_KEEP_DAYS"}))
    assert "UNDO_KEEP_DAYS is set in the file .env. Nothing was changed." in refused


# --- What the next pruning would delete -----------------------------------------------------------------------------


def test_shorter_retention_names_what_would_be_deleted_and_asks(
    administrator: Client, capsys: pytest.CaptureFixture[str]
) -> None:
    save(administrator, BACKUP_RETENTION_DAYS="30")
    made = backups_of_days(1, 10, 20, 40)
    assert deleted_by_dry_run(capsys) == {made[40]}

    asked = text(save(administrator, BACKUP_RETENTION_DAYS="7"))
    oldest, newest = (f"{clock.now() - age * DAY:%Y-%m-%d}" for age in (20, 10))
    assert "The next pruning would delete 2 backups in local, " in asked
    assert f"from {oldest} to {newest}" in asked
    assert set(re.findall(r'<span class="ops-name">([^<]+)', asked)) == {made[10], made[20]}
    assert get_context().policy.days == 30

    seen = re.search(r'name="seen" value="(\w+)"', asked)
    assert seen
    messages_of(save(administrator, BACKUP_RETENTION_DAYS="7", seen=seen[1]))
    assert get_context().policy.days == 7
    assert deleted_by_dry_run(capsys) == {made[10], made[20], made[40]}
    assert "until the next pruning" in text(administrator.get("/admin/ops/backup/"))


def test_longer_retention_and_one_that_deletes_nothing_ask_nothing(administrator: Client) -> None:
    backups_of_days(1, 3)
    for days in ("30", "5"):
        assert save(administrator, BACKUP_RETENTION_DAYS=days).status_code == 302
    assert get_context().policy.days == 5


def test_confirmation_of_less_than_would_be_deleted_by_then_asks_again(administrator: Client) -> None:
    save(administrator, BACKUP_RETENTION_DAYS="30")
    backups_of_days(1, 10)
    seen = re.search(r'name="seen" value="(\w+)"', text(save(administrator, BACKUP_RETENTION_DAYS="7")))
    assert seen
    backups_of_days(20)
    assert "would delete 2 backups" in text(save(administrator, BACKUP_RETENTION_DAYS="7", seen=seen[1]))
    assert get_context().policy.days == 30


def test_confirmation_leads_back_to_what_was_entered(administrator: Client) -> None:
    save(administrator, BACKUP_RETENTION_DAYS="30")
    backups_of_days(1, 10)
    asked = text(save(administrator, BACKUP_RETENTION_DAYS="7", BACKUP_KEEP_YEARLY="2"))
    hidden = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', asked))
    shown = text(administrator.post(PAGE, {**hidden, "action": "edit"}))
    assert (value_of(shown, "BACKUP_RETENTION_DAYS"), value_of(shown, "BACKUP_KEEP_YEARLY")) == ("7", "2")
    assert get_context().policy.days == 30


def test_default_that_is_shorter_asks_as_well(administrator: Client) -> None:
    save(administrator, BACKUP_RETENTION_DAYS="30")
    backups_of_days(1, 10)
    asked = text(administrator.post(PAGE, {"default": "BACKUP_RETENTION_DAYS"}))
    hidden = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', asked))
    assert hidden["default"] == "BACKUP_RETENTION_DAYS"
    assert administrator.post(PAGE, hidden).status_code == 302
    assert get_context().policy.days == 7


@pytest.mark.django_db(transaction=True)
def test_policy_of_another_location_follows_and_its_losses_are_named(
    administrator: Client, settings: Any, tmp_path: Path
) -> None:
    settings.BACKUP_LOCATIONS = [{"name": "disk", "url": str(tmp_path / "disk"), "encrypted": False}]
    save(administrator, BACKUP_RETENTION_DAYS="30")
    made = backups_of_days(1, 10)
    call_command("copy_backups")
    asked = text(save(administrator, BACKUP_RETENTION_DAYS="7"))
    assert "1 backup in local" in asked
    assert "1 backup in disk" in asked
    assert set(re.findall(r'<span class="ops-name">([^<]+)', asked)) == {made[10]}


def test_previous_database_that_would_expire_is_named(administrator: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    previous = PreviousDatabase(name="old", replaced_at=clock.now() - 2 * DAY, run="r", backup="b", size=1)
    monkeypatch.setattr(
        "ops.backups.engines.postgresql.database_swap.DatabaseSwap.previous_database", lambda _self: previous
    )
    monkeypatch.setattr(
        "ops.backups.engines.postgresql.schema_swap.SchemaSwap.previous_database", lambda _self: previous
    )
    assert save(administrator, UNDO_KEEP_DAYS="2").status_code == 200
    asked = text(save(administrator, UNDO_KEEP_DAYS="1"))
    assert "The previous database would be dropped" in asked
    assert stored_settings.undo_keep_days() == 3


def test_server_that_does_not_answer_about_it_is_an_error_on_the_page(
    administrator: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_engine: object) -> None:
        raise psycopg2.OperationalError("gone")

    monkeypatch.setattr("ops.backups.engines.postgresql.engine.PostgresEngine.swap_strategy", fail)
    assert "The server does not say whether it keeps a previous database." in text(
        save(administrator, UNDO_KEEP_DAYS="1")
    )
    assert stored_settings.undo_keep_days() == 3


# --- A file that is ignored -----------------------------------------------------------------------------------------


def test_ignored_file_is_explained_and_replaced_by_saving(administrator: Client, storage: Path) -> None:
    save(administrator, BACKUP_RETENTION_DAYS="30")
    (storage / "settings.json").write_text('{"numbers": {"BACKUP_RETENTION_DAYS": 1}}')
    backups_of_days(1, 10)
    shown = text(administrator.get(PAGE))
    assert "The settings in settings.json, next to the backups, are ignored." in shown
    assert "Saving on this page replaces the file" in shown
    assert value_of(shown, "BACKUP_RETENTION_DAYS") == "7"
    assert "would delete 1 backup in local" in text(save(administrator))
    assert save(administrator, BACKUP_RETENTION_DAYS="30").status_code == 302
    assert stored_settings.read() == StoredSettings(numbers={"BACKUP_RETENTION_DAYS": 30})


def test_storage_that_refuses_the_file_is_an_error_on_the_page(administrator: Client, storage: Path) -> None:
    (storage / "settings.json").mkdir(parents=True)
    shown = text(save(administrator, BACKUP_RETENTION_DAYS="30"))
    assert "settings.json is not accessible: Is a directory." in shown
    assert value_of(shown, "BACKUP_RETENTION_DAYS") == "30"


# --- What is only shown ---------------------------------------------------------------------------------------------


def test_page_shows_locations_keys_and_limits_without_secrets(
    administrator: Client, settings: Any, tmp_path: Path
) -> None:
    settings.BACKUP_AGE_IDENTITY = [str(pyrage.x25519.Identity.generate())]
    settings.OPS_CELERY_APP = "homerack.celery.app"
    settings.BACKUP_SIGNING_KEY = f"{CANARY}-signs"
    settings.NOTIFY_URLS, settings.HEARTBEAT_URL = [f"json://a:{CANARY}@lab.example.org"], f"https://hc.io/{CANARY}"
    settings.BACKUP_LOCATIONS = [
        {
            "name": "nas",
            "url": "sftp://ada@nas.lan/backups",
            "password": CANARY,
            "host_key": "nas.lan ssh-ed25519 AAAA",
        },
        {
            "name": "bucket",
            "url": "s3://lab/rack",
            "secret_key": CANARY,
            "access_key": CANARY,
            "lock_days": 30,
            "keep_monthly": 12,
        },
    ]
    settings.OPS_SETTING_SOURCES = {"BACKUP_LOCATIONS": "environment", "OPS_UPLOAD_LIMIT": "file .env"}
    shown = " ".join(re.sub(r"<[^>]+>", " ", text(administrator.get(PAGE)).partition("ops-page")[2]).split())
    for words in (
        "sftp://ada@nas.lan/backups",
        "SFTP, encrypted, off-site",
        "s3://lab/rack",
        "all for 7 days, then 12 monthly",
        "nobody can delete a new copy for 30 days",
        "Environment: BACKUP_LOCATIONS",
        "json at lab.example.org",
        "https at hc.io",
        "Signing key set",
        "Encryption key of this machine set, 1 key",
        "file .env: BACKUP_UPLOAD_LIMIT_MB",
        "every day at 02:00",
        "manage.py copy_backups",
    ):
        assert words in shown
    assert CANARY not in text(administrator.get(PAGE))
    assert settings.BACKUP_AGE_IDENTITY[0] not in shown


def test_page_reads_the_stored_settings_once(administrator: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    save(administrator, BACKUP_RETENTION_DAYS="30")
    read = mock.Mock(wraps=stored_settings.read)
    monkeypatch.setattr(stored_settings, "read", read)
    administrator.get(PAGE)
    assert read.call_count == 1


def test_page_of_a_site_with_invalid_locations_says_so(administrator: Client, settings: Any) -> None:
    settings.BACKUP_LOCATIONS = [{"name": "No Name", "url": "/mnt"}]
    assert "BACKUP_LOCATIONS" in text(administrator.get(PAGE))


@pytest.mark.parametrize("method", ["get", "post"])
def test_page_is_forbidden_without_superuser_status(operator: Client, method: str) -> None:
    assert getattr(operator, method)(PAGE, {"action": "save", "UNDO_KEEP_DAYS": "9"}).status_code == 403
    assert stored_settings.read().numbers == {}


def test_form_without_csrf_token_saves_nothing(administrator: Client) -> None:
    administrator.handler.enforce_csrf_checks = True
    assert save(administrator, UNDO_KEEP_DAYS="9").status_code == 403
    assert stored_settings.read().numbers == {}
