"""Whether backups have enough copies, from the rows of backups and the states of storage locations.

No other location is contacted: the last run that copied backups recorded what it found there.
"""

import datetime as dt
import functools
from collections.abc import Iterator
from pathlib import Path

from django.db import connections

from ops.backups.locations.coverage import (
    Coverage,
    KnownBackup,
    KnownLocation,
    describe_failure,
    describe_shortfall,
    find_coverage,
    known_location,
    read_copies,
)
from ops.backups.locations.location import DIRECTORY, read_settings
from ops.backups.locations.state import LocationState, LocationStates, file_name
from ops.backups.record import LOCAL
from ops.backups.storage.local import PrivateFileSystemStorage
from ops.conf import conf
from ops.health.backups import max_age
from ops.health.database import with_health_deadline
from ops.health.results import CheckResult, Status
from ops.keys import keys_from_settings
from ops.models import Backup
from ops.utils import clock
from ops.utils.formatting import format_datetime

FIRST = 20
"""Backups that are read at once: usually the newest or the one before has enough copies."""
MOST = 500
"""Backups that are read while none has enough: copies are then missing since the oldest of them at least."""
COPY_THEM = "Copy what is missing: manage.py copy_backups"


def read_locations() -> tuple[KnownLocation, ...]:
    """BACKUP_DIR and the locations of BACKUP_LOCATIONS. Raises OpsError for settings that are not valid."""
    others = read_settings(conf.BACKUP_LOCATIONS)
    state = read_state(LOCAL) if others else LocationState()
    here = KnownLocation(name=LOCAL, address=str(conf.BACKUP_DIR), type=DIRECTORY, state=state)
    return (here, *(known_location(settings, read_state(settings.name)) for settings in others))


def read_state(name: str) -> LocationState:
    """A copy of what `LocationStates.read` returns; the file is read when it has changed. Raises OpsError."""
    directory, keys = conf.BACKUP_DIR, keys_from_settings()
    try:
        found = (directory / file_name(name)).stat()
    except OSError:
        return LocationState()
    return cached_state(directory, name, tuple(key.id for key in keys.known), found.st_ino, found.st_mtime_ns)


@functools.lru_cache(maxsize=16)
def cached_state(directory: Path, name: str, _keys: tuple[str, ...], _inode: int, _changed: int) -> LocationState:
    """The document of a location with thousands of backups takes a tenth of a second to check."""
    return LocationStates(PrivateFileSystemStorage(directory), keys_from_settings()).read(name)


def read_coverage(locations: tuple[KnownLocation, ...], alias: str = "default", *, limit: dt.timedelta) -> Coverage:
    """One query, and one more while the newest backups lack copies; none if BACKUP_DIR is all that there should be.

    `limit` is the age that the last verified backup may have (`max_age`). Raises Django's database errors.
    """
    is_alone = len(locations) == 1 and conf.BACKUP_MIN_COPIES <= 1
    return find_coverage(
        locations,
        () if is_alone else verified_backups(alias),
        min_copies=conf.BACKUP_MIN_COPIES,
        now=clock.now(),
        max_age=limit,
    )


def verified_backups(alias: str) -> Iterator[KnownBackup]:
    """The newest first, `MOST` of them."""
    rows = Backup.objects.using(alias).verified().order_by("-taken_at").values_list("taken_at", "copies")
    for part in (rows[:FIRST], rows[FIRST:MOST]):
        for taken_at, copies in part:
            yield KnownBackup(taken_at=taken_at, copies=read_copies(copies))


def check_copies(alias: str) -> CheckResult:
    """Degraded while copies are missing or a location fails. Raises OpsError and Django's database errors."""
    locations = read_locations()
    with with_health_deadline(connections[alias]):
        return evaluate_copies(read_coverage(locations, alias, limit=max_age()))


def evaluate_copies(coverage: Coverage) -> CheckResult:
    """A location that fails is reported in addition: it may be why copies are missing."""
    failures = [describe_failure(each, since=format_datetime(each.failing_since)) for each in coverage.failing]
    if coverage.shortfall:
        when = f"since {format_datetime(coverage.shortfall.since)}"
        error, sentences = "CopiesMissing", [describe_shortfall(coverage, when=when), *failures]
    else:
        error, sentences = "LocationFailed", failures
    if not sentences:
        return CheckResult()
    return CheckResult(status=Status.DEGRADED, error=error, detail=" ".join([*sentences, COPY_THEM]))
