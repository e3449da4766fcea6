"""Storage locations as settings, states and rows know them, without files of backups."""

import datetime as dt
from typing import Any

from django.utils import timezone

from ops.backups.locations.state import LocationState, LocationStates
from ops.backups.record import Copy
from ops.backups.storage.local import PrivateFileSystemStorage
from ops.conf import conf
from ops.keys import keys_from_settings


def add_location(settings: Any, name: str, **options: Any) -> None:
    """Configure another storage location, a directory unless there is a URL."""
    entry = {"name": name, "url": f"/mnt/{name}", "encrypted": False, **options}
    others = [location for location in conf.BACKUP_LOCATIONS if location["name"] != name]
    settings.BACKUP_LOCATIONS = [*others, entry]


def answered(name: str, *, hours: float = 1, **fields: Any) -> None:
    """Record that the location answered so many hours ago."""
    write_state(name, LocationState(answered_at=ago(hours), **fields))


def failed(name: str, *, hours: float, error: str = "Connection refused.", **fields: Any) -> None:
    """Record that the location has failed for so many hours."""
    state = LocationState(answered_at=ago(hours + 1), error=error, failing_since=ago(hours), **fields)
    write_state(name, state)


def write_state(name: str, state: LocationState) -> None:
    states = LocationStates(PrivateFileSystemStorage(conf.BACKUP_DIR), keys_from_settings())
    with states.locked():
        states.update(name, lambda _before: state)


def copy(*, size: int = 2_000_000, error: str = "", hours: float = 1) -> Copy:
    return Copy(sha256="0" * 64, size=size, verified_at=ago(hours), error=error)


def row_copies(*names: str, damaged: str = "", silent: str = "") -> dict[str, Any]:
    """Fields of a backup with copies in BACKUP_DIR and in the locations `names`."""
    copies = [
        {
            "location": name,
            "verified_at": None if name == "local" else ago(1).isoformat(),
            "error": "Its SHA-256 is not that of the backup." if name == damaged else "",
            "answers": name != silent,
        }
        for name in ("local", *names)
    ]
    return {"copies": copies, "copy_count": sum(copy["location"] not in {damaged, silent} for copy in copies)}


def ago(hours: float) -> dt.datetime:
    return timezone.now() - dt.timedelta(hours=hours)
