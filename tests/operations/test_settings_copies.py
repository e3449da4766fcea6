"""Stored settings in other storage locations, and what a recovery brings back of them."""

import json
from pathlib import Path
from typing import Any

import pyrage
import pytest

from ops import operations, stored_settings
from ops.backups.encryption import AgeKeys
from ops.operations.settings_copies import is_settings_copy_due
from ops.schedules.builtin import Timing
from ops.stored_settings import FILE, StoredSettings
from tests.locations.support import AGE_KEYS, Installation
from tests.operations.harness import Lab
from tests.operations.test_recover import Site, directory

TOKEN = "very-secret-token"
CHANGE = f"""
from ops import operations
from ops.models import Run
from ops.runs.context import get_context
from ops.schedules.builtin import Timing
def run():
    return Run(kind=Run.Kind.SETTINGS, requested_by="ada@example.com", origin=Run.Origin.ADMIN)
operations.change_numbers(get_context(), run(), {{"BACKUP_RETENTION_DAYS": 30, "BACKUP_KEEP_MONTHLY": 12}})
operations.change_schedules(get_context(), run(), {{"ops.tasks.back_up": Timing(hour=5)}})
operations.change_heartbeat(get_context(), run(), "https://hc.example.org/{TOKEN}")
"""
SHOW = """
import json
from django_celery_beat.models import PeriodicTask
from ops import stored_settings
from ops.runs.context import get_context
print(json.dumps([
    get_context().policy.days,
    get_context().policy.monthly,
    PeriodicTask.objects.get(name="Back up").crontab.hour,
    stored_settings.heartbeat_url(),
    get_context().policy.unknown,
]))
"""
BROUGHT = "The settings that were made in the admin of the lost machine are in use."


def recovered(site: Site) -> tuple[list[Any], str]:
    """The settings on the new machine, and the log of the recovery."""
    site.recovered()
    shown = json.loads(site.lab.run("shell", "--no-imports", "-c", SHOW, **site.new_machine()).out)
    return shown, str(site.lab.value("SELECT log FROM ops_run WHERE kind = 'restore'"))


def contents(folder: Path) -> str:
    return "".join(path.read_bytes().decode(errors="replace") for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("encrypted", [True, False])
def test_recovery_brings_settings_back_and_targets_from_encrypted_locations(
    sqlite_lab: Lab, tmp_path: Path, encrypted: bool
) -> None:
    site = Site(sqlite_lab, directory(tmp_path), encrypted=encrypted)
    sqlite_lab.run("shell", "--no-imports", "-c", CHANGE, **site.variables)
    site.back_up()
    copies = Path(site.place.address)
    assert TOKEN not in contents(copies)
    assert encrypted or not json.loads((copies / FILE).read_text()).get("secrets")
    site.lose()
    shown, log = recovered(site)
    assert shown == [30, 12, "5", f"https://hc.example.org/{TOKEN}" if encrypted else "", False]
    assert BROUGHT in log


def test_recovery_brings_no_settings_that_others_have_written(sqlite_lab: Lab, tmp_path: Path) -> None:
    site = Site(sqlite_lab, directory(tmp_path), encrypted=False)
    site.back_up()
    (Path(site.place.address) / FILE).write_text('{"numbers": {"BACKUP_RETENTION_DAYS": 1}}')
    site.lose()
    shown, log = recovered(site)
    assert shown == [7, 0, "2", "", True]
    assert "were not brought. No known key has signed them. Nothing is pruned until others are saved." in log


# --- When they are copied ---------------------------------------------------------------------------------------------


@pytest.fixture
def near(settings: Any, tmp_path: Path, db: None) -> Installation:
    settings.BACKUP_DIR = tmp_path / "backups"
    settings.BACKUP_AGE_IDENTITY = str(pyrage.x25519.Identity.generate())
    return Installation(tmp_path, {"name": "near"})


def is_due(lab: Installation) -> bool:
    (location,) = lab.catalog.others.values()
    return is_settings_copy_due(lab.catalog, location) and operations.is_due(lab.context)


@pytest.mark.django_db(transaction=True)
def test_settings_are_copied_when_they_or_their_keys_change_and_are_missing(near: Installation, tmp_path: Path) -> None:
    copied = tmp_path / "near" / f"{FILE}.age"
    near.back_up()
    near.copy()
    assert not copied.exists()
    assert not operations.is_due(near.context)

    stored_settings.write(StoredSettings(schedules={"ops.tasks.back_up": Timing(hour=5)}))
    assert is_due(near)
    near.copy()
    assert not is_due(near)
    first = copied.read_bytes()
    near.copy()
    assert copied.read_bytes() == first

    near.age_keys = AgeKeys(identities=AGE_KEYS.identities, recipients=AGE_KEYS.recipients[:1])
    assert is_due(near)
    near.copy()
    copied.unlink()
    near.copy()
    assert copied.exists()
    stored_settings.write(StoredSettings())
    assert is_due(near)


@pytest.mark.django_db(transaction=True)
def test_settings_that_are_ignored_here_stay_there(near: Installation, tmp_path: Path) -> None:
    near.back_up()
    stored_settings.write(StoredSettings(numbers={"UNDO_KEEP_DAYS": 9}))
    near.copy()
    before = (tmp_path / "near" / f"{FILE}.age").read_bytes()
    (tmp_path / "backups" / FILE).write_text("{}")
    assert not is_due(near)
    near.copy()
    assert (tmp_path / "near" / f"{FILE}.age").read_bytes() == before
    (tmp_path / "near" / f"{FILE}.age").unlink()
    assert not near.copy().locations["near"].error
