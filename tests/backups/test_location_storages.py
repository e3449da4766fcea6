"""The storages of storage locations behave alike: a directory, SFTP servers with and without extensions, a bucket."""

import datetime as dt
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import SuspiciousFileOperation
from django.core.files.base import ContentFile

from ops.backups.compression import IteratorFile
from ops.backups.storage.entries import Entry
from ops.backups.storage.local import PrivateFileSystemStorage
from ops.backups.storage.s3 import S3BackupStorage
from ops.backups.storage.sftp import SftpBackupStorage
from ops.errors import PreconditionFailed
from tests.support.bucket import NAME
from tests.support.plain_sftp import plain_sftp_server

LARGE = bytes(range(256)) * 20_000
"""More than one block, and not a multiple of one."""


@pytest.fixture(params=["directory", "OpenSSH", "other SFTP", "s3"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    if request.param == "directory":
        yield PrivateFileSystemStorage(tmp_path / "backups")
    elif request.param == "OpenSSH":
        sshd = request.getfixturevalue("sshd")
        yield SftpBackupStorage(**sshd.options(path=f"{sshd.files}/new/rack"))
    elif request.param == "other SFTP":
        with plain_sftp_server(tmp_path / "new/rack") as server:
            yield SftpBackupStorage(**server.options())
    else:
        yield S3BackupStorage(**request.getfixturevalue("s3").options())


@pytest.fixture
def names(storage: Any, tmp_path: Path, request: pytest.FixtureRequest) -> Callable[[], set[str]]:
    """The files below the location, read without the storage."""

    def below(folder: Path) -> set[str]:
        return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}

    if isinstance(storage, PrivateFileSystemStorage):
        return lambda: below(storage.location)
    if isinstance(storage, SftpBackupStorage):
        return lambda: below(Path(storage.root))
    s3 = request.getfixturevalue("s3")
    return lambda: {name.removeprefix("rack/") for name in s3.names()}


def content(*blocks: bytes) -> IteratorFile:
    return IteratorFile(iter(blocks), "content")


def read(storage: Any, name: str) -> bytes:
    with storage.open(name, "rb") as file:
        return bytes(file.read())


def test_saved_file_is_read_back(storage, names):
    assert storage.save("a.sql.gz", content(LARGE, b"end")) == "a.sql.gz"
    assert storage.save("events/b.json", ContentFile(b"{}")) == "events/b.json"
    assert names() == {"a.sql.gz", "events/b.json"}
    assert read(storage, "a.sql.gz") == LARGE + b"end"
    assert (storage.exists("a.sql.gz"), storage.exists("b"), storage.exists("events/b.json")) == (True, False, True)
    assert (storage.size("a.sql.gz"), storage.size("events/b.json")) == (len(LARGE) + 3, 2)
    assert storage.listdir("") == storage.listdir(".") == (["events"], ["a.sql.gz"])
    assert storage.listdir("events") == ([], ["b.json"])


def test_entries_are_files_with_size_and_time(storage):
    before = dt.datetime.now(dt.UTC)
    storage.save("a", content(b"abc"))
    storage.save("b", content())
    storage.save("events/c", content(b"c"))
    entries = storage.entries()
    assert {name: entry.size for name, entry in entries.items()} == {"a": 3, "b": 0}
    assert storage.entries("events") == {"c": Entry(1, storage.entries("events")["c"].modified)}
    assert all(entry.modified.tzinfo is dt.UTC for entry in entries.values())
    assert all(abs(entry.modified - before) < dt.timedelta(minutes=1) for entry in entries.values())


def test_empty_location_has_no_entries(storage, names):
    assert storage.entries() == storage.entries("events") == {}
    assert storage.listdir("") == storage.listdir("events") == ([], [])
    assert not storage.exists("events/x")
    storage.delete("x")
    storage.delete("events/x")
    assert names() == set()


@pytest.mark.parametrize("call", ["open", "size"])
@pytest.mark.parametrize("name", ["x", "events/x"])
def test_missing_file_is_not_found(storage, call, name):
    with pytest.raises(FileNotFoundError):
        getattr(storage, call)(name)


def test_save_refuses_an_existing_file(storage, names):
    storage.save("x", content(b"old"))
    with pytest.raises(PreconditionFailed) as caught:
        storage.save("x", content(b"new"))
    assert str(caught.value) == f"{storage.display_location}/x exists already.\nNothing was changed."
    assert read(storage, "x") == b"old"
    assert names() == {"x"}


def test_replace_overwrites_or_creates(storage, names):
    storage.replace("x", content(b"first"))
    storage.replace("x", content(b"second"))
    assert read(storage, "x") == b"second"
    assert names() == {"x"}


def failing() -> Iterator[bytes]:
    yield LARGE
    raise OSError("The dump has ended.")


@pytest.mark.parametrize("method", ["save", "replace"])
def test_error_of_the_content_is_passed_on_and_leaves_nothing(storage, names, method):
    with pytest.raises(OSError, match=r"^The dump has ended\.$"):
        getattr(storage, method)("x", IteratorFile(failing(), "x"))
    assert names() == set()
    storage.save("x", content(b"next"))
    assert read(storage, "x") == b"next"


def test_failed_replace_keeps_the_old_file(storage, names):
    storage.save("x", content(b"old"))
    with pytest.raises(OSError, match=r"^The dump has ended\.$"):
        storage.replace("x", IteratorFile(failing(), "x"))
    assert read(storage, "x") == b"old"
    assert names() == {"x"}


def test_deleted_file_is_gone(storage, names):
    storage.save("x", content(b"x"))
    storage.delete("x")
    storage.delete("x")
    assert names() == set()


def test_file_is_read_in_pieces(storage):
    storage.save("x", content(LARGE))
    with storage.open("x", "rb") as file:
        pieces = list(iter(lambda: file.read(70_001), b""))
    assert b"".join(pieces) == LARGE


def test_several_files_are_read_in_turns(storage):
    storage.save("a", content(LARGE))
    storage.save("b", content(LARGE[::-1]))
    with storage.open("a", "rb") as a, storage.open("b", "rb") as b:
        found = [(a.read(100_000), b.read(100_000)) for _ in range(60)]
        assert storage.size("a") == len(LARGE)
    assert [b"".join(parts) for parts in zip(*found, strict=True)] == [LARGE, LARGE[::-1]]


def test_open_for_writing_is_refused(storage):
    with pytest.raises(ValueError, match=r"^Backups are read with mode 'rb', not 'wb'\.$"):
        storage.open("x", "wb")


CALLS: dict[str, Callable[[Any, str], Any]] = {
    "delete": lambda storage, name: storage.delete(name),
    "exists": lambda storage, name: storage.exists(name),
    "open": lambda storage, name: storage.open(name),
    "replace": lambda storage, name: storage.replace(name, content(b"x")),
    "save": lambda storage, name: storage.save(name, content(b"x")),
    "size": lambda storage, name: storage.size(name),
}


@pytest.mark.parametrize("call", CALLS)
def test_name_outside_the_location_is_refused(storage, names, call):
    for name in ("../x", "/etc/x", "a/b/c", "a/../x", "a\\b", "a\0b", "."):
        with pytest.raises(SuspiciousFileOperation):
            CALLS[call](storage, name)
    assert names() == set()


@pytest.mark.parametrize("storage", ["directory", "OpenSSH", "other SFTP"], indirect=True)
def test_deletion_that_fails_is_an_error(storage):
    storage.save("x/y", content(b"y"))
    with pytest.raises(PreconditionFailed):
        storage.delete("x")
    assert storage.exists("x/y")


def test_unlocked_file_has_no_date(storage):
    storage.save("x", content(b"x"))
    assert storage.locked_until("x") is None


def test_free_bytes_are_a_number_or_unknown(storage):
    free = storage.free_bytes()
    assert free is None or free > 0


def test_display_location_has_no_secrets(storage):
    assert NAME in storage.display_location or str(storage.display_location).endswith(("/backups", "/new/rack"))
    assert "secret" not in storage.display_location
