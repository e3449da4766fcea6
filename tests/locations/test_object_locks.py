"""Backups that a user deletes, or that expire, while an object lock keeps their files."""

import pytest

from ops.backups.repository import MANIFEST
from ops.backups.retention import Policy
from tests.locations.support import DAY, NOW, Installation
from tests.locations.test_servers import bucket
from tests.support.bucket import S3

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def vault(s3: S3) -> str:
    return s3.make_bucket(lockable=True)


@pytest.fixture
def lab(s3: S3, vault, tmp_path) -> Installation:
    return Installation(tmp_path, bucket(s3, vault, encrypted=False, lock_days=30))


def names(s3: S3, vault: str) -> set[str]:
    found = s3.client.list_objects_v2(Bucket=vault, Delimiter="/", Prefix="rack/").get("Contents", [])
    return {entry["Key"].removeprefix("rack/") for entry in found} - {"location.json"}


def unlock(s3: S3, vault: str, name: str) -> None:
    """As at the end of the lock: the newest version has none."""
    key = f"rack/{name}"
    content = s3.client.get_object(Bucket=vault, Key=key)["Body"].read()
    s3.client.put_object(Bucket=vault, Key=key, Body=content)


def test_deleted_backup_that_is_locked_is_deleted_later_and_does_not_stop_copying(s3, vault, lab):
    deleted = lab.back_up(NOW - DAY)
    lab.copy()
    lab.catalog.delete(deleted)
    kept = lab.back_up(NOW)
    assert lab.copy().locations["bucket"].error == ""
    assert names(s3, vault) == {deleted, deleted + MANIFEST, kept, kept + MANIFEST}
    assert [record.name for record in lab.catalog.records()] == [kept]
    unlock(s3, vault, deleted)
    unlock(s3, vault, deleted + MANIFEST)
    assert lab.copy().locations["bucket"].error == ""
    assert names(s3, vault) == {kept, kept + MANIFEST}
    assert lab.state("bucket").deletions == ()


def test_expired_backup_stays_while_its_manifest_is_locked(s3, vault, lab):
    expired, kept = lab.back_up(NOW - 20 * DAY), lab.back_up(NOW)
    lab.policy = Policy(days=90)
    lab.copy()
    lab.policy = Policy(days=7)
    unlock(s3, vault, expired)
    result = lab.copy().locations["bucket"]
    assert (result.error, result.deleted) == ("", {})
    assert lab.catalog.get(expired).reachable == ("local", "bucket")
    unlock(s3, vault, expired + MANIFEST)
    assert list(lab.copy().locations["bucket"].deleted) == [expired]
    assert names(s3, vault) == {kept, kept + MANIFEST}
