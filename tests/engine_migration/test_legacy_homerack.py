"""A lab of the older HomeRack moves as a whole, with its people and their passwords."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth import authenticate
from django.test import RequestFactory

from homerack.accounts.models import User
from homerack.inventory.legacy import FORMAT
from homerack.inventory.models import Cable, Device, DeviceModel, Rack
from ops.databases.override import override_database
from tests.engine_migration import support
from tests.engine_migration.legacy_lab import PASSWORD, REAL_FILE, write_legacy_lab
from tests.engine_migration.support import Database


@pytest.fixture(autouse=True)
def legacy_format(settings: Any) -> None:
    settings.OPS_LEGACY_FORMAT = "homerack.inventory.legacy.FORMAT"


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    return write_legacy_lab(tmp_path / "legacy.db")


def test_legacy_lab_is_migrated_with_its_users(lab: Path, database: Database) -> None:
    outcome = support.migrate(lab, database)
    assert outcome.document["source"]["format"] == "HomeRack 1.0.1"
    (blacklist,) = (skipped for skipped in outcome.document["skipped"] if skipped["table"] == "token_blacklist")
    assert (blacklist["rows"], blacklist["reason"]) == (1, FORMAT.not_migrated["token_blacklist"])
    with override_database(database.address.wrapper()):
        admin = authenticate(RequestFactory().get("/"), username="admin@lampadas.local", password=PASSWORD)
        assert admin is not None
        assert (admin.is_superuser, admin.is_staff) == (True, True)
        groups = {user.email: [group.name for group in user.groups.all()] for user in User.objects.all()}
        assert groups == {
            "admin@lampadas.local": [],
            "op@lampadas.local": ["Editors"],
            "ro@lampadas.local": ["Viewers"],
            "gone@lampadas.local": ["Editors"],
        }
        assert not User.objects.exclude(pk=1).filter(is_superuser=True).exists()
        assert User.objects.get(pk=7).has_perm("inventory.view_rack")
        assert not User.objects.get(pk=7).has_perm("inventory.change_rack")
        assert [*DeviceModel.objects.order_by("pk").values_list("width_type", "typical_ports")] == [
            ('19"', None),
            (None, {"a": 2, "b": 1}),
        ]
        assert [*Device.objects.order_by("pk").values_list("notes", flat=True)] == ["tab\there", "back\\slash \\N"]
        assert Rack.objects.get().width_inches == '19"'
        assert [*Cable.objects.values_list("pk", "cable_type", "calculated_length_m")] == [(5, "Cat6a", 0.1 + 0.2)]
        Cable.objects.create(from_device_id=1, to_device_id=2, from_port="eth1")
        assert Cable.objects.latest("pk").pk == 6


def test_unknown_role_is_a_finding_with_known_roles(lab: Path, database: Database) -> None:
    support.alter(lab, "UPDATE users SET role = 'GOD' WHERE id = 2")
    outcome = support.run(lab, database, "--yes")
    assert outcome.code == 2
    assert {group["reason"] for group in outcome.document["findings"]["groups"]} == {
        "unknown; known values are admin, ADMIN, user, USER, readonly, READONLY",
        "unknown; known values are user, USER, readonly, READONLY",
    }


@pytest.mark.skipif(not REAL_FILE.exists(), reason="the shared legacy file is not on this machine")
def test_shared_legacy_file_is_migrated(tmp_path: Path, database: Database) -> None:
    outcome = support.migrate(Path(shutil.copy(REAL_FILE, tmp_path)), database)
    assert (outcome.document["rows"], outcome.document["refused"]) == (306, 0)
    with override_database(database.address.wrapper()):
        assert authenticate(RequestFactory().get("/"), username="admin@lampadas.local", password=PASSWORD) is not None
