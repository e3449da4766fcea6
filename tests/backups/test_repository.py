"""The catalogue tells what there is, over any storage, whatever was done to the files."""

import contextlib
import datetime as dt
import json
import os
from pathlib import Path
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import FileSystemStorage, InMemoryStorage

from ops.backups import configuration
from ops.backups.compression import decompressed
from ops.backups.manifest import Kind, Level, Verification
from ops.backups.repository import BackupRepository
from ops.backups.retention import Policy
from ops.backups.signing import Keys, Trust
from ops.backups.storage import local as storage_module
from ops.backups.storage.local import PrivateFileSystemStorage
from ops.errors import ArtifactInvalid, PreconditionFailed
from tests.backups import factories
from tests.backups.fault_injection import Faulty

NAME = "homerack_20261123_120000.sql.gz"
LIST_THEM = "`manage.py list_backups` shows all of them."
HOUR = dt.timedelta(hours=1)


@pytest.fixture(params=["private directory", "memory", "plain directory that overwrites"])
def catalogue(request: pytest.FixtureRequest, tmp_path: Path) -> BackupRepository:
    storages = {
        "private directory": lambda: PrivateFileSystemStorage(tmp_path / "backups"),
        "memory": InMemoryStorage,
        "plain directory that overwrites": lambda: FileSystemStorage(tmp_path / "plain", allow_overwrite=True),
    }
    return BackupRepository(storages[request.param](), factories.KEYS, "homerack")


@pytest.fixture
def private(tmp_path: Path) -> BackupRepository:
    return BackupRepository(PrivateFileSystemStorage(tmp_path / "backups"), factories.KEYS, "homerack")


def overwrite(catalogue: BackupRepository, name: str, content: bytes) -> None:
    catalogue.storage.delete(name)
    catalogue.storage.save(name, ContentFile(content))


def document(catalogue: BackupRepository, name: str) -> dict[str, Any]:
    with catalogue.storage.open(name, "rb") as file:
        return json.loads(file.read())


# --- Backups are made and found ----------------------------------------------------------------------------------


def test_an_empty_place_has_no_backups(catalogue):
    assert catalogue.entries() == []
    assert catalogue.events() == []
    with pytest.raises(PreconditionFailed) as caught:
        catalogue.latest(now=factories.NOON)
    assert str(caught.value) == "There is no verified backup.\nMake one with `manage.py backup_database`."


@pytest.mark.parametrize("kind", Kind)
def test_a_backup_is_read_as_it_was_stored(catalogue, kind):
    content = b"CREATE TABLE rack ();\n" * 200_000
    name = catalogue.next_name(kind, factories.NOON)
    stored = catalogue.store(name, iter([content[:1000], content[1000:]]))
    assert stored.plain_size == len(content)
    assert stored.size == catalogue.storage.size(name)
    assert (stored.size < len(content)) == kind.compressed
    assert catalogue.entries() == []
    catalogue.publish(
        factories.manifest(name=name, kind=kind, size=stored.size, sha256=stored.sha256, plain_size=stored.plain_size),
    )
    (entry,) = catalogue.entries()
    assert (entry.name, entry.trust, entry.fault, entry.missing, entry.proven) == (name, Trust.SIGNED, "", False, True)
    with catalogue.open(entry) as raw, decompressed(raw, kind) as stream:
        assert stream.read() == content


def test_a_manifest_is_for_people_too(catalogue):
    factories.backup(catalogue, note="before the move – größer")
    with catalogue.storage.open(NAME + ".json", "rb") as file:
        text = file.read().decode()
    assert text.startswith('{\n  "format": 1,\n  "id": ')
    assert '  "note": "before the move – größer",\n' in text
    assert text.endswith("}\n")


def test_names_are_of_the_second_in_utc(catalogue):
    berlin = factories.NOON.astimezone(dt.timezone(HOUR))
    assert catalogue.next_name(Kind.SQL_GZIP, berlin) == NAME
    catalogue.store(NAME, iter([b"x"]))
    assert catalogue.next_name(Kind.CUSTOM, berlin) == "homerack_20261123_120000_2.dump"
    catalogue.store("homerack_20261123_120000_2.dump", iter([b"x"]))
    assert catalogue.next_name(Kind.SQL_GZIP, berlin) == "homerack_20261123_120000_3.sql.gz"


def test_a_partial_file_takes_its_name(private):
    private.storage.save(NAME + ".partial", ContentFile(b"x"))
    assert private.next_name(Kind.SQL_GZIP, factories.NOON) == "homerack_20261123_120000_2.sql.gz"


def test_the_newest_comes_first_and_what_can_not_be_read_last(catalogue):
    names = [factories.backup(catalogue, when=factories.NOON + HOUR * hours).name for hours in (0, 2, 1)]
    catalogue.storage.save("homerack_20300101_000000.sql.gz.json", ContentFile(b"{"))
    assert [entry.name for entry in catalogue.entries()] == [
        names[1],
        names[2],
        names[0],
        "homerack_20300101_000000.sql.gz",
    ]


def test_other_files_are_nobodys_business(catalogue):
    for name in (
        "findings_1.json",
        "other_20261123_120000.sql.gz.json",
        "homerack_1.sql.gz.json",
        NAME,
        NAME + ".JSON",
    ):
        catalogue.storage.save(name, ContentFile(b"{}"))
    assert catalogue.entries() == []


def test_the_latest(catalogue):
    good = factories.backup(catalogue)
    unproven = factories.backup(catalogue, when=factories.NOON + HOUR, proofs=())
    failed = factories.backup(catalogue, when=factories.NOON + HOUR * 2, proofs=(factories.COMPLETE, factories.FAILED))
    factories.backup(catalogue, when=factories.NOON + HOUR * 9)
    now = factories.NOON + HOUR * 3
    assert not unproven.verified
    assert catalogue.latest(now=now) == good
    assert catalogue.latest(now=now, proven=False) == failed
    with pytest.raises(PreconditionFailed, match=r"^There is no backup\.\n"):
        catalogue.latest(now=factories.NOON - HOUR, proven=False)


def test_a_backup_is_found_by_what_a_person_types(catalogue):
    first = factories.backup(catalogue)
    second = factories.backup(catalogue)
    assert catalogue.get(first.name) == first
    assert catalogue.get(first.name + ".json") == first
    assert catalogue.get("homerack_20261123_120000_") == second
    with pytest.raises(PreconditionFailed) as caught:
        catalogue.get("homerack_2026")
    assert str(caught.value) == (
        f"'homerack_2026' begins the names of {second.name}, {first.name}.\nName one of them in full."
    )


def test_a_name_that_is_none_gets_near_ones(catalogue):
    factories.backup(catalogue)
    with pytest.raises(PreconditionFailed) as caught:
        catalogue.get("homerack_20261123_120001.sql.gz")
    assert str(caught.value) == (
        f"There is no backup 'homerack_20261123_120001.sql.gz'.\nNear to it: {NAME}. {LIST_THEM}"
    )
    for nothing in ("", ".json", "../../etc/passwd", "zzz"):
        with pytest.raises(PreconditionFailed, match=r"^There is no backup "):
            catalogue.get(nothing)


def test_many_names_are_not_all_listed(catalogue):
    for _ in range(7):
        factories.backup(catalogue)
    with pytest.raises(PreconditionFailed, match=r" and 2 more\.\n"):
        catalogue.get("homerack")


# --- What was done to the files ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "is not JSON: Expecting value: line 1 column 1 (char 0)."),
        (b'{"format": 1, "na', "is not JSON: Unterminated string"),
        (b"\xff\xfe", "is not JSON: 'utf-8' codec can't decode"),
        (b"[" * 200_000, "is not JSON: maximum recursion depth exceeded"),
        (b'{"size": NaN}', "is not JSON: NaN is no number of JSON."),
        (b'{"size": 1e999}', "is not JSON: 1e999 is no number of JSON."),
        (b"[]", "is not a JSON object."),
    ],
)
def test_a_broken_manifest_is_an_entry_with_a_fault(catalogue, content, fault):
    factories.backup(catalogue)
    overwrite(catalogue, NAME + ".json", content)
    (entry,) = catalogue.entries()
    assert (entry.name, entry.manifest, entry.proven) == (NAME, None, False)
    assert entry.fault.startswith(f"{NAME}.json {fault}")
    with pytest.raises(ArtifactInvalid) as caught:
        catalogue.open(entry)
    assert str(caught.value) == f"{NAME} has no manifest that can be read. {entry.fault}\n{LIST_THEM}"


def test_a_manifest_larger_than_any_is_not_read(catalogue, monkeypatch):
    factories.backup(catalogue)
    monkeypatch.setattr("ops.backups.storage.atomic_files.LARGEST_DOCUMENT", 100)
    assert catalogue.get(NAME).fault == f"{NAME}.json is larger than 100 bytes."


def test_a_newer_manifest_is_signed_but_not_understood(catalogue):
    factories.backup(catalogue)
    overwrite(catalogue, NAME + ".json", json.dumps(factories.KEYS.sign({"format": 2})).encode())
    entry = catalogue.get(NAME)
    assert (entry.manifest, entry.trust) == (None, Trust.SIGNED)
    assert entry.fault.startswith("The manifest has format 2")


def test_a_manifest_that_vanishes_meanwhile_is_an_entry_with_a_fault(catalogue):
    factories.backup(catalogue)
    files = catalogue.files.names()
    catalogue.storage.delete(NAME + ".json")
    assert catalogue.entry(NAME, files).fault == "The file is gone."


def test_a_link_in_place_of_a_manifest_is_an_entry_with_a_fault(private, tmp_path):
    (tmp_path / "elsewhere").write_text("{}")
    private.storage.save(NAME, ContentFile(b"x"))
    Path(private.storage.path(NAME + ".json")).symlink_to(tmp_path / "elsewhere")
    assert "symbolic link" in private.get(NAME).fault


def test_a_signed_manifest_does_not_vouch_for_other_data(catalogue):
    factories.backup(catalogue)
    other = "homerack_20261124_120000.sql.gz"
    catalogue.storage.save(other, ContentFile(b"DROP"))
    catalogue.storage.save(other + ".json", ContentFile(json.dumps(document(catalogue, NAME + ".json")).encode()))
    entry = catalogue.get(other)
    assert (entry.manifest, entry.trust, entry.fault) == (None, Trust.TAMPERED, f"The manifest is that of {NAME}.")


def test_a_missing_data_file(catalogue):
    factories.backup(catalogue)
    catalogue.storage.delete(NAME)
    entry = catalogue.get(NAME)
    assert (entry.missing, entry.fault, entry.proven) == (True, "Its data file is missing.", False)
    with pytest.raises(ArtifactInvalid) as caught:
        catalogue.open(entry)
    assert str(caught.value) == f"{NAME} can not be read. Its data file is missing.\n{LIST_THEM}"


def test_a_data_file_of_another_size(catalogue):
    entry = factories.backup(catalogue)
    overwrite(catalogue, NAME, b"cut")
    entry = catalogue.get(NAME)
    assert entry.fault == f"Its data file has 3 bytes, and the manifest says {entry.manifest.size}."
    assert (entry.missing, entry.proven) == (False, False)


def test_a_data_file_of_other_content_is_refused_at_its_end(catalogue):
    entry = factories.backup(catalogue, kind=Kind.SQL, content=b"SELECT 1;\n")
    overwrite(catalogue, entry.name, b"SELECT 2;\n")
    with catalogue.open(entry) as raw:
        assert raw.read(10) == b"SELECT 2;\n"
        with pytest.raises(ArtifactInvalid) as caught:
            raw.read(1)
    assert str(caught.value) == (
        f"{entry.name} is not the file that its manifest tells of: its SHA-256 is different.\n"
        "It was damaged or replaced. Take another backup."
    )


def test_another_file_of_good_gzip_is_refused_at_its_end(catalogue):
    entry = factories.backup(catalogue, content=b"SELECT 1;\n")
    other = factories.backup(catalogue, content=b"SELECT 2;\n")
    with catalogue.storage.open(other.name, "rb") as file:
        overwrite(catalogue, entry.name, file.read())
    with (
        catalogue.open(catalogue.get(entry.name)) as raw,
        pytest.raises(ArtifactInvalid, match="is not the file that its manifest tells of"),
        decompressed(raw, Kind.SQL_GZIP) as stream,
    ):
        stream.read()


# --- Manifests change ----------------------------------------------------------------------------------------------


def test_keep_note_and_proofs_are_written_and_signed(catalogue):
    factories.backup(catalogue, note="old")
    proof = Verification(level=Level.RESTORED, when=factories.NOON, seconds=3)
    changed = catalogue.change(NAME, keep=True, proof=proof)
    assert changed == catalogue.get(NAME)
    assert changed.trust is Trust.SIGNED
    assert (changed.manifest.keep, changed.manifest.note, changed.manifest.proof) == (True, "old", proof)
    assert catalogue.change(NAME, keep=False, note="new").manifest.note == "new"
    assert catalogue.get(NAME).manifest.proofs == (factories.COMPLETE, proof)
    assert catalogue.files.names() == {NAME, NAME + ".json"}


def test_an_old_key_is_replaced_when_a_manifest_changes(catalogue):
    factories.backup(catalogue)
    rotated = BackupRepository(catalogue.storage, Keys(["new", "a secret of this installation"]), "homerack")
    rotated.change(NAME, keep=True)
    assert Keys(["new"]).check(document(catalogue, NAME + ".json")) is Trust.SIGNED


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda signed: {**signed, "database": "other"}, "it was changed after it had been signed"),
        (lambda signed: {key: signed[key] for key in signed if key != "signature"}, "it is not signed"),
        (lambda signed: Keys(["another"]).sign(signed), "it is signed with a key that is not known here"),
    ],
)
def test_what_is_not_ours_is_not_signed(catalogue, change, why):
    factories.backup(catalogue)
    content = json.dumps(change(document(catalogue, NAME + ".json"))).encode()
    overwrite(catalogue, NAME + ".json", content)
    with pytest.raises(ArtifactInvalid) as caught:
        catalogue.change(NAME, keep=True)
    assert str(caught.value) == (
        f"The manifest of {NAME} was not changed: {why}.\n"
        "If its key was replaced, name the old one in BACKUP_SIGNING_KEY_FALLBACKS."
    )
    with catalogue.storage.open(NAME + ".json", "rb") as file:
        assert file.read() == content


def test_a_note_that_could_not_be_read_back_is_not_written(catalogue):
    before = factories.backup(catalogue)
    with pytest.raises(ArtifactInvalid, match="note has characters that are no text"):
        catalogue.change(NAME, note="\ud800")
    assert catalogue.get(NAME) == before


# --- What goes wrong while files are written -----------------------------------------------------------------------


def test_a_dump_that_fails_leaves_nothing(catalogue):
    for blocks in ([], [os.urandom(9_000_000)]):
        with pytest.raises(RuntimeError, match="pg_dump was killed"):
            catalogue.store(NAME, factories.failing(*blocks, error=RuntimeError("pg_dump was killed")))
        assert catalogue.files.names() == set()


def test_an_interrupted_dump_leaves_nothing(catalogue):
    with pytest.raises(KeyboardInterrupt):
        catalogue.store("homerack_20261123_120000.sql", factories.failing(b"x" * 3_000_000, error=KeyboardInterrupt()))
    assert catalogue.files.names() == set()


def test_a_taken_name_is_refused_and_stays(catalogue):
    before = factories.backup(catalogue)
    with pytest.raises(PreconditionFailed, match=f"{NAME} exists already"):
        catalogue.store(NAME, iter([b"other"]))
    with pytest.raises(PreconditionFailed, match=rf"{NAME}\.json exists already"):
        catalogue.publish(before.manifest)
    assert catalogue.entries() == [before]
    assert catalogue.files.names() == {NAME, NAME + ".json"}


def test_a_name_that_is_taken_at_the_last_moment_is_refused_and_stays(monkeypatch):
    """Where the storage finds another name instead, what it saved there is taken back."""
    catalogue = BackupRepository(InMemoryStorage(), factories.KEYS, "homerack")
    before = factories.backup(catalogue)
    answers = iter([False, True])
    monkeypatch.setattr(catalogue.storage, "exists", lambda _name: next(answers, False))
    with pytest.raises(PreconditionFailed, match=f"^{NAME} exists already"):
        catalogue.store(NAME, iter([b"other"]))
    monkeypatch.undo()
    assert catalogue.entries() == [before]
    assert catalogue.files.names() == {NAME, NAME + ".json"}


def test_a_file_that_came_at_the_last_moment_is_not_deleted(private, monkeypatch):
    before = factories.backup(private)
    monkeypatch.setattr(private.storage, "exists", lambda _name: False)
    with pytest.raises(PreconditionFailed, match="exists already"):
        private.store(NAME, iter([b"other"]))
    assert private.entries() == [before]


def test_two_stores_of_one_name(private):
    """The second comes while the first writes, and does not throw away what that one makes."""

    def first():
        yield b"first"
        with pytest.raises(PreconditionFailed, match="another run is writing it"):
            private.store(NAME, iter([b"second"]))

    stored = private.store(NAME, first())
    assert stored.plain_size == 5
    assert private.files.names() == {NAME}


def test_only_names_of_backups_are_written_and_deleted(catalogue):
    for name in ("../x.sql.gz", "other_20261123_120000.sql.gz", "homerack_20261123_120000.zip", "x", NAME + "\n"):
        for ask in (lambda name=name: catalogue.store(name, iter([b"x"])), lambda name=name: catalogue.delete(name)):
            with pytest.raises(PreconditionFailed) as caught:
                ask()
            assert str(caught.value) == f"{name!r} is not the name of a backup here.\n{LIST_THEM}"


def test_nothing_is_published_without_its_data(catalogue):
    with pytest.raises(ArtifactInvalid) as caught:
        catalogue.publish(factories.manifest())
    assert str(caught.value) == f"{NAME} was not made a backup. Its data file is missing."
    catalogue.store(NAME, iter([b"x"]))
    with pytest.raises(ArtifactInvalid, match=rf"^{NAME} was not made a backup\. Its data file has \d+ bytes"):
        catalogue.publish(factories.manifest(size=1_000_000))
    assert catalogue.entries() == []


def test_whichever_call_fails_a_backup_is_whole_or_none(private, monkeypatch):
    for number in range(1, 60):
        faulty = Faulty(number, lambda: (_ for _ in ()).throw(OSError(5, "Input/output error")))
        monkeypatch.setattr(storage_module, "os", faulty)
        with contextlib.suppress(PreconditionFailed):
            factories.backup(private)
        monkeypatch.setattr(storage_module, "os", os)
        if not faulty.happened:
            break
        for entry in private.entries():
            assert entry.proven
            with private.open(entry) as raw:
                raw.read()
        for file in private.files.names():
            private.storage.delete(file)
    assert number > 15


def test_whichever_call_fails_a_deleted_backup_can_be_deleted_again(private, monkeypatch):
    for number in range(1, 20):
        factories.backup(private)
        faulty = Faulty(number, lambda: (_ for _ in ()).throw(OSError(5, "Input/output error")))
        monkeypatch.setattr(storage_module, "os", faulty)
        try:
            private.delete(NAME)
        except PreconditionFailed:
            monkeypatch.setattr(storage_module, "os", os)
            (entry,) = private.entries() or [None]
            assert entry or NAME not in private.files.names()
            assert entry is None or entry.missing or entry.proven
            private.delete(NAME)
        monkeypatch.setattr(storage_module, "os", os)
        assert private.files.names() == set()
        if not faulty.happened:
            break
    assert number > 4


def test_a_storage_that_never_overwrites_keeps_the_new_manifest_if_the_process_is_killed(monkeypatch):
    catalogue = BackupRepository(InMemoryStorage(), factories.KEYS, "homerack")
    factories.backup(catalogue)
    real = catalogue.storage.delete
    monkeypatch.setattr(
        catalogue.storage, "delete", lambda name: (real(name), (_ for _ in ()).throw(KeyboardInterrupt))
    )
    with pytest.raises(KeyboardInterrupt):
        catalogue.change(NAME, keep=True)
    (other,) = catalogue.files.names() - {NAME}
    assert document(catalogue, other)["keep"] is True


# --- Deleting and sweeping -----------------------------------------------------------------------------------------


def test_a_deleted_backup_is_gone(catalogue):
    factories.backup(catalogue)
    stays = factories.backup(catalogue)
    catalogue.delete(NAME)
    catalogue.delete(NAME)
    assert catalogue.entries() == [stays]
    assert catalogue.files.names() == {stays.name, stays.name + ".json"}


def test_sweeping_removes_what_killed_runs_left_and_nothing_else(catalogue):
    whole = factories.backup(catalogue)
    left = "homerack_20261123_130000.sql.gz"
    under_way = "homerack_20261123_140000.sql.gz"
    strange = "other_20261123_130000.sql.gz"
    files = [left, left + ".partial", left + ".json.partial", whole.name + ".json.partial", under_way, strange]
    for name in [*files, under_way + ".partial"]:
        catalogue.storage.save(name, ContentFile(b"x"))
    assert sorted(catalogue.sweep([left, whole.name, strange, "../../etc/passwd", left])) == [
        f"Removed {name}, which a run that was killed had left unfinished."
        for name in sorted([left, left + ".partial", left + ".json.partial", whole.name + ".json.partial"])
    ]
    assert catalogue.files.names() == {whole.name, whole.name + ".json", under_way, under_way + ".partial", strange}
    assert catalogue.sweep([left, whole.name]) == ()


# --- Space, history, names -----------------------------------------------------------------------------------------


def test_a_storage_that_knows_its_space_is_asked(private, monkeypatch):
    monkeypatch.setattr(PrivateFileSystemStorage, "free_bytes", lambda _storage: 2_500_000)
    private.require_space(2_500_000)
    with pytest.raises(PreconditionFailed) as caught:
        private.require_space(1_234_500_000)
    assert str(caught.value) == (
        "The backup may take 1,234.5 MB, and 2.5 MB are free where it would go.\n"
        "Free some space there, or set BACKUP_DIR to another disk."
    )
    monkeypatch.setattr(PrivateFileSystemStorage, "free_bytes", lambda _storage: None)
    private.require_space(2**60)


def test_a_storage_that_does_not_know_is_not_asked():
    BackupRepository(InMemoryStorage(), factories.KEYS, "homerack").require_space(2**60)


RUN = "0e8dbb6c-8d5e-4f1c-9f5e-3a2f6f0f5b11"


def test_events_come_back_in_their_order(catalogue):
    events = [
        {"when": "2026-11-23T13:00:00.000007+01:00", "run": RUN, "event": "ended", "error": ""},
        {"when": "2026-11-23T12:00:00+00:00", "run": RUN, "event": "started", "arguments": {"note": "größer"}},
    ]
    assert [catalogue.record(event) for event in events] == [
        f"20261123_120000_000007_{RUN}_ended.json",
        f"20261123_120000_000000_{RUN}_started.json",
    ]
    assert catalogue.events() == events[::-1]


def test_broken_events_are_logged_and_left_out(catalogue, caplog):
    name = catalogue.record({"when": "2026-11-23T12:00:00+00:00", "run": RUN, "event": "started"})
    broken = name.replace("started", "ended")
    catalogue.storage.save(f"events/{broken}", ContentFile(b"{"))
    catalogue.storage.save("events/notes.txt", ContentFile(b"mine"))
    catalogue.storage.save(f"events/{name}.partial", ContentFile(b"{"))
    assert [event["event"] for event in catalogue.events()] == ["started"]
    assert [record.getMessage().partition(" Exp")[0] for record in caplog.records] == [
        f"events/{broken} can not be read. events/{broken} is not JSON:",
    ]


@pytest.mark.parametrize("event", [{"run": "../x"}, {"event": "A/b"}])
def test_an_event_does_not_choose_where_it_goes(catalogue, event):
    with pytest.raises(ValueError, match="An event can not be named"):
        catalogue.record({"when": "2026-11-23T12:00:00+00:00", "run": RUN, "event": "started", **event})


@pytest.mark.parametrize("prefix", ["", "a/b", "a.b", "größe", "a b"])
def test_a_prefix_is_a_plain_word(prefix):
    with pytest.raises(PreconditionFailed) as caught:
        BackupRepository(InMemoryStorage(), factories.KEYS, prefix)
    assert str(caught.value) == (
        f"Backups can not be named {prefix!r}.\nOPS_BACKUP_PREFIX takes letters, digits, _ and -."
    )


# --- Settings ------------------------------------------------------------------------------------------------------


def test_the_catalogue_of_the_settings(settings, tmp_path):
    settings.STORAGES = {
        **settings.STORAGES,
        "backups": {
            "BACKEND": "ops.backups.storage.local.PrivateFileSystemStorage",
            "OPTIONS": {"location": str(tmp_path)},
        },
    }
    made = configuration.catalogue_from_settings()
    assert (made.storage.location, made.prefix) == (tmp_path, "homerack")
    elsewhere = configuration.catalogue_from_settings(tmp_path / "usb")
    assert elsewhere.storage.location == tmp_path / "usb"


def test_a_project_that_does_not_say_where_backups_go(settings):
    settings.STORAGES = {name: value for name, value in settings.STORAGES.items() if name != "backups"}
    with pytest.raises(PreconditionFailed, match=r"^Where backups go is not set up: .*\nSet STORAGES\[\"backups\"\]"):
        configuration.catalogue_from_settings()


def test_backups_of_before_the_signing_key_are_still_ours(settings):
    settings.BACKUP_SIGNING_KEY = ""
    before = configuration.keys_from_settings().sign({"a": 1})
    settings.BACKUP_SIGNING_KEY = "its own"
    keys = configuration.keys_from_settings()
    assert keys.check(before) is Trust.SIGNED
    assert Keys(["its own"]).check(keys.sign(before)) is Trust.SIGNED
    settings.SECRET_KEY_FALLBACKS, settings.SECRET_KEY = [settings.SECRET_KEY], "a newer one"
    assert configuration.keys_from_settings().check(before) is Trust.SIGNED


def test_the_policy_of_the_settings(settings):
    assert configuration.policy_from_settings() == Policy(days=7)
    settings.BACKUP_RETENTION_DAYS, settings.BACKUP_KEEP_WEEKLY = 3, 4
    assert configuration.policy_from_settings() == Policy(days=3, weekly=4)
    assert configuration.policy_from_settings(30) == Policy(days=30, weekly=4)
