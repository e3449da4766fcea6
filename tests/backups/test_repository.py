"""The repository, also with damaged files."""

import contextlib
import datetime as dt
import json
import os
from pathlib import Path
from typing import Any

import pytest
from django.core.files.base import ContentFile

from ops.backups.compression import decompressed
from ops.backups.manifest import Kind, Level, Verification
from ops.backups.repository import BackupRepository
from ops.backups.retention import Policy
from ops.backups.signing import Keys, Trust
from ops.backups.storage import local as storage_module
from ops.backups.storage.local import PrivateFileSystemStorage
from ops.errors import ArtifactInvalid, PreconditionFailed
from ops.keys import keys_from_settings
from ops.runs import context
from tests.backups import factories
from tests.backups.fault_injection import Faulty

NAME = "homerack_20261123_120000.sql.gz"
LIST_THEM = "`manage.py list_backups` shows all of them."
HOUR = dt.timedelta(hours=1)


@pytest.fixture
def repository(tmp_path: Path) -> BackupRepository:
    return BackupRepository(PrivateFileSystemStorage(tmp_path / "backups"), factories.KEYS, "homerack")


def overwrite(repository: BackupRepository, name: str, content: bytes) -> None:
    repository.storage.delete(name)
    repository.storage.save(name, ContentFile(content))


def document(repository: BackupRepository, name: str) -> dict[str, Any]:
    with repository.storage.open(name, "rb") as file:
        return json.loads(file.read())


# --- Backups are made and found ----------------------------------------------------------------------------------


def test_records_of_an_empty_storage_are_empty(repository):
    assert repository.records() == []
    assert repository.events() == []
    with pytest.raises(PreconditionFailed) as caught:
        repository.latest(now=factories.NOON)
    assert str(caught.value) == "There is no verified backup.\nMake one: manage.py backup_database"


def test_discarded_file_of_another_run_stays_when_it_is_a_backup(repository):
    """Both have chosen the same name; the first has lost its lock."""
    name = repository.next_name(Kind.SQL, factories.NOON)
    repository.store(name, iter([b"x"]))
    repository.discard(name)
    assert not repository.storage.exists(name)
    assert factories.backup(repository, kind=Kind.SQL).name == name
    repository.discard(name)
    assert repository.storage.exists(name)


@pytest.mark.parametrize("kind", Kind)
def test_open_gives_the_stored_file(repository, kind):
    content = b"CREATE TABLE rack ();\n" * 200_000
    name = repository.next_name(kind, factories.NOON)
    stored = repository.store(name, iter([content[:1000], content[1000:]]))
    assert stored.uncompressed_size == len(content)
    assert stored.size == repository.storage.size(name)
    assert (stored.size < len(content)) == kind.compressed
    assert repository.records() == []
    repository.publish(
        factories.manifest(
            name=name, kind=kind, size=stored.size, sha256=stored.sha256, uncompressed_size=stored.uncompressed_size
        ),
    )
    (entry,) = repository.records()
    assert (entry.name, entry.trust, entry.fault, entry.file_missing, entry.verified) == (
        name,
        Trust.SIGNED,
        "",
        False,
        True,
    )
    with repository.open(entry) as raw, decompressed(raw, kind) as stream:
        assert stream.read() == content


def test_manifest_file_is_indented_json(repository):
    factories.backup(repository, note="before the move – größer")
    with repository.storage.open(NAME + ".json", "rb") as file:
        text = file.read().decode()
    assert text.startswith('{\n  "format": 1,\n  "id": ')
    assert '  "note": "before the move – größer",\n' in text
    assert text.endswith("}\n")


def test_next_name_has_the_second_in_utc(repository):
    berlin = factories.NOON.astimezone(dt.timezone(HOUR))
    assert repository.next_name(Kind.SQL_GZIP, berlin) == NAME
    repository.store(NAME, iter([b"x"]))
    assert repository.next_name(Kind.CUSTOM, berlin) == "homerack_20261123_120000_2.dump"
    repository.store("homerack_20261123_120000_2.dump", iter([b"x"]))
    assert repository.next_name(Kind.SQL_GZIP, berlin) == "homerack_20261123_120000_3.sql.gz"


def test_next_name_avoids_the_name_of_a_partial_file(repository):
    repository.storage.save(NAME + ".partial", ContentFile(b"x"))
    assert repository.next_name(Kind.SQL_GZIP, factories.NOON) == "homerack_20261123_120000_2.sql.gz"


def test_records_are_sorted_by_age_with_damaged_ones_last(repository):
    names = [factories.backup(repository, taken_at=factories.NOON + HOUR * hours).name for hours in (0, 2, 1)]
    repository.storage.save("homerack_20300101_000000.sql.gz.json", ContentFile(b"{"))
    assert [entry.name for entry in repository.records()] == [
        names[1],
        names[2],
        names[0],
        "homerack_20300101_000000.sql.gz",
    ]


def test_records_ignore_other_files(repository):
    for name in (
        "findings_1.json",
        "other_20261123_120000.sql.gz.json",
        "homerack_1.sql.gz.json",
        NAME,
        NAME + ".JSON",
    ):
        repository.storage.save(name, ContentFile(b"{}"))
    assert repository.records() == []


def test_latest_is_the_newest_verified_backup(repository):
    good = factories.backup(repository)
    unproven = factories.backup(repository, taken_at=factories.NOON + HOUR, verifications=())
    failed = factories.backup(
        repository, taken_at=factories.NOON + HOUR * 2, verifications=(factories.COMPLETE, factories.FAILED)
    )
    factories.backup(repository, taken_at=factories.NOON + HOUR * 9)
    now = factories.NOON + HOUR * 3
    assert not unproven.verified
    assert repository.latest(now=now) == good
    assert repository.latest(now=now, verified=False) == failed
    with pytest.raises(PreconditionFailed, match=r"^There is no backup\.\n"):
        repository.latest(now=factories.NOON - HOUR, verified=False)


def test_get_finds_names_manifests_and_beginnings(repository):
    first = factories.backup(repository)
    second = factories.backup(repository)
    assert repository.get(first.name) == first
    assert repository.get(first.name + ".json") == first
    assert repository.get("homerack_20261123_120000_") == second
    with pytest.raises(PreconditionFailed) as caught:
        repository.get("homerack_2026")
    assert str(caught.value) == (
        f"'homerack_2026' is the beginning of {second.name}, {first.name}.\nGive one of these names in full."
    )


def test_get_of_an_unknown_name_suggests_similar_ones(repository):
    factories.backup(repository)
    with pytest.raises(PreconditionFailed) as caught:
        repository.get("homerack_20261123_120001.sql.gz")
    assert str(caught.value) == (
        f"There is no backup 'homerack_20261123_120001.sql.gz'.\nSimilar names: {NAME}. {LIST_THEM}"
    )
    for nothing in ("", ".json", "../../etc/passwd", "zzz"):
        with pytest.raises(PreconditionFailed, match=r"^There is no backup "):
            repository.get(nothing)


def test_get_of_an_ambiguous_name_lists_five(repository):
    for _ in range(7):
        factories.backup(repository)
    with pytest.raises(PreconditionFailed, match=r" and 2 more\.\n"):
        repository.get("homerack")


# --- What was done to the files ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "is not a JSON object: Input data was truncated."),
        (b'{"format": 1, "na', "is not a JSON object: Input data was truncated."),
        (b"\xff\xfe", "is not a JSON object: JSON is malformed: invalid character"),
        (b'{"a":' + b"[" * 200_000, "is not a JSON object: maximum recursion depth exceeded"),
        (b'{"size": NaN}', "is not a JSON object: JSON is malformed: invalid character"),
        (b'{"size": 1e999}', "is not a JSON object: Number out of range"),
        (b"[]", "is not a JSON object: Expected `object`, got `array`."),
    ],
)
def test_record_of_a_damaged_manifest_has_a_fault(repository, content, fault):
    factories.backup(repository)
    overwrite(repository, NAME + ".json", content)
    (entry,) = repository.records()
    assert (entry.name, entry.manifest, entry.verified) == (NAME, None, False)
    assert entry.fault.startswith(f"{NAME}.json {fault}")
    with pytest.raises(ArtifactInvalid) as caught:
        repository.open(entry)
    assert str(caught.value) == f"{NAME} has no readable manifest. {entry.fault}\n{LIST_THEM}"


def test_record_of_a_too_large_manifest_has_a_fault(repository, monkeypatch):
    factories.backup(repository)
    monkeypatch.setattr("ops.backups.storage.atomic_files.MAX_DOCUMENT", 100)
    assert repository.get(NAME).fault == f"{NAME}.json is larger than 100 bytes."


def test_record_of_a_newer_manifest_is_signed_and_has_a_fault(repository):
    factories.backup(repository)
    overwrite(repository, NAME + ".json", json.dumps(factories.KEYS.sign({"format": 2})).encode())
    entry = repository.get(NAME)
    assert (entry.manifest, entry.trust) == (None, Trust.SIGNED)
    assert entry.fault.startswith("The manifest has format 2")


def test_record_of_a_manifest_deleted_meanwhile_has_a_fault(repository):
    factories.backup(repository)
    files = repository.files.names()
    repository.storage.delete(NAME + ".json")
    assert repository.read_record(NAME, files).fault == "The file is gone."


def test_record_of_a_symbolic_link_has_a_fault(repository, tmp_path):
    (tmp_path / "elsewhere").write_text("{}")
    repository.storage.save(NAME, ContentFile(b"x"))
    Path(repository.storage.path(NAME + ".json")).symlink_to(tmp_path / "elsewhere")
    assert "symbolic link" in repository.get(NAME).fault


def test_record_of_a_copied_manifest_is_tampered(repository):
    factories.backup(repository)
    other = "homerack_20261124_120000.sql.gz"
    repository.storage.save(other, ContentFile(b"DROP"))
    repository.storage.save(other + ".json", ContentFile(json.dumps(document(repository, NAME + ".json")).encode()))
    entry = repository.get(other)
    assert (entry.manifest, entry.trust, entry.fault) == (None, Trust.TAMPERED, f"The manifest is that of {NAME}.")


def test_open_without_the_data_file_is_refused(repository):
    factories.backup(repository)
    repository.storage.delete(NAME)
    entry = repository.get(NAME)
    assert (entry.file_missing, entry.fault, entry.verified) == (True, "Its data file is missing.", False)
    with pytest.raises(ArtifactInvalid) as caught:
        repository.open(entry)
    assert str(caught.value) == f"{NAME} cannot be read. Its data file is missing.\n{LIST_THEM}"


def test_open_of_a_data_file_of_another_size_is_refused(repository):
    entry = factories.backup(repository)
    overwrite(repository, NAME, b"cut")
    entry = repository.get(NAME)
    assert entry.fault == f"Its data file has 3 bytes, and the manifest says {entry.manifest.size}."
    assert (entry.file_missing, entry.verified) == (False, False)


def test_open_of_a_damaged_data_file_raises_at_its_end(repository):
    entry = factories.backup(repository, kind=Kind.SQL, content=b"SELECT 1;\n")
    overwrite(repository, entry.name, b"SELECT 2;\n")
    with repository.open(entry) as raw:
        assert raw.read(10) == b"SELECT 2;\n"
        with pytest.raises(ArtifactInvalid) as caught:
            raw.read(1)
    assert str(caught.value) == (
        f"{entry.name} is not the file that its manifest describes: its SHA-256 differs.\n"
        "It was damaged or replaced. Choose another backup: manage.py list_backups"
    )


def test_open_of_another_gzip_file_raises_at_its_end(repository):
    entry = factories.backup(repository, content=b"SELECT 1;\n")
    other = factories.backup(repository, content=b"SELECT 2;\n")
    with repository.storage.open(other.name, "rb") as file:
        overwrite(repository, entry.name, file.read())
    with (
        repository.open(repository.get(entry.name)) as raw,
        pytest.raises(ArtifactInvalid, match="is not the file that its manifest describes"),
        decompressed(raw, Kind.SQL_GZIP) as stream,
    ):
        stream.read()


# --- Manifests change ----------------------------------------------------------------------------------------------


def test_change_writes_and_signs_pin_note_and_verification(repository):
    factories.backup(repository, note="old")
    proof = Verification(level=Level.RESTORED, verified_at=factories.NOON, duration=3)
    changed = repository.change(NAME, pinned=True, verification=proof)
    assert changed == repository.get(NAME)
    assert changed.trust is Trust.SIGNED
    assert (changed.manifest.pinned, changed.manifest.note, changed.manifest.verification) == (True, "old", proof)
    assert repository.change(NAME, pinned=False, note="new").manifest.note == "new"
    assert repository.get(NAME).manifest.verifications == (factories.COMPLETE, proof)
    assert repository.files.names() == {NAME, NAME + ".json"}


def test_change_signs_with_the_newest_key(repository):
    factories.backup(repository)
    rotated = BackupRepository(repository.storage, Keys(["new", "a secret of this installation"]), "homerack")
    rotated.change(NAME, pinned=True)
    assert Keys(["new"]).check(document(repository, NAME + ".json")) is Trust.SIGNED


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda signed: {**signed, "database": "other"}, "it was changed after it was signed"),
        (lambda signed: {key: signed[key] for key in signed if key != "signature"}, "it is not signed"),
        (lambda signed: Keys(["another"]).sign(signed), "it is signed with an unknown key"),
    ],
)
def test_change_of_a_manifest_that_is_not_signed_here_is_refused(repository, change, why):
    factories.backup(repository)
    content = json.dumps(change(document(repository, NAME + ".json"))).encode()
    overwrite(repository, NAME + ".json", content)
    with pytest.raises(ArtifactInvalid) as caught:
        repository.change(NAME, pinned=True)
    assert str(caught.value) == (
        f"The manifest of {NAME} was not changed: {why}.\n"
        "If the key was changed, add the old one to BACKUP_SIGNING_KEY_FALLBACKS."
    )
    with repository.storage.open(NAME + ".json", "rb") as file:
        assert file.read() == content


def test_change_with_an_invalid_note_is_refused(repository):
    before = factories.backup(repository)
    with pytest.raises(ArtifactInvalid, match="The manifest is not valid: Expected str matching regex"):
        repository.change(NAME, note="\ud800")
    assert repository.get(NAME) == before


# --- What goes wrong while files are written -----------------------------------------------------------------------


def test_store_of_a_failing_dump_leaves_nothing(repository):
    for blocks in ([], [os.urandom(9_000_000)]):
        with pytest.raises(RuntimeError, match="pg_dump was killed"):
            repository.store(NAME, factories.failing(*blocks, error=RuntimeError("pg_dump was killed")))
        assert repository.files.names() == set()


def test_store_that_is_interrupted_leaves_nothing(repository):
    with pytest.raises(KeyboardInterrupt):
        repository.store("homerack_20261123_120000.sql", factories.failing(b"x" * 3_000_000, error=KeyboardInterrupt()))
    assert repository.files.names() == set()


def test_store_under_an_existing_name_is_refused(repository):
    before = factories.backup(repository)
    with pytest.raises(PreconditionFailed, match=f"{NAME} exists already"):
        repository.store(NAME, iter([b"other"]))
    with pytest.raises(PreconditionFailed, match=rf"{NAME}\.json exists already"):
        repository.publish(before.manifest)
    assert repository.records() == [before]
    assert repository.files.names() == {NAME, NAME + ".json"}


def test_store_does_not_delete_a_file_created_meanwhile(repository, monkeypatch):
    before = factories.backup(repository)
    monkeypatch.setattr(repository.storage, "exists", lambda _name: False)
    with pytest.raises(PreconditionFailed, match="exists already"):
        repository.store(NAME, iter([b"other"]))
    assert repository.records() == [before]


def test_store_of_one_name_twice_at_once_is_refused(repository):
    """The second one starts while the first one writes, and does not delete its file."""

    def first():
        yield b"first"
        with pytest.raises(PreconditionFailed, match="another run is writing it"):
            repository.store(NAME, iter([b"second"]))

    stored = repository.store(NAME, first())
    assert stored.uncompressed_size == 5
    assert repository.files.names() == {NAME}


def test_names_that_are_no_backups_are_refused(repository):
    for name in ("../x.sql.gz", "other_20261123_120000.sql.gz", "homerack_20261123_120000.zip", "x", NAME + "\n"):
        for change in (
            lambda name=name: repository.store(name, iter([b"x"])),
            lambda name=name: repository.delete(name),
        ):
            with pytest.raises(PreconditionFailed) as caught:
                change()
            assert str(caught.value) == f"{name!r} is not the name of a backup here.\n{LIST_THEM}"


def test_publish_without_the_data_file_is_refused(repository):
    with pytest.raises(ArtifactInvalid) as caught:
        repository.publish(factories.manifest())
    assert str(caught.value) == f"{NAME} was not published. Its data file is missing."
    repository.store(NAME, iter([b"x"]))
    with pytest.raises(ArtifactInvalid, match=rf"^{NAME} was not published\. Its data file has \d+ bytes"):
        repository.publish(factories.manifest(size=1_000_000))
    assert repository.records() == []


def test_backup_with_any_failing_system_call_is_complete_or_absent(repository, monkeypatch):
    for number in range(1, 60):
        faulty = Faulty(number, lambda: (_ for _ in ()).throw(OSError(5, "Input/output error")))
        monkeypatch.setattr(storage_module, "os", faulty)
        with contextlib.suppress(PreconditionFailed):
            factories.backup(repository)
        monkeypatch.setattr(storage_module, "os", os)
        if not faulty.happened:
            break
        for entry in repository.records():
            assert entry.verified
            with repository.open(entry) as raw:
                raw.read()
        for file in repository.files.names():
            repository.storage.delete(file)
    assert number > 15


def test_delete_with_any_failing_system_call_can_be_repeated(repository, monkeypatch):
    for number in range(1, 20):
        factories.backup(repository)
        faulty = Faulty(number, lambda: (_ for _ in ()).throw(OSError(5, "Input/output error")))
        monkeypatch.setattr(storage_module, "os", faulty)
        try:
            repository.delete(NAME)
        except PreconditionFailed:
            monkeypatch.setattr(storage_module, "os", os)
            (entry,) = repository.records() or [None]
            assert entry or NAME not in repository.files.names()
            assert entry is None or entry.file_missing or entry.verified
            repository.delete(NAME)
        monkeypatch.setattr(storage_module, "os", os)
        assert repository.files.names() == set()
        if not faulty.happened:
            break
    assert number > 4


# --- Deleting and sweeping -----------------------------------------------------------------------------------------


def test_delete_removes_data_file_and_manifest(repository):
    factories.backup(repository)
    stays = factories.backup(repository)
    repository.delete(NAME)
    repository.delete(NAME)
    assert repository.records() == [stays]
    assert repository.files.names() == {stays.name, stays.name + ".json"}


def test_sweep_deletes_only_files_of_killed_runs(repository):
    whole = factories.backup(repository)
    left = "homerack_20261123_130000.sql.gz"
    under_way = "homerack_20261123_140000.sql.gz"
    strange = "other_20261123_130000.sql.gz"
    files = [left, left + ".partial", left + ".json.partial", whole.name + ".json.partial", under_way, strange]
    for name in [*files, under_way + ".partial"]:
        repository.storage.save(name, ContentFile(b"x"))
    assert sorted(repository.sweep([left, whole.name, strange, "../../etc/passwd", left])) == [
        f"Deleted {name}, which a killed run had left unfinished."
        for name in sorted([left, left + ".partial", left + ".json.partial", whole.name + ".json.partial"])
    ]
    assert repository.files.names() == {whole.name, whole.name + ".json", under_way, under_way + ".partial", strange}
    assert repository.sweep([left, whole.name]) == ()


# --- Space, history, names -----------------------------------------------------------------------------------------


RUN = "0e8dbb6c-8d5e-4f1c-9f5e-3a2f6f0f5b11"


def test_events_are_returned_in_order(repository):
    events = [
        {"when": "2026-11-23T13:00:00.000007+01:00", "run": RUN, "event": "ended", "error": ""},
        {"when": "2026-11-23T12:00:00+00:00", "run": RUN, "event": "started", "arguments": {"note": "größer"}},
    ]
    assert [repository.add_event(event) for event in events] == [
        f"20261123_120000_000007_{RUN}_ended.json",
        f"20261123_120000_000000_{RUN}_started.json",
    ]
    assert repository.events() == events[::-1]


def test_damaged_events_are_logged_and_skipped(repository, caplog):
    name = repository.add_event({"when": "2026-11-23T12:00:00+00:00", "run": RUN, "event": "started"})
    broken = name.replace("started", "ended")
    repository.storage.save(f"events/{broken}", ContentFile(b"{"))
    repository.storage.save("events/notes.txt", ContentFile(b"mine"))
    repository.storage.save(f"events/{name}.partial", ContentFile(b"{"))
    assert [event["event"] for event in repository.events()] == ["started"]
    assert [record.getMessage().partition(" Input")[0] for record in caplog.records] == [
        f"events/{broken} cannot be read. events/{broken} is not a JSON object:",
    ]


@pytest.mark.parametrize("event", [{"run": "../x"}, {"event": "A/b"}])
def test_event_with_an_invalid_name_is_refused(repository, event):
    with pytest.raises(ValueError, match="An event cannot be named"):
        repository.add_event({"when": "2026-11-23T12:00:00+00:00", "run": RUN, "event": "started", **event})


@pytest.mark.parametrize("prefix", ["", "a/b", "a.b", "größe", "a b"])
def test_prefix_with_special_characters_is_refused(tmp_path, prefix):
    with pytest.raises(PreconditionFailed) as caught:
        BackupRepository(PrivateFileSystemStorage(tmp_path), factories.KEYS, prefix)
    assert str(caught.value) == (
        f"Backups cannot be named {prefix!r}.\nOPS_BACKUP_PREFIX takes letters, digits, _ and -."
    )


# --- Settings ------------------------------------------------------------------------------------------------------


def test_repository_from_settings_has_backup_dir_and_the_other_locations(settings, tmp_path):
    settings.BACKUP_DIR = tmp_path
    settings.BACKUP_LOCATIONS = [{"name": "disk", "url": "/mnt/disk", "keep_weekly": 4}]
    settings.BACKUP_RETENTION_DAYS = 3
    made = context.repository_from_settings()
    assert (made.directory.location, made.prefix, list(made.others)) == (tmp_path, "homerack", ["disk"])
    assert made.others["disk"].policy == Policy(days=3, weekly=4)


def test_repository_in_another_directory_has_no_other_locations(settings, tmp_path):
    settings.BACKUP_LOCATIONS = [{"name": "disk", "url": "/mnt/disk"}]
    made = context.repository_from_settings(tmp_path / "usb")
    assert (made.directory.location, made.others) == (tmp_path / "usb", {})


def test_backups_signed_with_the_secret_key_are_still_trusted(settings):
    settings.BACKUP_SIGNING_KEY = ""
    before = keys_from_settings().sign({"a": 1})
    settings.BACKUP_SIGNING_KEY = "its own"
    keys = keys_from_settings()
    assert keys.check(before) is Trust.SIGNED
    assert Keys(["its own"]).check(keys.sign(before)) is Trust.SIGNED
    settings.SECRET_KEY_FALLBACKS, settings.SECRET_KEY = [settings.SECRET_KEY], "a newer one"
    assert keys_from_settings().check(before) is Trust.SIGNED


def test_policy_from_settings_has_their_values(settings):
    assert context.policy_from_settings() == Policy(days=7)
    settings.BACKUP_RETENTION_DAYS, settings.BACKUP_KEEP_WEEKLY = 3, 4
    assert context.policy_from_settings() == Policy(days=3, weekly=4)
    assert context.policy_from_settings(30) == Policy(days=30, weekly=4)
