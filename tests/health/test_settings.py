"""The health check of the settings that are stored next to the backups."""

import io
from pathlib import Path
from typing import Any

import pyrage
import pytest
from django.core.management import call_command

from ops import stored_settings
from ops.health.settings import check_settings
from ops.stored_settings import StoredSettings


@pytest.fixture(autouse=True)
def storage(settings: Any, tmp_path: Path) -> Path:
    settings.BACKUP_DIR = tmp_path / "backups"
    settings.BACKUP_AGE_IDENTITY = str(pyrage.x25519.Identity.generate())
    settings.OPS_SETTING_SOURCES = {}
    return tmp_path / "backups"


def test_stored_settings_and_none_are_healthy() -> None:
    assert not check_settings().error
    secrets = {"NOTIFY_URLS": ["json://lab.example.org"]}
    stored_settings.write(stored_settings.with_secrets(StoredSettings(), secrets))
    assert not check_settings().error


def test_targets_that_no_key_opens_are_degraded(settings: Any) -> None:
    secrets = {"NOTIFY_URLS": ["json://lab.example.org"]}
    stored_settings.write(stored_settings.with_secrets(StoredSettings(), secrets))
    for key in (str(pyrage.x25519.Identity.generate()), ""):
        settings.BACKUP_AGE_IDENTITY = key
        assert check_settings().error == "UnreadableTargets"


@pytest.mark.django_db
def test_ignored_settings_are_shown_by_check_database(storage: Path) -> None:
    storage.mkdir()
    (storage / "settings.json").write_text("{}")
    assert check_settings().error == "StoredSettingsIgnored"
    output = io.StringIO()
    with pytest.raises(SystemExit) as ended:
        call_command("check_database", "--json", stdout=output)
    assert ended.value.code == 3
    assert "are ignored. It is not signed by this installation." in output.getvalue()
