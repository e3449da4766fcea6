"""The commands of recovery kits: the key is shown once, and nowhere else."""

import json
import os
import pty
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ops.backups.encryption import AgeKeys, new_identity, recipient_of
from tests.operations.harness import Lab, Outcome
from tests.support.forked import ROOT

SIGNING_KEY = "signs-the-backups-of-this-lab-" * 2
OWN = {"BACKUP_SIGNING_KEY": SIGNING_KEY, "BACKUP_AGE_IDENTITY": new_identity()}
KEY = re.compile(r"AGE-SECRET-KEY-1[0-9A-Z]{58}")
LOCATIONS = {
    "BACKUP_LOCATIONS": "nas",
    "BACKUP_LOCATION_NAS": "sftp://backup@nas.lan/homerack",
    "BACKUP_LOCATION_NAS_HOST_KEY": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHsKLqeplhpW",
    "BACKUP_LOCATION_NAS_PASSWORD": "the-password-of-the-nas",
}


def create(lab: Lab, path: Path, **environment: str) -> str:
    """The page of a new kit."""
    lab.run("create_recovery_kit", "--output", str(path), **OWN, **environment)
    return path.read_text()


def kits_of(lab: Lab) -> list[dict[str, object]]:
    return list(json.loads((lab.backups / "recovery_kits.json").read_text())["recovery_kits"])


def everything_stored(lab: Lab) -> str:
    """All files of the installation, its database included."""
    return "".join(path.read_bytes().decode("latin-1") for path in lab.folder.rglob("*") if path.is_file())


def test_kit_is_a_private_file_and_its_key_is_nowhere_else(sqlite_lab: Lab, tmp_path: Path) -> None:
    path = tmp_path / "kit.html"
    outcome = sqlite_lab.run("create_recovery_kit", "--output", str(path), **OWN, **LOCATIONS)
    page = path.read_text()
    (key,) = set(KEY.findall(page))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    (kit,) = kits_of(sqlite_lab)
    assert kit["recipient"] == recipient_of(key)
    for part in (SIGNING_KEY, "sftp://backup@nas.lan/homerack", "BACKUP_LOCATION_NAS_PASSWORD=…", "age -d -i key.txt"):
        assert part in page
    assert "AAAAC3NzaC1lZDI1NTE5AAAAIHsKLqeplhpW" in page
    for secret in ("the-password-of-the-nas", OWN["BACKUP_AGE_IDENTITY"], os.environ["SECRET_KEY"]):
        assert secret not in page
    assert key not in outcome.output
    path.unlink()
    stored = everything_stored(sqlite_lab)
    assert recipient_of(key) in stored
    assert key not in stored
    assert key.encode().hex() not in stored
    assert SIGNING_KEY not in stored


def test_kit_has_the_command_that_recovers_from_its_first_location(sqlite_lab: Lab, tmp_path: Path) -> None:
    bucket = {
        "BACKUP_LOCATIONS": "cloud",
        "BACKUP_LOCATION_CLOUD": "s3://backups/lab",
        "BACKUP_LOCATION_CLOUD_ENDPOINT": "https://s3.example.net",
        "BACKUP_LOCATION_CLOUD_SECRET_KEY": "the-secret-of-the-bucket",
    }
    page = create(sqlite_lab, tmp_path / "kit.html", **bucket)
    command = "manage.py recover --from s3://backups/lab --endpoint https://s3.example.net"
    assert f"{command}\n" in page
    assert "the-secret-of-the-bucket" not in page
    known = sqlite_lab.run("recover", "--help").out
    assert [option for option in re.findall(r" (--[a-z-]+)", command) if option not in known] == []


def test_kit_is_recorded_as_a_run_with_its_public_key_only(sqlite_lab: Lab, tmp_path: Path) -> None:
    create(sqlite_lab, tmp_path / "kit.html")
    assert sqlite_lab.runs() == [("recovery_kit", "succeeded")]
    (kit,) = kits_of(sqlite_lab)
    assert {event["event"]: event["arguments"] for event in sqlite_lab.events()} == {
        "started": {"recipient": kit["recipient"]},
        "ended": {"recipient": kit["recipient"]},
    }


def test_new_backups_are_encrypted_to_the_machine_the_kit_and_other_persons(sqlite_lab: Lab, tmp_path: Path) -> None:
    person = recipient_of(new_identity())
    key = KEY.findall(create(sqlite_lab, tmp_path / "kit.html"))[0]
    code = "from ops.keys import age_keys_from_settings; print(*age_keys_from_settings().recipients)"
    found = sqlite_lab.run("shell", "--no-imports", "--command", code, **OWN, BACKUP_AGE_RECIPIENTS=person).out.split()
    assert found == [recipient_of(OWN["BACKUP_AGE_IDENTITY"]), recipient_of(key), person]


def test_kit_in_a_pipe_is_refused_unless_it_was_asked_for(sqlite_lab: Lab) -> None:
    refused = sqlite_lab.manage("create_recovery_kit", **OWN)
    assert refused.code == 1
    assert "The output is not a terminal, so the key might get into a log. No kit was made." in refused.error
    assert not (sqlite_lab.backups / "recovery_kits.json").exists()
    page = sqlite_lab.run("create_recovery_kit", "--output", "-", **OWN).out
    assert page.startswith("<!doctype html>")
    assert recipient_of(KEY.findall(page)[0]) == kits_of(sqlite_lab)[0]["recipient"]


def test_kit_in_a_terminal_is_text(sqlite_lab: Lab) -> None:
    controller, terminal = pty.openpty()
    try:
        subprocess.run(
            [sys.executable, "manage.py", "create_recovery_kit"],
            cwd=ROOT,
            env=sqlite_lab.environment | OWN | LOCATIONS,
            stdout=terminal,
            check=True,
        )
        text = os.read(controller, 65536).decode().replace("\r\n", "\n")
    finally:
        os.close(controller)
        os.close(terminal)
    assert recipient_of(KEY.findall(text)[0]) == kits_of(sqlite_lab)[0]["recipient"]
    assert f"BACKUP_SIGNING_KEY={SIGNING_KEY}\n" in text
    assert "BACKUP_LOCATION_NAS_PASSWORD=… (not printed)" in text
    assert "the-password-of-the-nas" not in text


@pytest.mark.parametrize("key", ["", "SECRET_KEY"])
def test_secret_key_is_never_printed(sqlite_lab: Lab, tmp_path: Path, key: str) -> None:
    path = tmp_path / "kit.html"
    changes = {"BACKUP_SIGNING_KEY": os.environ["SECRET_KEY"] if key else ""}
    refused = sqlite_lab.manage("create_recovery_kit", "--output", str(path), **OWN | changes)
    assert refused.code == 1
    assert "SECRET_KEY signs backups. It is in no recovery kit" in refused.error
    assert "Set BACKUP_SIGNING_KEY to a new secret" in refused.error
    assert not path.exists()
    assert sqlite_lab.runs() == []


def test_earlier_signing_keys_are_printed_without_the_secret_key(sqlite_lab: Lab, tmp_path: Path) -> None:
    earlier = f"an-earlier-signing-key {os.environ['SECRET_KEY']}"
    page = create(sqlite_lab, tmp_path / "kit.html", BACKUP_SIGNING_KEY_FALLBACKS=earlier)
    assert "<code>an-earlier-signing-key</code>" in page
    assert os.environ["SECRET_KEY"] not in page


def test_existing_file_and_backup_dir_are_refused_as_output(sqlite_lab: Lab, tmp_path: Path) -> None:
    existing = tmp_path / "kit.html"
    existing.write_text("mine")
    sqlite_lab.backups.mkdir(exist_ok=True)
    for path, reason in ((existing, "File exists"), (sqlite_lab.backups / "kit.html", "is in BACKUP_DIR")):
        refused = sqlite_lab.manage("create_recovery_kit", "--output", str(path), **OWN)
        assert refused.code == 1
        assert reason in refused.error
    assert existing.read_text() == "mine"
    assert not (sqlite_lab.backups / "kit.html").exists()
    assert not (sqlite_lab.backups / "recovery_kits.json").exists()


def test_failed_creation_leaves_no_page(sqlite_lab: Lab, tmp_path: Path) -> None:
    path = tmp_path / "kit.html"
    create(sqlite_lab, tmp_path / "first.html")
    (sqlite_lab.backups / "recovery_kits.json").write_text("{}")
    refused = sqlite_lab.manage("create_recovery_kit", "--output", str(path), **OWN)
    assert refused.code == 3
    assert "recovery_kits.json, the list of recovery kits, is not trusted: it is not signed." in refused.error
    assert not path.exists()


@pytest.fixture
def age() -> str:
    program = shutil.which("age")
    if not program:
        pytest.skip("apt-get install age")
    return program


def prove(lab: Lab, decrypt: Callable[[str], str]) -> Outcome:
    """The end of the command; `decrypt` makes what is typed of the challenge."""
    end = "-----END AGE ENCRYPTED FILE-----\n"
    keyboard, typing = os.pipe()
    with os.fdopen(typing, "w") as typed:
        command = lab.start_with(keyboard, ["prove_recovery_kit"], OWN)
        os.close(keyboard)
        command.until(lambda: end in command.out.read_text())
        text = command.out.read_text()
        typed.write(decrypt(text[text.index("-----BEGIN") : text.index(end)] + end))
    return command.wait()


def test_word_that_age_decrypts_proves_the_kit(sqlite_lab: Lab, tmp_path: Path, age: str) -> None:
    key = tmp_path / "key.txt"
    key.write_text(KEY.findall(create(sqlite_lab, tmp_path / "kit.html"))[0])

    def decrypt(text: str) -> str:
        command = [age, "-d", "-i", key]
        return subprocess.run(command, input=text, capture_output=True, text=True, check=True).stdout

    outcome = prove(sqlite_lab, decrypt)
    assert outcome.code == 0, outcome
    assert "is at hand. The next proof is due in half a year." in outcome.out
    (kit,) = kits_of(sqlite_lab)
    assert kit["proven_at"]
    assert kit["proven_by"] == kit["created_by"]
    assert sqlite_lab.runs()[-1] == ("kit_proof", "succeeded")


def test_wrong_words_prove_nothing(sqlite_lab: Lab, tmp_path: Path) -> None:
    create(sqlite_lab, tmp_path / "kit.html")
    for typed in ("abcd-efgh-jkmn\n\nx\n", ""):
        outcome = prove(sqlite_lab, lambda _challenge, typed=typed: typed)
        assert outcome.code == 5
        assert "The word was not typed. Nothing was recorded." in outcome.error
    assert kits_of(sqlite_lab)[0]["proven_at"] is None
    assert [kind for kind, _ in sqlite_lab.runs()] == ["recovery_kit"]


def test_kit_that_was_made_before_a_change_of_the_signing_key_is_named(sqlite_lab: Lab, tmp_path: Path) -> None:
    create(sqlite_lab, tmp_path / "kit.html")
    changed = OWN | {"BACKUP_SIGNING_KEY": "another-signing-key-" * 3, "BACKUP_SIGNING_KEY_FALLBACKS": SIGNING_KEY}
    (concern,) = sqlite_lab.run_json("list_recovery_kits", **changed)["concerns"]
    assert concern["code"] == "OldSigningKey"
    assert sqlite_lab.run_json("list_recovery_kits", **OWN)["concerns"] == []


def test_one_of_several_kits_must_be_named(sqlite_lab: Lab, tmp_path: Path) -> None:
    none = sqlite_lab.manage("prove_recovery_kit", **OWN)
    assert (none.code, "Make one: manage.py create_recovery_kit" in none.error) == (1, True)
    for name in ("one.html", "two.html"):
        create(sqlite_lab, tmp_path / name)
    names = [str(kit["recipient"])[-8:] for kit in kits_of(sqlite_lab)]
    refused = sqlite_lab.manage("prove_recovery_kit", **OWN)
    assert f"There are 2 recovery kits: {names[0]}, {names[1]}." in refused.error


def test_withdrawn_kit_is_listed_and_gets_no_new_backups(sqlite_lab: Lab, tmp_path: Path) -> None:
    create(sqlite_lab, tmp_path / "kit.html")
    name = str(kits_of(sqlite_lab)[0]["recipient"])[-8:]
    declined = sqlite_lab.manage("withdraw_recovery_kit", name, **OWN)
    assert declined.code == 5
    assert kits_of(sqlite_lab)[0]["withdrawn_at"] is None
    out = sqlite_lab.run("withdraw_recovery_kit", name, "--yes", **OWN).out
    assert "There is no other. Make a new one: manage.py create_recovery_kit" in out
    (listed,) = sqlite_lab.run_json("list_recovery_kits", **OWN)["recovery_kits"]
    assert listed["withdrawn_at"]
    again = sqlite_lab.manage("withdraw_recovery_kit", name, "--yes", **OWN)
    assert f"There is no recovery kit '{name}'." in again.error


def test_list_says_which_encrypted_backups_a_kit_opens_and_which_none_does(sqlite_lab: Lab, tmp_path: Path) -> None:
    lab, disk = sqlite_lab, tmp_path / "disk"
    location = {"BACKUP_LOCATIONS": "disk", "BACKUP_LOCATION_DISK": str(disk)}
    assert "There is no recovery kit. Make one" in lab.run("list_recovery_kits", **OWN).out
    missing = lab.run("list_recovery_kits", **OWN, **location).out
    assert "A storage location is encrypted, and there is no recovery kit: if" in missing
    key = KEY.findall(create(lab, tmp_path / "kit.html"))[0]
    disk.mkdir()
    name = lab.run_json("backup_database", **OWN, **location)["backup"]
    lab.run("copy_backups", **OWN, **location)
    lab.run("rebuild_backup_index", **OWN, **location)
    (listed,) = lab.run_json("list_recovery_kits", **OWN, **location)["recovery_kits"]
    assert listed["opens"] == [name]
    ciphertext = (disk / f"{name}.age").read_bytes()
    assert AgeKeys((key,), ()).decrypt(ciphertext, name).startswith(b"\x1f\x8b")
    lab.run("withdraw_recovery_kit", listed["recipient"], "--yes", **OWN)
    # The machine has lost its key as well.
    other = OWN | {"BACKUP_AGE_IDENTITY": new_identity()} | location
    listed = lab.run_json("list_recovery_kits", **other)
    assert [concern["code"] for concern in listed["concerns"]] == ["NoKnownKey", "NoRecoveryKit"]
    assert name in listed["concerns"][0]["text"]
    checked = lab.manage("check_database", "--json", **other).json["checks"]["backup_keys"]
    assert (checked["status"], checked["error"]) == ("degraded", "NoKnownKey")
