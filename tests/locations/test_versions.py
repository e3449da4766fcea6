"""What a versioned bucket still has of objects that were deleted or overwritten."""

from typing import Any

import pytest

from ops.backups.encryption import AgeKeys
from ops.backups.locations.location import LocationSettings
from ops.backups.locations.selection import find_backups
from ops.backups.locations.versions import VersionedLocation
from ops.backups.record import BackupRecord
from ops.backups.repository import MANIFEST
from ops.backups.retention import Policy
from ops.backups.storage.s3 import S3BackupStorage
from tests.backups.factories import KEYS, backup
from tests.support.bucket import S3

EVENT = "20261123_120000_000000_a1_started.json"


@pytest.fixture
def name(s3: S3) -> str:
    return s3.make_bucket(versioned=True)


def open_location(s3: S3, name: str) -> VersionedLocation:
    """As a process that starts now sees it."""
    options = s3.options()
    settings = LocationSettings(
        name="far",
        url=f"s3://{name}/rack",
        encrypted=False,
        endpoint=options["endpoint_url"],
        region=options["region_name"],
        access_key=options["access_key"],
        secret_key=options["secret_key"],
    )
    location = VersionedLocation(
        settings, general_policy=Policy(days=7), keys=KEYS, age_keys=lambda: AgeKeys((), ()), prefix="homerack"
    )
    location.choose_versions()
    return location


@pytest.fixture
def stored(s3: S3, name: str) -> BackupRecord:
    """A backup in the bucket, written as the run that copies writes."""
    location = open_location(s3, name)
    location.repository.storage = location.repository.files.storage = S3BackupStorage(**s3.options(bucket_name=name))
    return backup(location.repository, content=b"the rows\n" * 100)


def overwrite(s3: S3, name: str, key: str, body: bytes) -> None:
    s3.client.put_object(Bucket=name, Key=f"rack/{key}", Body=body)


def read(location: VersionedLocation, record: BackupRecord) -> bytes:
    with location.repository.open_file(record.require_manifest()) as file:
        return file.read()


def only(location: VersionedLocation) -> Any:
    (found,) = find_backups(location)
    return found


def test_untouched_backup_has_no_remark(s3: S3, name: str, stored: BackupRecord) -> None:
    location = open_location(s3, name)

    assert (only(location).name, only(location).objection, location.remark(stored.name)) == (stored.name, "", "")
    assert not location.is_deleted(stored.name)


@pytest.mark.parametrize("suffixes", [("",), (MANIFEST,), ("", MANIFEST)])
def test_deleted_files_are_read_and_remarked_on(
    s3: S3, name: str, stored: BackupRecord, suffixes: tuple[str, ...]
) -> None:
    for suffix in suffixes:
        s3.client.delete_object(Bucket=name, Key=f"rack/{stored.name}{suffix}")
    location = open_location(s3, name)

    assert only(location).objection == ""
    assert location.is_deleted(stored.name)
    assert location.remark(stored.name) == "it was deleted in the bucket; an earlier version is read"
    assert read(location, stored)


def test_overwritten_manifest_is_read_as_it_was_signed(s3: S3, name: str, stored: BackupRecord) -> None:
    overwrite(s3, name, stored.name + MANIFEST, b'{"format": 1}')
    location = open_location(s3, name)

    assert only(location).objection == ""
    assert location.remark(stored.name) == "it was overwritten in the bucket; an earlier version is read"


@pytest.mark.parametrize("same_size", [True, False])
def test_overwritten_data_are_read_as_they_were(s3: S3, name: str, stored: BackupRecord, *, same_size: bool) -> None:
    size = stored.require_manifest().size
    overwrite(s3, name, stored.name, b"x" * (size if same_size else size + 1))
    location = open_location(s3, name)

    contents = []
    for _ in location.contents(stored.require_manifest()):
        with location.storage.open(stored.name) as file:
            contents.append(file.read())

    assert contents[-1] != b"x" * size
    assert len(contents) == (2 if same_size else 1)
    assert read(location, stored)


def test_event_is_read_as_it_was_first_written(s3: S3, name: str) -> None:
    overwrite(s3, name, f"events/{EVENT}", b"true")
    overwrite(s3, name, f"events/{EVENT}", b"forged")
    s3.client.delete_object(Bucket=name, Key=f"rack/events/{EVENT}")
    location = open_location(s3, name)

    assert location.repository.event_names() == [EVENT]
    with location.storage.open(f"events/{EVENT}") as file:
        assert file.read() == b"true"
