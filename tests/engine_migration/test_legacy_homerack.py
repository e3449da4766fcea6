"""A lab of the older HomeRack moves as a whole, with its people and their passwords."""

import contextlib
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import bcrypt
import pytest
from django.contrib.auth import authenticate
from django.test import RequestFactory

from homerack.accounts.models import User
from homerack.inventory.legacy import FORMAT
from homerack.inventory.models import Cable, Device, DeviceModel, Rack
from ops.databases.override import override_database
from tests.engine_migration import support
from tests.engine_migration.support import Database
from tests.inventory.test_legacy import SCHEMA

REAL_FILE = Path(__file__).resolve().parents[3] / "shared" / "data" / "legacy_lab.db"
PASSWORD = "correct horse battery"
MOMENT = "2026-01-10 09:30:15.123456"


@pytest.fixture(autouse=True)
def legacy_format(settings: Any) -> None:
    settings.OPS_LEGACY_FORMAT = "homerack.inventory.legacy.FORMAT"


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    """A small lab as the older program stores it: enums by the names of their members."""
    path = tmp_path / "legacy.db"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.executescript(SCHEMA)
    put = support.put
    hashed = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
    person = {"hashed_password": hashed, "is_active": 1, "created_at": MOMENT, "updated_at": MOMENT}
    put(
        path,
        "users",
        {"id": 1, "email": "admin@lampadas.local", "full_name": "Ada Ops", "role": "ADMIN", **person},
        {"id": 2, "email": "op@lampadas.local", "full_name": None, "role": "USER", **person},
        {"id": 7, "email": "ro@lampadas.local", "full_name": "", "role": "readonly", **person},
    )
    put(path, "token_blacklist", {"id": 1, "token_jti": "jti", "user_id": 1})
    put(path, "device_types", {"id": 1, "name": "Server", "slug": "server"})
    put(path, "brands", {"id": 1, "name": "Kestrel", "slug": "kestrel", "fetch_confidence": "HIGH"})
    put(
        path,
        "models",
        {"id": 1, "brand_id": 1, "device_type_id": 1, "name": "K1", "height_u": 1.0, "width_type": "NINETEEN_INCH"},
        {
            "id": 2,
            "brand_id": 1,
            "device_type_id": 1,
            "name": "K2",
            "height_u": 2.0,
            "typical_ports": '{"b": 1, "a": 2}',
        },
    )
    put(
        path,
        "device_specifications",
        {"id": 1, "brand": "Kestrel", "model": "K1", "height_u": 1.0, "width_type": "NINETEEN_INCH", "deprecated": 0},
        {"id": 2, "brand": "Kestrel", "model": "K1", "height_u": 1.0, "width_type": '19"', "source": "WEB_FETCHED"},
    )
    put(
        path,
        "devices",
        {"id": 1, "custom_name": "one", "specification_id": 1, "model_id": 1, "notes": "tab\there"},
        {"id": 2, "custom_name": "two", "specification_id": 2, "access_frequency": "HIGH", "notes": "back\\slash \\N"},
    )
    put(path, "racks", {"id": 1, "name": "車庫", "total_height_u": 42, "width_inches": "NINETEEN_INCH"})
    put(path, "rack_positions", {"id": 1, "device_id": 1, "rack_id": 1, "start_u": 1, "locked": None})
    put(
        path,
        "connections",
        {"id": 5, "from_device_id": 1, "to_device_id": 2, "cable_type": "CAT6A", "calculated_length_m": 0.1 + 0.2},
    )
    put(
        path,
        "dcim_connections",
        {"id": 1, "name": "NetBox", "type": "NETBOX", "base_url": "https://x", "api_token": "t"},
    )
    return path


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
    assert (outcome.document["rows"], outcome.document["refused"]) == (363, 0)
    with override_database(database.address.wrapper()):
        assert authenticate(RequestFactory().get("/"), username="admin@lampadas.local", password=PASSWORD) is not None
