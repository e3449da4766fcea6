"""Settings that are stored next to the backups: what counts, and what is done with a file that cannot be trusted."""

import json
from pathlib import Path
from typing import Any

import pyrage
import pytest

from ops import stored_settings
from ops.backups.retention import Policy
from ops.errors import ArtifactInvalid, PreconditionFailed
from ops.schedules.builtin import Timing
from ops.stored_settings import StoredSettings, StoredSettingsIgnored

TOKEN = "json://lab.example.org/very-secret-token"


@pytest.fixture
def file(settings: Any, tmp_path: Path) -> Path:
    settings.BACKUP_DIR = tmp_path / "backups"
    settings.BACKUP_AGE_IDENTITY = str(pyrage.x25519.Identity.generate())
    return tmp_path / "backups" / "settings.json"


def test_number_is_the_default_then_the_stored_one_then_that_of_the_project(file: Path, settings: Any) -> None:
    def found() -> tuple[int, str, bool]:
        effective = stored_settings.number("UNDO_KEEP_DAYS", stored_settings.read())
        return effective.value, effective.source, effective.is_fixed

    assert found() == (3, "default", False)
    stored_settings.write(StoredSettings(numbers={"UNDO_KEEP_DAYS": 9}))
    assert found() == (9, "admin", False)
    assert stored_settings.undo_keep_days() == 9
    settings.OPS_SETTING_SOURCES, settings.UNDO_KEEP_DAYS = {"UNDO_KEEP_DAYS": "environment"}, 5
    assert found() == (5, "environment", True)


def test_source_without_a_list_is_the_settings_module(file: Path, settings: Any) -> None:
    settings.OPS_SETTING_SOURCES = None
    settings.UNDO_KEEP_DAYS = 4
    found = stored_settings.number("UNDO_KEEP_DAYS", StoredSettings(numbers={"UNDO_KEEP_DAYS": 9}))
    assert (found.source, found.where) == ("settings", "settings module: UNDO_KEEP_DAYS")


def test_file_keeps_all_and_only_its_owner_reads_it(file: Path) -> None:
    stored = StoredSettings(
        numbers={"BACKUP_KEEP_DAILY": 2}, schedules={"ops.tasks.back_up": Timing(hour=5, days=(1,))}
    )
    stored_settings.write(stored)
    assert stored_settings.read() == stored
    assert file.stat().st_mode & 0o777 == 0o600


def test_policy_has_the_stored_numbers(file: Path) -> None:
    stored_settings.write(StoredSettings(numbers={"BACKUP_RETENTION_DAYS": 30, "BACKUP_KEEP_YEARLY": 2}))
    assert stored_settings.policy() == Policy(days=30, yearly=2)
    assert stored_settings.policy(days=1) == Policy(days=1, yearly=2)


def tamper(file: Path) -> None:
    document = json.loads(file.read_text())
    document["numbers"]["BACKUP_RETENTION_DAYS"] = 1
    file.write_text(json.dumps(document))


def sign_elsewhere(file: Path, settings: Any) -> None:
    settings.SECRET_KEY = "another key of another installation"
    settings.BACKUP_SIGNING_KEY = ""


@pytest.mark.parametrize("fault", ["changed", "unsigned", "no JSON", "a folder", "signed elsewhere"])
def test_file_that_is_not_ours_is_ignored_and_nothing_expires(file: Path, settings: Any, fault: str) -> None:
    stored_settings.write(StoredSettings(numbers={"BACKUP_RETENTION_DAYS": 30, "UNDO_KEEP_DAYS": 30}))
    match fault:
        case "changed":
            tamper(file)
        case "unsigned":
            file.write_text('{"numbers": {"BACKUP_RETENTION_DAYS": 1}}')
        case "no JSON":
            file.write_text("{")
        case "a folder":
            file.unlink()
            file.mkdir()
        case _:
            sign_elsewhere(file, settings)
    with pytest.raises(StoredSettingsIgnored):
        stored_settings.read()
    assert stored_settings.policy().unknown
    assert stored_settings.undo_keep_days() == 3650
    assert stored_settings.max_age_hours() == 26


def test_targets_are_encrypted_in_the_file(file: Path) -> None:
    assert stored_settings.notify_urls() == ()
    secrets = {"NOTIFY_URLS": [TOKEN], "HEARTBEAT_URL": "https://hc.example.org/secret"}
    stored_settings.write(stored_settings.with_secrets(StoredSettings(), secrets))
    assert "secret" not in file.read_text().replace('"secrets"', "")
    assert stored_settings.notify_urls() == (TOKEN,)
    assert stored_settings.heartbeat_url() == "https://hc.example.org/secret"


def test_targets_of_the_project_take_precedence(file: Path, settings: Any) -> None:
    stored_settings.write(stored_settings.with_secrets(StoredSettings(), {"NOTIFY_URLS": [TOKEN]}))
    settings.OPS_SETTING_SOURCES, settings.NOTIFY_URLS = {"NOTIFY_URLS": "file .env"}, ["json://other.example.org"]
    assert stored_settings.notify_urls() == ("json://other.example.org",)


def test_targets_need_a_key_and_cannot_be_read_with_another(file: Path, settings: Any) -> None:
    stored = stored_settings.with_secrets(StoredSettings(), {"NOTIFY_URLS": [TOKEN]})
    stored_settings.write(stored)
    settings.BACKUP_AGE_IDENTITY = str(pyrage.x25519.Identity.generate())
    with pytest.raises(ArtifactInvalid):
        stored_settings.decrypted(stored)
    assert stored_settings.notify_urls() == ()
    settings.BACKUP_AGE_IDENTITY = ""
    with pytest.raises(PreconditionFailed, match="this machine has no key"):
        stored_settings.with_secrets(StoredSettings(), {"NOTIFY_URLS": [TOKEN]})
    assert stored_settings.notify_urls() == ()
