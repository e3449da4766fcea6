"""Backups in S3, against an S3-compatible server: the round trip, and what broken uploads leave."""

import gzip
import signal
import subprocess
import time
from pathlib import Path

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


def test_backup_in_s3_is_made_listed_verified_and_restored(home: Home, s3: S3, server: Server, database: str) -> None:
    made = home.manage("backup_database", "--note", "off the machine")
    assert f"Stored in s3://{NAME}/rack" in made
    name = home.json("list_backups")["backups"][0]["name"]
    assert {f"rack/{name}", f"rack/{name}.json"} <= set(s3.names())
    assert "off the machine" in home.manage("list_backups")
    assert "all tables match the snapshot" in home.manage("verify_backup", name, "--restore")
    assert home.json("list_backups")["backups"][0]["manifest"]["verifications"][-1]["level"] == "restored"
    server.query("DELETE FROM connections", database)
    home.manage("restore_database", name, "--yes")
    assert server.query("SELECT count(*) FROM connections", database) == [(80,)]
    assert not list(Path(home.variables["BACKUP_DIR"]).glob("*.gz"))


def test_stored_object_is_the_gzip_file_without_content_encoding(home: Home, s3: S3) -> None:
    name = home.json("backup_database")["backup"]
    stored = s3.client.get_object(Bucket=NAME, Key=f"rack/{name}")
    assert "ContentEncoding" not in stored
    assert b"PostgreSQL database dump complete" in gzip.decompress(stored["Body"].read())


def test_prune_deletes_old_objects(home: Home, s3: S3) -> None:
    old, new = (home.json("backup_database")["backup"] for _ in range(2))
    home.python(AGE.format(name=old))
    assert "deleted" in home.manage("prune_backups")
    assert {name.partition(".")[0] for name in s3.names() if ".sql.gz" in name} == {f"rack/{new.partition('.')[0]}"}


def test_verification_of_changed_object_fails(home: Home, s3: S3) -> None:
    name = home.json("backup_database")["backup"]
    body = s3.client.get_object(Bucket=NAME, Key=f"rack/{name}")["Body"].read()
    s3.client.put_object(Bucket=NAME, Key=f"rack/{name}", Body=bytes([*body[:-1], body[-1] ^ 1]))
    assert "its SHA-256 differs" in home.manage("verify_backup", name, code=3)


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
def test_killed_upload_lists_no_backup(home: Home, s3: S3) -> None:
    with home.start("backup_database") as process:
        name = wait_for_upload(s3, process)
        process.send_signal(signal.SIGKILL)
    assert name not in s3.names()
    assert home.json("list_backups")["backups"] == []
    assert "was killed" in home.manage("backup_database")
    assert len(home.json("list_backups")["backups"]) == 1


@pytest.mark.usefixtures("noise")
def test_broken_dump_aborts_upload(home: Home, s3: S3, server: Server, database: str) -> None:
    with home.start("backup_database") as process:
        name = wait_for_upload(s3, process)
        copying = f"datname = '{database}' AND query LIKE 'COPY %'"
        assert server.query(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {copying}") == [(True,)]
        _, errors = process.communicate()
    assert process.returncode == 1
    assert "pg_dump failed with exit code 1" in errors
    assert name not in s3.names()
    assert s3.begun_uploads() == []


@pytest.mark.usefixtures("noise")
def test_sigterm_aborts_upload(home: Home, s3: S3) -> None:
    with home.start("backup_database") as process:
        name = wait_for_upload(s3, process)
        process.terminate()
        process.communicate()
    assert process.returncode == 130
    assert name not in s3.names()
    assert s3.begun_uploads() == []


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"BACKUP_S3_BUCKET": "not-there"}, "The specified bucket does not exist"),
        ({"BACKUP_S3_ENDPOINT": "http://127.0.0.1:1"}, "Could not connect to the endpoint URL"),
    ],
)
def test_backup_to_unreachable_bucket_names_the_settings(home: Home, change: dict[str, str], reason: str) -> None:
    home.variables |= change
    output = home.manage("backup_database", code=1)
    assert reason in output
    assert "BACKUP_S3_" in output
    assert "Traceback" not in output


def test_keys_are_read_from_files(home: Home, tmp_path: Path) -> None:
    for name in ("BACKUP_S3_ACCESS_KEY", "BACKUP_S3_SECRET_KEY"):
        (tmp_path / name).write_text(home.variables.pop(name))
        home.variables[f"{name}_FILE"] = str(tmp_path / name)
    assert "Verified by reading it back" in home.manage("backup_database")


def test_check_without_bucket_name_fails(home: Home) -> None:
    home.variables["BACKUP_S3_BUCKET"] = ""
    assert "BACKUP_S3_BUCKET is not set, but BACKUP_STORAGE is s3." in home.manage("check", code=1)
