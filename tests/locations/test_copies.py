"""Backups are copied to other storage locations, read back, compared, and pruned there."""

import dataclasses
import errno
import json
import os
from pathlib import Path

import pytest

from ops import operations
from ops.backups.encryption import AgeKeys
from ops.backups.locations import copying, state
from ops.backups.retention import Policy
from ops.errors import ArtifactInvalid, PreconditionFailed
from ops.models import Run
from ops.runs.lock import copies_lock, database_lock
from tests.locations.support import DAY, MACHINE, NOW, Installation

pytestmark = pytest.mark.django_db(transaction=True)
PLAIN = {"name": "disk", "encrypted": False}
SECRET = {"name": "nas"}


def write(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    path.chmod(0o600)


def test_a_plain_location_has_the_same_bytes_and_alone_is_a_backup_directory(tmp_path):
    lab = Installation(tmp_path, PLAIN)
    name = lab.back_up()
    result = lab.copy()
    assert result.locations["disk"].copied == (name,)
    assert lab.files("disk") == lab.files("backups")
    lab.copy()
    events = {path.name for path in (tmp_path / "disk" / "events").iterdir()}
    assert events < {path.name for path in (tmp_path / "backups" / "events").iterdir()}
    record = lab.catalog.get(name)
    assert record.locations == ("local", "disk")
    assert record.copies["disk"].sha256 == record.manifest.sha256
    alone = Installation(tmp_path)
    (tmp_path / "backups").rename(tmp_path / "lost")
    (tmp_path / "disk").rename(tmp_path / "backups")
    assert alone.catalog.get(name).verified


def test_encrypted_locations_have_one_ciphertext_and_nothing_else(tmp_path):
    lab = Installation(tmp_path, SECRET, {"name": "far", "off_site": True}, PLAIN)
    name = lab.back_up(content=b"SECRET" * 1000)
    lab.copy()
    near, far = lab.files("nas"), lab.files("far")
    assert list(near) == list(far) == [f"{name}.age", f"{name}.json.age"]
    assert near[f"{name}.age"] == far[f"{name}.age"]
    encryption = lab.catalog.get(name).manifest.encryption
    assert encryption.recipients == lab.age_keys.recipients
    assert len(near[f"{name}.age"]) == encryption.size
    assert not list((tmp_path / "backups" / "outgoing").iterdir())
    for path in [path for folder in ("nas", "far") for path in (tmp_path / folder).rglob("*") if path.is_file()]:
        assert path.name == "location.json" or path.read_bytes().startswith(b"age-encryption.org/v1\n"), path


def test_backups_that_a_location_had_before_it_was_encrypted_are_named(tmp_path):
    lab = Installation(tmp_path, {**SECRET, "encrypted": False})
    name = lab.back_up()
    lab.copy()
    lab = Installation(tmp_path, SECRET)
    assert lab.copy().locations["nas"].copied == (name,)
    log = Run.objects.latest("started_at").log
    assert f"nas: It is encrypted, and has 1 file of backups from before. Delete them there: {name}." in log


def test_second_run_writes_nothing_to_the_location(tmp_path):
    lab = Installation(tmp_path, SECRET)
    lab.back_up()
    lab.copy()
    before = times_of(tmp_path / "nas")
    assert lab.copy().locations["nas"].copied == ()
    assert times_of(tmp_path / "nas") == before


def times_of(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.glob("*") if path.is_file()}


def test_location_that_is_added_later_gets_the_ciphertext_of_the_others(tmp_path):
    name = (lab := Installation(tmp_path, SECRET)).back_up()
    lab.copy()
    later = Installation(tmp_path, SECRET, {"name": "far"})
    later.copy()
    assert later.files("far")[f"{name}.age"] == lab.files("nas")[f"{name}.age"]


def test_changed_manifest_follows(tmp_path):
    lab = Installation(tmp_path, SECRET)
    name = lab.back_up()
    lab.copy()
    lab.catalog.change(name, pinned=True, note="before the move")
    lab.copy()
    manifest = lab.catalog.others["nas"].repository.get(name).manifest
    assert (manifest.pinned, manifest.note) == (True, "before the move")


@pytest.mark.parametrize("damage", ["changed", "truncated", "empty", "missing", "manifest missing"])
def test_copy_that_was_damaged_is_made_again(tmp_path, damage):
    lab = Installation(tmp_path, SECRET)
    name = lab.back_up()
    lab.copy()
    good = lab.files("nas")
    path = tmp_path / "nas" / f"{name}.age"
    match damage:
        case "changed":
            write(path, good[path.name][:-1] + b"\0")
            copy = copying.examine(lab.catalog, lab.catalog.get(name).manifest, "nas", is_good=False)
            assert lab.catalog.record_check(name, "nas", copy).locations == ("local",)
        case "truncated":
            write(path, good[path.name][:100])
        case "empty":
            write(path, b"")
        case "missing":
            path.unlink()
        case _:
            (tmp_path / "nas" / f"{name}.json.age").unlink()
    lab.copy()
    with lab.catalog.open_file(lab.catalog.get(name).manifest, "nas") as file:
        assert file.read() == lab.files("backups")[name]
    assert lab.catalog.others["nas"].repository.get(name).verified
    assert lab.catalog.get(name).locations == ("local", "nas")


def test_location_that_returns_other_bytes_does_not_count(tmp_path, monkeypatch):
    lab = Installation(tmp_path, PLAIN)
    name = lab.back_up()
    context = lab.context
    storage = context.repository.others["disk"].storage
    real = storage.open
    monkeypatch.setattr(
        storage, "open", lambda name, mode="rb": Lying(real(name, mode)) if "gz" in name else real(name)
    )
    result = operations.copy_backups(context, Run(kind=Run.Kind.COPY, requested_by="ada"))
    assert result.locations["disk"].error == (
        f"{name} was copied to disk ({tmp_path}/disk), but reading it back showed:"
        " Its SHA-256 is not that of the backup."
        " The copy does not count. Check that location; the next run copies the file again."
    )
    assert lab.catalog.get(name).locations == ("local",)
    assert Run.objects.get(kind="copy").status == Run.Status.FAILED


class Lying:
    """A file whose first byte is another one."""

    def __init__(self, file):
        self.file, self.first = file, True

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        self.file.close()

    def read(self, size=-1):
        block = self.file.read(size)
        if self.first and block:
            self.first = False
            return bytes([block[0] ^ 1]) + block[1:]
        return block

    def close(self):
        self.file.close()


def test_unmounted_directory_is_noticed_and_not_filled(tmp_path):
    lab = Installation(tmp_path, PLAIN)
    lab.back_up()
    lab.copy()
    (tmp_path / "disk").rename(tmp_path / "the disk")
    (tmp_path / "disk").mkdir()
    error = lab.copy().locations["disk"].error
    assert error.startswith(
        f"disk ({tmp_path}/disk) has no marker (location.json), and it had one before. Nothing was written there."
        " Is it mounted, and is the address right?"
    )
    assert not list((tmp_path / "disk").iterdir())
    state = lab.state("disk")
    assert not state.answers
    assert state.failing_since
    assert lab.catalog.get(lab.catalog.records()[0].name).reachable == ("local",)
    (tmp_path / "disk").rmdir()
    (tmp_path / "the disk").rename(tmp_path / "disk")
    assert lab.copy().locations["disk"].error == ""
    assert lab.state("disk").failing_since is None


def test_location_that_is_backup_dir_is_refused(tmp_path):
    lab = Installation(tmp_path, PLAIN | {"url": str(tmp_path / "backups")})
    name = lab.back_up()
    assert lab.copy().locations["disk"].error == (
        f"disk ({tmp_path}/backups) is the same place as local. No backup was copied or deleted there."
        " Give each storage location an address of its own. If its files were copied from another one, delete"
        " location.json in one of them."
    )
    assert lab.catalog.get(name).reachable == ("local",)


def test_location_at_the_place_of_another_is_refused(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "disk")
    lab = Installation(tmp_path, PLAIN, PLAIN | {"name": "other", "url": str(tmp_path / "link")})
    name = lab.back_up()
    for _time in range(2):
        results = lab.copy().locations
        assert results["disk"].error == ""
        assert results["other"].error.startswith(
            f"other ({tmp_path}/link) is the same place as disk. No backup was copied or deleted there."
        )
    assert lab.catalog.get(name).reachable == ("local", "disk")


def test_failing_location_does_not_stop_the_others(tmp_path):
    lab = Installation(tmp_path, {"name": "broken", "url": "/proc/no/such", "encrypted": False}, PLAIN)
    name = lab.back_up()
    result = lab.copy()
    assert result.locations["broken"].error
    assert result.locations["disk"].copied == (name,)
    run = Run.objects.get(kind="copy")
    assert run.error.startswith("Not every storage location is up to date. broken: ")
    assert run.hint.startswith("The backups themselves are not affected.")


def test_missing_or_damaged_local_file_is_read_from_the_nearest_good_copy(tmp_path):
    lab = Installation(tmp_path, {"name": "far", "off_site": True}, SECRET)
    name = lab.back_up(content=b"rows" * 1000)
    content = lab.files("backups")[name]
    lab.copy()
    (tmp_path / "backups" / name).unlink()
    record = lab.catalog.get(name)
    assert (record.locations, record.verified, record.file_missing) == (("nas", "far"), True, False)
    assert lab.restored(name) == content
    (tmp_path / "nas" / f"{name}.age").write_bytes(b"")
    lab.copy("far")
    lab.copy("nas")
    assert lab.restored(name) == content


def test_backup_without_any_good_copy_is_refused(tmp_path):
    lab = Installation(tmp_path, PLAIN)
    name = lab.back_up()
    lab.copy()
    (tmp_path / "backups" / name).unlink()
    (tmp_path / "disk" / name).unlink()
    lab.copy()
    record = lab.catalog.get(name)
    assert (record.verified, record.file_missing, record.locations) == (False, True, ())
    with pytest.raises(ArtifactInvalid, match="Its data file is missing"):
        lab.restored(name)


def test_location_is_pruned_by_its_own_policy_and_the_manifest_goes_with_the_last_copy(tmp_path):
    lab = Installation(tmp_path, {**PLAIN, "retention_days": 30})
    names = [lab.back_up(NOW - days * DAY) for days in (40, 20, 1)]
    lab.copy()
    assert [name for name in lab.files("disk") if name.endswith("gz")] == names[1:]
    assert lab.prune() == names[:2][::-1]
    assert not lab.files("backups").get(names[1])
    assert [record.name for record in lab.catalog.records()] == names[:0:-1]
    assert lab.catalog.get(names[1]).locations == ("disk",)
    shorter = Installation(tmp_path, {**PLAIN, "retention_days": 7})
    assert list(shorter.copy().locations["disk"].deleted) == [names[1]]
    assert [record.name for record in shorter.catalog.records()] == [names[2]]


def test_backup_stays_while_the_location_that_should_have_it_does_not_answer(tmp_path):
    lab = Installation(tmp_path, {**PLAIN, "retention_days": 30})
    old, new = lab.back_up(NOW - 20 * DAY), lab.back_up()
    lab.copy()
    (tmp_path / "disk").rename(tmp_path / "unplugged")
    lab.copy()
    assert lab.prune() == []
    (tmp_path / "unplugged").rename(tmp_path / "disk")
    lab.copy()
    assert lab.prune() == [old]
    assert lab.catalog.get(new).locations == ("local", "disk")


@pytest.mark.parametrize("days", [1, 30])
def test_pruning_follows_the_policy_of_its_moment(tmp_path, days):
    """A run may take hours, and an administrator may change the policy meanwhile."""
    lab = Installation(tmp_path, PLAIN, policy=Policy(days=31 - days))
    old, _new = lab.back_up(NOW - 10 * DAY), lab.back_up()
    Installation(tmp_path, PLAIN, policy=Policy(days=365)).copy()
    context = dataclasses.replace(lab.context, read_policy=lambda: Policy(days=days))
    copied = operations.copy_backups(context, Run(kind=Run.Kind.COPY, requested_by="ada"))
    pruned = operations.prune(context, Run(kind=Run.Kind.PRUNE, requested_by="ada"))
    expired = [old] if days == 1 else []
    assert (list(copied.locations["disk"].deleted), list(pruned.deleted)) == (expired, expired)


def test_last_verified_backup_goes_nowhere(tmp_path):
    lab = Installation(tmp_path, PLAIN, policy=Policy(days=1))
    only = lab.back_up(NOW - 400 * DAY)
    lab.copy()
    assert lab.prune() == []
    assert lab.copy().locations["disk"].deleted == {}
    assert lab.catalog.get(only).locations == ("local", "disk")


def test_deleted_backup_is_deleted_everywhere_and_does_not_come_back(tmp_path):
    lab = Installation(tmp_path, PLAIN, SECRET)
    first, second = lab.back_up(NOW - DAY), lab.back_up()
    lab.copy()
    lab.catalog.delete(first)
    lab.copy()
    assert [record.name for record in lab.catalog.records()] == [second]
    assert not [name for folder in ("disk", "nas", "backups") for name in lab.files(folder) if name.startswith(first)]


def test_new_backup_directory_that_takes_over_learns_what_a_location_has(tmp_path):
    lab = Installation(tmp_path, SECRET)
    name = lab.back_up()
    lab.copy()
    (tmp_path / "backups").rename(tmp_path / "lost")
    lab.copy(take_over=True)
    assert lab.catalog.get(name).locations == ("nas",)
    assert lab.files("nas")[f"{name}.age"]


def test_manifest_that_is_dated_later_than_it_was_stored_pushes_none_out(tmp_path):
    """Whoever has the signing key may date a backup into the future of the others."""
    lab = Installation(tmp_path, {**PLAIN, "retention_days": 30})
    real, forged = lab.back_up(NOW - 4 * DAY), lab.back_up(NOW - 2 * DAY)
    lab.copy()
    stored = (NOW - 3 * DAY).timestamp()
    os.utime(tmp_path / "disk" / forged, (stored, stored))
    lab = Installation(tmp_path, {**PLAIN, "retention_days": 1}, policy=Policy(days=1))
    assert list(lab.copy().locations["disk"].deleted) == []
    assert {real, forged} < set(lab.files("disk"))


def test_clock_of_this_machine_does_not_expire_copies(tmp_path, time_machine):
    lab = Installation(tmp_path, {**PLAIN, "retention_days": 7})
    name, newest = lab.back_up(NOW - DAY), lab.back_up()
    lab.copy()
    time_machine.move_to(NOW + 3650 * DAY)
    assert lab.copy().locations["disk"].deleted == {}
    assert {name, newest} < set(lab.files("disk"))


def test_copies_are_refused_while_they_are_being_made(tmp_path):
    lab = Installation(tmp_path, PLAIN)
    with copies_lock(lab.context, "a copying of backups by ada"), pytest.raises(PreconditionFailed) as caught:
        lab.copy()
    assert caught.value.message.startswith("Backups are being copied already: a copying of backups by ada on ")


def test_backup_can_be_made_while_copies_are_made(tmp_path):
    lab = Installation(tmp_path, PLAIN)
    with copies_lock(lab.context, "copying"), database_lock(lab.context, "backing up"):
        pass


def test_backup_succeeds_while_a_suspended_process_holds_the_states(tmp_path, monkeypatch):
    lab = Installation(tmp_path, PLAIN)
    lab.back_up(NOW - 20 * DAY)
    monkeypatch.setattr(state, "LOCK_TIMEOUT", 0.1)
    run = Run(kind=Run.Kind.BACKUP, requested_by="ada")
    with lab.catalog.states.locked():
        result = operations.back_up(lab.context, run)
    assert (Run.objects.get().status, result.deleted) == ("succeeded", {})
    assert "No backup was pruned. Another process has held" in Run.objects.get().log
    assert lab.catalog.get(result.backup).verified


def test_encrypted_location_without_a_persons_key_is_refused(tmp_path):
    lab = Installation(tmp_path, SECRET, PLAIN)
    lab.age_keys = AgeKeys.of_machine([str(MACHINE)], [])
    name = lab.back_up()
    result = lab.copy()
    assert result.locations["nas"].error.startswith("Encrypted backups need two keys that open them")
    assert result.locations["disk"].copied == (name,)
    assert not lab.files("nas")


def test_copy_of_an_installation_leaves_the_copies_of_the_original_alone(tmp_path):
    """A test system with the environment of the original: the same keys and addresses, another BACKUP_DIR."""
    original, test = tmp_path / "original", tmp_path / "test"
    shared = {"name": "nas", "url": str(tmp_path / "nas"), "retention_days": 1}
    labs = []
    for folder in (original, test):
        folder.mkdir()
        labs.append(Installation(folder, shared, policy=Policy(days=1)))
    old = labs[0].back_up(NOW - 5 * DAY)
    labs[0].copy()
    labs[1].back_up(NOW)
    before = {path.name: path.read_bytes() for path in (tmp_path / "nas").glob("*") if path.is_file()}
    error = labs[1].copy().locations["nas"].error
    assert error.startswith(f"nas ({tmp_path}/nas) is used by another installation, which has another BACKUP_DIR.")
    assert {path.name: path.read_bytes() for path in (tmp_path / "nas").glob("*") if path.is_file()} == before
    assert labs[1].copy(take_over=True).locations["nas"].error == ""
    assert labs[0].copy().locations["nas"].error == error
    assert old not in labs[0].catalog.get(old).reachable


def test_installations_with_prefixes_of_their_own_share_a_location(tmp_path):
    marker = tmp_path / "disk" / "location.json"
    marker.parent.mkdir()
    id_ = "0d7e56c0-6c39-4c9a-9f0e-2a9a3c0b6f11"
    marker.write_text(f'{{"id": "{id_}", "owners": {{"attic": "{id_}"}}}}')
    lab = Installation(tmp_path, PLAIN)
    lab.back_up()
    assert lab.copy().locations["disk"].error == ""
    owners = json.loads(marker.read_text())["owners"]
    assert owners == {"attic": id_, "homerack": lab.catalog.installation_id()}


def test_backup_that_cannot_be_encrypted_for_lack_of_space_is_no_fault_of_the_location(tmp_path, monkeypatch):
    lab = Installation(tmp_path, SECRET)
    first = lab.back_up(NOW - DAY)
    lab.copy()
    second = lab.back_up()

    def full(_writer, _data):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(copying.CountingWriter, "write", full)
    error = lab.copy().locations["nas"].error
    assert error == (
        f"{second} could not be encrypted: No space left on device."
        f" Free some space in {tmp_path}/backups: an age file is as large as the backup."
    )
    assert lab.state("nas").answers
    assert lab.catalog.get(first).reachable == ("local", "nas")
