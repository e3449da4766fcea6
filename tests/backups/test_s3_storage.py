"""Backups in S3: object lock, delete markers and versions, and what happens when the server fails."""

import datetime as dt
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError

from ops.backups.compression import IteratorFile
from ops.backups.storage import s3 as module
from ops.backups.storage.s3 import S3BackupStorage
from ops.errors import PreconditionFailed
from tests.support.bucket import S3, s3_server

BLOCK = bytes(range(256)) * 4096
"""1 MiB."""
SMALL_PARTS = TransferConfig(multipart_chunksize=5 * 2**20, multipart_threshold=5 * 2**20, use_threads=False)


def content(*blocks: bytes) -> IteratorFile:
    return IteratorFile(iter(blocks), "content")


def read(storage: S3BackupStorage, name: str) -> bytes:
    with storage.open(name) as file:
        return bytes(file.read())


def refusal(call: Callable[..., Any], *arguments: Any) -> str:
    with pytest.raises(PreconditionFailed) as caught:
        call(*arguments)
    return str(caught.value)


@pytest.fixture
def versioned(s3: S3) -> dict[str, Any]:
    """The options of a storage in a bucket that keeps deleted objects."""
    return s3.options(bucket_name=s3.make_bucket(versioned=True))


@pytest.fixture
def lockable(s3: S3) -> dict[str, Any]:
    return s3.options(bucket_name=s3.make_bucket(lockable=True), name="vault", lock_days=30)


# --- Object lock ------------------------------------------------------------------------------------------------------


def test_new_object_is_locked_for_the_days_of_the_setting(s3, lockable):
    storage = S3BackupStorage(**lockable)
    before = dt.datetime.now(dt.UTC).replace(microsecond=0)
    storage.save("x", content(b"x"))
    until = storage.locked_until("x")
    assert before + dt.timedelta(days=30) <= until <= dt.datetime.now(dt.UTC) + dt.timedelta(days=30)
    stored = s3.client.head_object(Bucket=lockable["bucket_name"], Key="rack/x")
    assert stored["ObjectLockMode"] == "COMPLIANCE"


def test_lock_is_counted_from_the_time_of_the_server(lockable, time_machine):
    storage = S3BackupStorage(**lockable)
    storage.exists("x")
    truth = dt.datetime.now(dt.UTC)
    # A signature of another day would be refused, so only the storage sees the wrong clock.
    configuration = storage.lock_configuration()
    assert abs(module.date_of(configuration) - truth) < dt.timedelta(minutes=1)
    time_machine.move_to(truth + dt.timedelta(days=4000))
    until = storage.get_object_parameters("x")["ObjectLockRetainUntilDate"]
    assert until < truth + dt.timedelta(days=31)


def test_object_of_several_parts_is_locked_from_its_beginning(lockable):
    """The test's server ignores the lock of such an object, so this looks at the request."""
    storage = S3BackupStorage(**lockable, transfer_config=SMALL_PARTS)
    requests: list[dict[str, Any]] = []

    def note(params: dict[str, Any], **_options: Any) -> None:
        requests.append(params)

    storage.client.meta.events.register("provide-client-params.s3.CreateMultipartUpload", note)
    storage.save("x", content(*[BLOCK] * 11))
    assert read(storage, "x") == BLOCK * 11
    (request,) = requests
    assert request["ObjectLockMode"] == "COMPLIANCE"
    assert request["ObjectLockRetainUntilDate"] > dt.datetime.now(dt.UTC) + dt.timedelta(days=29)


def test_locked_object_is_not_deleted_and_stays_visible(s3, lockable):
    storage = S3BackupStorage(**lockable)
    storage.save("x", content(b"x"))
    until = storage.locked_until("x")
    assert refusal(storage.delete, "x") == (
        f"{storage.display_location}/x is locked until {until:%Y-%m-%d %H:%M} UTC and was not deleted.\n"
        "The bucket's object lock ends by itself. Until then nobody can delete it."
    )
    assert "DeleteMarkers" not in s3.client.list_object_versions(Bucket=lockable["bucket_name"])
    assert read(storage, "x") == b"x"


def test_version_that_is_locked_cannot_be_deleted_with_the_same_key(s3, lockable):
    storage = S3BackupStorage(**lockable)
    storage.save("x", content(b"x"))
    version = {"Bucket": lockable["bucket_name"], "Key": "rack/x", "VersionId": storage.versions("x")[0].id}
    with pytest.raises(ClientError, match="AccessDenied"):
        s3.client.delete_object(**version, BypassGovernanceRetention=True)


def test_object_whose_lock_has_ended_is_deleted(s3, lockable):
    storage = S3BackupStorage(**lockable)
    end = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=1)
    s3.client.put_object(
        Bucket=lockable["bucket_name"],
        Key="rack/x",
        Body=b"x",
        ObjectLockMode="COMPLIANCE",
        ObjectLockRetainUntilDate=end,
        ChecksumAlgorithm="SHA256",
    )
    # Dates of servers are whole seconds.
    time.sleep(2)
    storage.delete("x")
    assert not storage.exists("x")


def test_replaced_locked_object_keeps_its_old_version(lockable):
    storage = S3BackupStorage(**lockable)
    storage.save("x", content(b"old"))
    storage.replace("x", content(b"new"))
    assert read(storage, "x") == b"new"
    with storage.open_version("x", storage.versions("x")[1].id) as file:
        assert file.read() == b"old"


def unread() -> Iterator[bytes]:
    raise AssertionError("The content was read.")
    yield b""


def test_bucket_without_object_lock_is_refused_before_anything_is_read(s3):
    storage = S3BackupStorage(**s3.options(name="vault", lock_days=30))
    assert refusal(storage.save, "x", IteratorFile(unread(), "x")) == (
        "s3://lab-backups/rack has no object lock, but BACKUP_LOCATION_VAULT_LOCK_DAYS is 30.\n"
        "Use a bucket that was made with object lock, or remove BACKUP_LOCATION_VAULT_LOCK_DAYS."
    )
    assert s3.names() == []


# --- Versions ---------------------------------------------------------------------------------------------------------


def test_deleted_objects_are_seen_on_demand(versioned):
    storage = S3BackupStorage(**versioned)
    storage.save("x", content(b"first"))
    storage.replace("x", content(b"second"))
    storage.save("x.json", content(b"{}"))
    storage.save("events/y", content(b"y"))
    for name in ("x", "events/y"):
        storage.delete(name)
    assert (set(storage.entries()), storage.entries("events"), storage.exists("x")) == ({"x.json"}, {}, False)
    with pytest.raises(FileNotFoundError):
        storage.open("x")

    all_seen = S3BackupStorage(**versioned, show_deleted=True)
    assert {name: entry.size for name, entry in all_seen.entries().items()} == {"x": 6, "x.json": 2}
    assert set(all_seen.entries("events")) == {"y"}
    assert all_seen.listdir("") == (["events"], ["x", "x.json"])
    assert (all_seen.exists("x"), all_seen.exists("z"), all_seen.size("x")) == (True, False, 6)
    assert (read(all_seen, "x"), read(all_seen, "x.json")) == (b"second", b"{}")
    for call in (all_seen.open, all_seen.size):
        with pytest.raises(FileNotFoundError):
            call("z")


def test_versions_are_listed_and_read(versioned):
    storage = S3BackupStorage(**versioned)
    for text in (b"1", b"22", b"333"):
        storage.replace("x", content(text))
    storage.save("x.json", content(b"{}"))
    storage.delete("x")
    versions = storage.versions("x")
    assert [version.size for version in versions] == [3, 2, 1]
    assert all(version.modified.tzinfo is dt.UTC for version in versions)
    found = []
    for version in versions:
        with storage.open_version("x", version.id) as file:
            found.append(file.read())
    assert found == [b"333", b"22", b"1"]
    assert storage.versions("z") == []


def test_missing_version_is_not_found(versioned):
    storage = S3BackupStorage(**versioned)
    storage.save("x", content(b"x"))
    with pytest.raises(FileNotFoundError):
        storage.open_version("x", "00000000-0000-0000-0000-000000000000")


def test_bucket_without_versions_shows_what_there_is(s3):
    S3BackupStorage(**s3.options()).save("x", content(b"x"))
    storage = S3BackupStorage(**s3.options(), show_deleted=True)
    assert (set(storage.entries()), storage.size("x"), read(storage, "x")) == ({"x"}, 1, b"x")


# --- Objects ----------------------------------------------------------------------------------------------------------


def test_bucket_without_prefix_is_used_from_its_root(s3):
    storage = S3BackupStorage(**s3.options(location=""))
    storage.save("x", content(b"x"))
    storage.save("events/y", content(b"y"))
    assert s3.names() == ["events/y", "x"]
    assert (set(storage.entries()), set(storage.entries("events"))) == ({"x"}, {"y"})


def test_compressed_file_has_no_content_encoding(s3):
    S3BackupStorage(**s3.options()).save("x.sql.gz", content(b"x"))
    assert "ContentEncoding" not in s3.client.head_object(Bucket="lab-backups", Key="rack/x.sql.gz")


@pytest.mark.slow
def test_more_objects_than_a_page_holds_are_listed(s3):
    def put(number: int) -> None:
        s3.client.put_object(Bucket="lab-backups", Key=f"rack/{number}", Body=b"x")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(put, range(1100)))
    assert len(S3BackupStorage(**s3.options()).entries()) == 1100
    assert len(S3BackupStorage(**s3.options(), show_deleted=True).entries()) == 1100


# --- When the server fails --------------------------------------------------------------------------------------------


@pytest.fixture
def own_s3() -> Iterator[S3]:
    """A server that a test may stop."""
    with s3_server() as server:
        yield server


@pytest.fixture
def storage(own_s3: S3) -> S3BackupStorage:
    """A storage whose server a test may stop."""
    return S3BackupStorage(**own_s3.options(name="far", transfer_config=SMALL_PARTS))


@pytest.fixture
def hasty(own_s3: S3, monkeypatch: pytest.MonkeyPatch) -> S3BackupStorage:
    """One that gives a server up sooner, which a test may freeze."""
    monkeypatch.setattr(module, "SILENCE", 3)
    return S3BackupStorage(**own_s3.options(name="far", transfer_config=SMALL_PARTS))


def test_frozen_server_is_given_up_once(storage, hasty, own_s3):
    storage.save("x", content(b"x"))
    own_s3.freeze()
    calls: list[Callable[[], Any]] = [
        lambda: hasty.exists("x"),
        lambda: hasty.delete("x"),
        lambda: hasty.open("x"),
        lambda: hasty.replace("x", content(b"y")),
        lambda: hasty.locked_until("x"),
        hasty.entries,
    ]
    with ThreadPoolExecutor(len(calls)) as pool:
        messages = list(pool.map(refusal, calls))
    own_s3.thaw()
    message = (
        "s3://lab-backups/rack is unreachable ({}): no answer for 3 seconds.\n"
        "Check the settings BACKUP_LOCATION_FAR_… and the permissions of their key."
    )
    assert messages == [message.format("x")] * 5 + [message.format("its list")]
    assert storage.exists("x")


@pytest.mark.slow
def test_upload_to_a_frozen_server_ends(storage, hasty, own_s3):
    def blocks() -> Iterator[bytes]:
        yield from [BLOCK] * 6
        own_s3.freeze()
        yield from [BLOCK] * 12

    assert "no answer for 3 seconds" in refusal(hasty.save, "x", IteratorFile(blocks(), "x"))
    own_s3.thaw()
    assert not storage.exists("x")
    storage.save("x", content(b"new"))
    assert read(storage, "x") == b"new"


@pytest.mark.slow
def test_download_from_a_frozen_server_ends(storage, hasty, own_s3):
    storage.save("x", content(*[BLOCK] * 30))
    with hasty.open("x") as file:
        file.read(1)
        own_s3.freeze()
        assert "no answer for 3 seconds" in refusal(file.read)


@pytest.mark.slow
def test_server_killed_during_the_upload_ends_it(storage, own_s3):
    def blocks() -> Iterator[bytes]:
        yield from [BLOCK] * 6
        own_s3.stop()
        yield from [BLOCK] * 6

    assert "s3://lab-backups/rack is unreachable (x)" in refusal(storage.save, "x", IteratorFile(blocks(), "x"))
    own_s3.start()
    assert storage.entries() == {}


def test_server_killed_during_the_download_ends_it(storage, own_s3):
    storage.save("x", content(*[BLOCK] * 30))
    with storage.open("x") as file:
        assert file.read(1) == BLOCK[:1]
        own_s3.stop()
        assert "s3://lab-backups/rack is unreachable (x)" in refusal(file.read)


@pytest.mark.parametrize("call", ["entries", "open", "save"])
def test_missing_bucket_is_no_empty_one(s3, call):
    storage = S3BackupStorage(**s3.options(bucket_name="not-there"))
    calls: dict[str, Callable[[], Any]] = {
        "entries": storage.entries,
        "open": lambda: storage.open("x"),
        "save": lambda: storage.save("x", content(b"x")),
    }
    assert "The specified bucket does not exist" in refusal(calls[call])


def test_keys_are_not_in_messages(s3):
    storage = S3BackupStorage(**s3.options(bucket_name="not-there"))
    assert s3.options()["secret_key"] not in refusal(storage.entries)
