"""A small lab as HomeRack 1.0.1 stores it: enums by the names of their members, passwords hashed by bcrypt."""

import contextlib
import sqlite3
from pathlib import Path

import bcrypt

from tests.engine_migration import support
from tests.inventory.test_legacy import SCHEMA

HERE = Path(__file__).resolve()
PLACES = [directory / "shared" / "data" / "legacy_lab.db" for directory in HERE.parents]
REAL_FILE = next((path for path in PLACES if path.exists()), PLACES[3])
"""Next to the repository, or to a directory of worktrees."""
PASSWORD = "correct horse battery"
"""Of all users."""
MOMENT = "2026-01-10 09:30:15.123456"


def write_legacy_lab(path: Path) -> Path:
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
        {"id": 9, "email": "gone@lampadas.local", "full_name": None, "role": "USER", **person, "is_active": 0},
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
