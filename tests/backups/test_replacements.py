"""The record of the last restore of each database, next to the backups."""

import datetime as dt
import uuid
from pathlib import Path
from typing import Any

import pytest
from django.core.files.base import ContentFile

from ops.backups import replacements
from ops.backups.replacements import LastReplacement, Replacement
from ops.backups.storage.atomic_files import AtomicFiles
from ops.backups.storage.local import PrivateFileSystemStorage
from ops.backups.storage.s3 import S3BackupStorage

NOON = dt.datetime(2026, 11, 23, 12, tzinfo=dt.UTC)
EVENTS = 10_000


@pytest.fixture
def files(tmp_path: Path) -> AtomicFiles:
    return AtomicFiles(PrivateFileSystemStorage(tmp_path))


def restore(minutes: int = 0) -> Replacement:
    """One that began so many minutes after noon."""
    began = NOON + dt.timedelta(minutes=minutes)
    return Replacement(run=uuid.uuid4(), kind="restore", backup="lab.sql", requested_at=began, started_at=began)


def done(minutes: int = 0) -> LastReplacement:
    return LastReplacement(done=restore(minutes))


def test_each_database_and_each_server_has_its_own(files: AtomicFiles) -> None:
    here, there, other = done(1), done(2), done(3)
    replacements.write(files, here, server="1", database="lab")
    replacements.write(files, there, server="2", database="lab")
    replacements.write(files, other, server="1", database="Ünï/côdé 🦄")
    assert replacements.read(files, server="1", database="lab") == here
    assert replacements.read(files, server="2", database="lab") == there
    assert replacements.read(files, server="3", database="lab") == LastReplacement()
    assert replacements.read(files, server="1", database="Ünï/côdé 🦄") == other


def test_name_decides_where_the_server_is_not_known(files: AtomicFiles) -> None:
    replacements.write(files, done(2), server="1", database="lab")
    newest = done(3)
    replacements.write(files, newest, server="2", database="lab")
    assert replacements.read(files, server="", database="lab") == newest
    # The right is lost: what was known of that database goes on.
    settled = LastReplacement(done=newest.done, is_lost=True)
    replacements.write(files, settled, server="", database="lab")
    assert replacements.read(files, server="2", database="lab") == settled
    # The right is there again.
    last = done(4)
    replacements.write(files, last, server="2", database="lab")
    assert replacements.read(files, server="", database="lab") == last


def test_run_that_is_not_known_to_be_done_is_kept_with_the_one_before(files: AtomicFiles) -> None:
    last = LastReplacement(done=restore(1), unsure=restore(2))
    replacements.write(files, last, server="1", database="lab")
    assert replacements.read(files, server="1", database="lab") == last


def test_the_newest_servers_are_remembered(files: AtomicFiles) -> None:
    for number in range(replacements.MOST_SERVERS + 5):
        replacements.write(files, done(number), server=str(number), database="lab")
    assert replacements.read(files, server="4", database="lab") == LastReplacement()
    assert replacements.read(files, server="5", database="lab").done


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b'{"servers": {"1": 5}}', b'{"servers": {"1": {"done": {"run": "x"}}}}', b"{" * 100_000],
)
def test_damaged_record_says_nothing_and_is_written_again(files: AtomicFiles, content: bytes) -> None:
    files.storage.save(replacements.path_of("lab"), ContentFile(content))
    assert replacements.read(files, server="1", database="lab") == LastReplacement()
    last = done()
    replacements.write(files, last, server="1", database="lab")
    assert replacements.read(files, server="1", database="lab") == last


def test_history_is_not_listed_in_a_directory(files: AtomicFiles, tmp_path: Path, monkeypatch: Any) -> None:
    last = done()
    replacements.write(files, last, server="1", database="lab")
    folder = tmp_path / "events"
    folder.mkdir()
    for number in range(EVENTS):
        (folder / f"20261123_120000_{number:06}_{number}_ended.json").touch()
    opened: list[str] = []
    real = PrivateFileSystemStorage._open
    monkeypatch.setattr(
        PrivateFileSystemStorage, "_open", lambda self, name, mode: opened.append(name) or real(self, name, mode)
    )
    for method in ("listdir", "entries"):
        monkeypatch.setattr(PrivateFileSystemStorage, method, refuse)
    assert replacements.read(files, server="1", database="lab") == last
    assert opened == [replacements.path_of("lab")]


def refuse(*_arguments: Any) -> None:
    raise AssertionError("A folder was listed.")


def test_history_is_not_listed_in_a_bucket(s3: Any) -> None:
    storage = S3BackupStorage(**s3.options())
    files, last, requests = AtomicFiles(storage), done(), []
    replacements.write(files, last, server="1", database="lab")
    storage.client.meta.events.register("before-call.s3", lambda model, **_: requests.append(model.name))
    assert replacements.read(files, server="1", database="lab") == last
    assert requests == ["GetObject"]
