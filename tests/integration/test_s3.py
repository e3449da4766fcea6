"""Copies of backups in an S3-compatible bucket, made by commands in processes of their own."""

import gzip
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pyrage
import pytest

from tests.integration.support import Home
from tests.integration.tls_servers import Server
from tests.support.bucket import NAME, S3

pytestmark = pytest.mark.slow
AGE = """
import datetime as dt
import msgspec
from ops.backups.repository import MANIFEST
from ops.runs.context import get_context
repository = get_context().repository
manifest = repository.get({name!r}).manifest
aged = msgspec.structs.replace(manifest, taken_at=manifest.taken_at - dt.timedelta(days=30))
repository.files.rewrite({name!r} + MANIFEST, repository.signed(aged))
"""
"""Makes a backup 30 days old."""
MACHINE, PERSON = pyrage.x25519.Identity.generate(), pyrage.x25519.Identity.generate()


def directory(home: Home) -> Path:
    return Path(home.variables["BACKUP_DIR"])


def body_of(s3: S3, name: str) -> bytes:
    content: bytes = s3.client.get_object(Bucket=NAME, Key=f"rack/{name}")["Body"].read()
    return content


def documents(s3: S3) -> set[str]:
    """The names of the objects in the bucket, without the history."""
    return {name.removeprefix("rack/") for name in s3.names() if "/events/" not in name}


def verifications(home: Home) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = home.json("list_backups")["backups"][0]["manifest"]["verifications"]
    return found


# --- Plain ------------------------------------------------------------------------------------------------------------


def test_copy_in_s3_is_made_verified_and_restored(home: Home, s3: S3, server: Server, database: str) -> None:
    made = home.manage("backup_database", "--note", "off the machine")
    assert "bucket: 1 backup copied and read back" in made
    name = home.json("list_backups")["backups"][0]["name"]
    assert documents(s3) == {name, f"{name}.json", "location.json"}
    assert body_of(s3, name) == (directory(home) / name).read_bytes()
    assert "all tables match the snapshot" in home.manage("verify_backup", name, "--restore", "--location", "bucket")
    assert (verifications(home)[-1]["level"], verifications(home)[-1]["location"]) == ("restored", "bucket")
    (directory(home) / name).unlink()
    server.query("DELETE FROM connections", database)
    home.manage("restore_database", name, "--yes")
    assert server.query("SELECT count(*) FROM connections", database) == [(80,)]


def test_stored_object_is_the_gzip_file_without_content_encoding(home: Home, s3: S3) -> None:
    name = home.json("backup_database")["backup"]
    stored = s3.client.get_object(Bucket=NAME, Key=f"rack/{name}")
    assert "ContentEncoding" not in stored
    assert b"PostgreSQL database dump complete" in gzip.decompress(stored["Body"].read())


def test_old_copies_are_pruned_by_the_policy_of_the_bucket(home: Home, s3: S3) -> None:
    home.variables["BACKUP_RETENTION_DAYS"] = "60"
    home.variables["BACKUP_LOCATION_BUCKET_RETENTION_DAYS"] = "20"
    old, new = (home.json("backup_database")["backup"] for _ in range(2))
    home.python(AGE.format(name=old))
    assert "bucket: 1 backup deleted." in home.manage("copy_backups")
    assert documents(s3) == {new, f"{new}.json", "location.json"}
    assert (directory(home) / old).exists()


def test_changed_copy_does_not_count_and_is_replaced(home: Home, s3: S3) -> None:
    name = home.json("backup_database")["backup"]
    body = body_of(s3, name)
    s3.client.put_object(Bucket=NAME, Key=f"rack/{name}", Body=bytes([*body[:-1], body[-1] ^ 1]))
    assert "its SHA-256 differs" in home.manage("verify_backup", name, "--location", "bucket", code=3)
    home.manage("verify_backup", name)
    assert "bucket: 1 backup copied and read back" in home.manage("copy_backups")
    assert body_of(s3, name) == body


# --- Encrypted --------------------------------------------------------------------------------------------------------


@pytest.fixture
def encrypted(home: Home) -> Home:
    """A host whose copies are for two keys."""
    home.variables |= {
        "BACKUP_LOCATION_BUCKET_ENCRYPTED": "true",
        "BACKUP_AGE_IDENTITY": str(MACHINE),
        "BACKUP_AGE_RECIPIENTS": str(PERSON.to_public()),
    }
    return home


def test_encrypted_copy_is_opened_by_both_keys_and_restored(
    encrypted: Home, s3: S3, server: Server, database: str
) -> None:
    name = encrypted.json("backup_database")["backup"]
    plain = (directory(encrypted) / name).read_bytes()
    assert documents(s3) == {f"{name}.age", f"{name}.json.age", "location.json"}
    assert all(object_.endswith(".age") for object_ in s3.names() if "/events/" in object_)
    for key in (MACHINE, PERSON):
        assert pyrage.decrypt(body_of(s3, f"{name}.age"), [key]) == plain
    assert not list((directory(encrypted) / "outgoing").iterdir())
    (directory(encrypted) / name).unlink()
    assert "all tables match the snapshot" in encrypted.manage("verify_backup", name, "--restore")
    server.query("DELETE FROM connections", database)
    encrypted.manage("restore_database", name, "--yes")
    assert server.query("SELECT count(*) FROM connections", database) == [(80,)]


def test_encrypted_copy_needs_the_key_of_a_person(encrypted: Home, s3: S3) -> None:
    del encrypted.variables["BACKUP_AGE_RECIPIENTS"]
    name = encrypted.json("backup_database")["backup"]
    assert "manage.py create_recovery_kit" in encrypted.manage("copy_backups", code=1)
    assert not [found for found in s3.names() if name in found]


# --- What goes wrong --------------------------------------------------------------------------------------------------


@pytest.fixture
def noise(server: Server, database: str) -> None:
    """Rows that do not compress, and more than two parts of an upload."""
    server.query(
        "CREATE TABLE noise AS SELECT n, encode(sha512((n::text)::bytea), 'hex') || encode(sha512((-n)::text::bytea),"
        " 'hex') AS text FROM generate_series(1, 700000) AS n",
        database,
    )


def wait_for_upload(s3: S3, process: "subprocess.Popen[str]") -> str:
    """The name of the object, as soon as its upload has begun."""
    deadline = time.monotonic() + 60
    while not (begun := s3.begun_uploads()):
        assert time.monotonic() < deadline, "no upload began"
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    return begun[0]


@pytest.mark.usefixtures("noise")
def test_killed_upload_leaves_a_backup_without_that_copy(home: Home, s3: S3) -> None:
    with home.start("backup_database") as process:
        key = wait_for_upload(s3, process)
        process.send_signal(signal.SIGKILL)
    assert key not in s3.names()
    (backup,) = home.json("list_backups")["backups"]
    assert backup["name"] == key.removeprefix("rack/")
    assert "bucket: 1 backup copied and read back" in home.manage("copy_backups")
    assert key in s3.names()


@pytest.mark.usefixtures("noise")
def test_sigterm_aborts_upload_and_leaves_the_backup(home: Home, s3: S3) -> None:
    with home.start("backup_database") as process:
        key = wait_for_upload(s3, process)
        process.terminate()
        process.communicate()
    assert process.returncode == 130
    assert key not in s3.names()
    assert s3.begun_uploads() == []
    assert len(home.json("list_backups")["backups"]) == 1


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"BACKUP_LOCATION_BUCKET": "s3://not-there"}, "The specified bucket does not exist"),
        ({"BACKUP_LOCATION_BUCKET_ENDPOINT": "http://127.0.0.1:1"}, "Could not connect to the endpoint URL"),
    ],
)
def test_unreachable_bucket_fails_the_copy_and_not_the_backup(home: Home, change: dict[str, str], reason: str) -> None:
    home.variables |= change
    made = home.manage("backup_database")
    assert "Verified by reading it back" in made
    assert reason in made
    copied = home.manage("copy_backups", code=1)
    assert reason in copied
    assert "Traceback" not in made + copied
    assert "Check the settings BACKUP_LOCATION_BUCKET_…" in copied
    assert [copy["location"] for copy in home.json("list_backups")["backups"][0]["copies"]] == ["local"]


def test_keys_are_read_from_files(home: Home, tmp_path: Path) -> None:
    for name in ("BACKUP_LOCATION_BUCKET_ACCESS_KEY", "BACKUP_LOCATION_BUCKET_SECRET_KEY"):
        (tmp_path / name).write_text(home.variables.pop(name))
        home.variables[f"{name}_FILE"] = str(tmp_path / name)
    assert "bucket: 1 backup copied and read back" in home.manage("backup_database")
