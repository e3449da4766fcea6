"""Which backup of a storage location is restored."""

import datetime as dt
import os
from pathlib import Path

import msgspec
import pytest

from ops.backups.encryption import AgeKeys
from ops.backups.locations.location import Location, LocationSettings
from ops.backups.locations.selection import find_backups, good, require_good
from ops.backups.manifest import Origin
from ops.backups.repository import MANIFEST
from ops.backups.retention import Policy
from ops.backups.signing import Keys
from ops.backups.sources import from_location
from ops.backups.suspicion import Decision, Loss, LossOf, Suspicion
from ops.errors import ArtifactInvalid, PreconditionFailed
from tests.backups.factories import COMPLETE, FAILED, KEYS, NOON, backup

DAY = dt.timedelta(days=1)
SUSPICION = Suspicion(
    losses=(Loss(of=LossOf.ROWS, before=400, after=0, at=NOON),), number=1, compared_with="homerack_1.sql.gz"
)


def location_at(folder: Path, *, keys: Keys = KEYS) -> Location:
    settings = LocationSettings(name="disk", url=str(folder), encrypted=False)
    return Location(
        settings, general_policy=Policy(days=7), keys=keys, age_keys=lambda: AgeKeys((), ()), prefix="homerack"
    )


@pytest.fixture
def location(tmp_path: Path) -> Location:
    return location_at(tmp_path / "disk")


def objections(location: Location) -> list[str]:
    return [found.objection for found in find_backups(location)]


def test_find_backups_lists_the_newest_first_and_has_no_objection_to_verified_ones(location: Location) -> None:
    older = backup(location.repository, taken_at=NOON - DAY)
    newer = backup(location.repository)

    assert [found.name for found in good(find_backups(location))] == [newer.name, older.name]


@pytest.mark.parametrize(
    ("changes", "objection"),
    [
        ({"verifications": ()}, "it is not verified"),
        ({"verifications": (COMPLETE, FAILED)}, "its verification failed"),
        ({"suspicion": SUSPICION}, "it is suspicious: the database had lost much of what it contained before"),
        ({"untrusted": True}, "it was uploaded, so its origin is unknown"),
        ({"origin": Origin.UPLOAD}, "it was uploaded, so its origin is unknown"),
    ],
)
def test_find_backups_objects_to_what_is_not_known_to_be_good(
    location: Location, changes: dict[str, object], objection: str
) -> None:
    backup(location.repository, **changes)

    assert objections(location) == [objection]


def test_find_backups_accepts_what_a_user_has_decided_to_be_right(location: Location) -> None:
    decision = Decision(right=True, decided_by="ada@example.com", decided_at=NOON)
    backup(location.repository, suspicion=msgspec.structs.replace(SUSPICION, decision=decision))

    assert objections(location) == [""]


def test_find_backups_objects_to_a_date_after_that_of_the_file(location: Location) -> None:
    """A thief who has the machine signs what he wants, but the location knows when it came."""
    real = backup(location.repository)
    forged = backup(location.repository, taken_at=NOON + 300 * DAY)
    for name in (real.name, forged.name):
        os.utime(location.storage.path(name), times=((NOON + DAY).timestamp(),) * 2)

    assert [found.name for found in find_backups(location)] == [forged.name, real.name]
    assert objections(location) == ["it is dated in the future: the location got it on 2026-11-24 12:00 UTC", ""]
    assert [found.name for found in require_good(find_backups(location), location)] == [real.name]


def test_find_backups_accepts_the_clock_of_another_time_zone(location: Location) -> None:
    record = backup(location.repository)
    os.utime(location.storage.path(record.name), times=((NOON - dt.timedelta(hours=12)).timestamp(),) * 2)

    assert objections(location) == [""]


def test_find_backups_objects_to_unknown_signatures_changes_and_missing_data(tmp_path: Path) -> None:
    location = location_at(tmp_path)
    changed, missing = backup(location.repository), backup(location.repository, taken_at=NOON - DAY)
    manifest = tmp_path / f"{changed.name}{MANIFEST}"
    document = msgspec.json.decode(manifest.read_bytes()) | {"note": "changed"}
    manifest.write_bytes(msgspec.json.encode(document))
    (tmp_path / missing.name).unlink()

    assert objections(location) == ["it was changed after it was signed", "its data file is missing"]
    assert objections(location_at(tmp_path, keys=Keys(["another"])))[0] == "it is signed with an unknown key"


def test_require_good_names_the_fault_of_the_newest(location: Location) -> None:
    record = backup(location.repository, verifications=())

    with pytest.raises(PreconditionFailed, match=rf"The newest is {record.name}: it is not verified\."):
        require_good(find_backups(location), location)


def test_require_good_says_what_else_is_at_the_address(location: Location, tmp_path: Path) -> None:
    backup(location_at(tmp_path / "disk/rack").repository)
    (tmp_path / "disk/shop_20261123_120000.sql.gz.json").touch()

    with pytest.raises(PreconditionFailed) as caught:
        require_good(find_backups(location), location)

    assert caught.value.message == f"There is no backup in disk ({tmp_path}/disk). Nothing was changed."
    assert caught.value.hint == (
        "It has backups whose names begin with shop: another project made them."
        " It has the folders rack: add one to the address."
    )


def test_from_location_reads_the_data_there_and_refuses_other_bytes(location: Location) -> None:
    record = backup(location.repository, content=b"CREATE TABLE x;\n")
    with from_location(location, record).open() as stream:
        assert stream.read() == b"CREATE TABLE x;\n"

    path = Path(location.storage.path(record.name))
    path.write_bytes(b"x" * path.stat().st_size)
    with pytest.raises(ArtifactInvalid), from_location(location, record).open() as stream:
        stream.read()
