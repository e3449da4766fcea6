"""Directories that are unmounted, and disks that fill up."""

import pytest

from ops.backups.locations import copying
from ops.backups.retention import Policy
from ops.backups.storage.local import PrivateFileSystemStorage
from ops.errors import PreconditionFailed
from ops.operations import copies
from tests.locations.support import DAY, NOW, Installation

pytestmark = pytest.mark.django_db(transaction=True)
PLAIN = {"name": "disk", "encrypted": False}
SECRET = {"name": "nas"}


@pytest.mark.parametrize("document", [b"", b"{}", b'{"id": "x", "signature": {"key": "x", "hmac": "x"}}'])
def test_unmounted_directory_is_not_filled_when_its_state_is_lost(tmp_path, document):
    lab = Installation(tmp_path, PLAIN)
    name = lab.back_up()
    lab.copy()
    (tmp_path / "backups" / "locations" / "disk.json").write_bytes(document)
    (tmp_path / "disk").rename(tmp_path / "unplugged")
    (tmp_path / "disk").mkdir()
    for _run in range(2):
        assert "has no marker (location.json), and it had one before" in lab.copy().locations["disk"].error
    assert not list((tmp_path / "disk").iterdir())
    (tmp_path / "disk").rmdir()
    (tmp_path / "unplugged").rename(tmp_path / "disk")
    assert lab.copy().locations["disk"].error == ""
    assert lab.catalog.get(name).reachable == ("local", "disk")


def test_directory_that_is_unmounted_in_the_middle_is_not_filled(tmp_path, monkeypatch):
    lab = Installation(tmp_path, PLAIN)
    first, *others = [lab.back_up(NOW - days * DAY) for days in range(4)]
    write_manifest = copies.write_manifest

    def write_and_unmount(catalog, location, name):
        digest = write_manifest(catalog, location, name)
        (tmp_path / "disk").rename(tmp_path / "unplugged")
        (tmp_path / "disk").mkdir()
        return digest

    monkeypatch.setattr(copies, "write_manifest", write_and_unmount)
    assert "has no marker (location.json), and it had one before" in lab.copy().locations["disk"].error
    assert not list((tmp_path / "disk").iterdir())
    assert set(lab.files("unplugged")) == {first, f"{first}.json"}
    assert {lab.catalog.get(name).reachable for name in (first, *others)} == {("local",)}


def test_full_location_is_pruned_before_it_is_copied_to(tmp_path, monkeypatch):
    lab = Installation(tmp_path, PLAIN, policy=Policy(days=90))
    expired, kept = lab.back_up(NOW - 20 * DAY), lab.back_up(NOW - DAY)
    lab.copy()
    lab.policy = Policy(days=7)
    new = lab.back_up()
    save = PrivateFileSystemStorage._save

    def is_full(self: PrivateFileSystemStorage) -> bool:
        return self.location.name == "disk" and (self.location / expired).exists()

    def save_where_there_is_room(self: PrivateFileSystemStorage, name: str, content: object) -> str:
        if is_full(self) and name == new:
            raise PreconditionFailed("No space left on device.")
        return save(self, name, content)

    monkeypatch.setattr(PrivateFileSystemStorage, "free_bytes", lambda self: 0 if is_full(self) else 10**12)
    monkeypatch.setattr(PrivateFileSystemStorage, "_save", save_where_there_is_room)
    result = lab.copy().locations["disk"]
    assert (result.error, result.copied, list(result.deleted)) == ("", (new,), [expired])
    assert {kept, new} < set(lab.files("disk"))


def test_age_files_wait_for_a_failing_location_only_while_no_other_has_them(tmp_path):
    lab = Installation(tmp_path, SECRET, {"name": "away"})
    lab.back_up(NOW - 3 * DAY)
    lab.copy()
    (tmp_path / "away").rename(tmp_path / "unplugged")
    names = [lab.back_up(NOW - days * DAY) for days in (2, 1, 0)]
    lab.copy()
    assert [path.name for path in (tmp_path / "backups" / "outgoing").iterdir()] == [f"{names[-1]}.age"]
    (tmp_path / "unplugged").rename(tmp_path / "away")
    assert lab.copy().locations["away"].copied == tuple(names[::-1])
    assert {path.name: path.read_bytes() for path in (tmp_path / "nas").glob("*.gz.age")} == {
        path.name: path.read_bytes() for path in (tmp_path / "away").glob("*.gz.age")
    }


def test_age_file_that_is_damaged_while_it_waits_is_made_again(tmp_path, monkeypatch):
    lab = Installation(tmp_path, SECRET)
    name = lab.back_up()

    def refuse(*_arguments: object) -> None:
        raise PreconditionFailed("It does not answer.")

    with monkeypatch.context() as patched:
        patched.setattr(copying, "send", refuse)
        lab.copy()
    waiting = tmp_path / "backups" / "outgoing" / f"{name}.age"
    waiting.write_bytes(waiting.read_bytes()[:-1] + b"?")
    error = lab.copy().locations["nas"].error
    assert error.startswith(f"{name}.age was not copied: its SHA-256 is not the one in the manifest. ")
    assert lab.copy().locations["nas"].error == ""
    assert lab.catalog.get(name).reachable == ("local", "nas")
