"""``recover``: BACKUP_DIR and the database are gone; one storage location and the recovery kit bring all back."""

import json
import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from ops.backups.encryption import new_identity, recipient_of
from tests.engine_migration import support
from tests.operations.conftest import ROLES
from tests.operations.harness import Lab, Outcome, sqlite_first
from tests.support.bucket import KEYS, S3
from tests.support.sshd import Sshd

KIT, MACHINE, NEW_MACHINE = new_identity(), new_identity(), new_identity()
SIGNING_KEY, NEW_SIGNING_KEY = "the-signing-key-of-the-lost-machine", "the-signing-key-of-the-new-machine"
CHANGE = "UPDATE racks SET name = 'Changed'"


@dataclass
class Place:
    """A storage location `far`: its address, its variables on the lost machine, and what `recover` is given for it."""

    address: str
    variables: dict[str, str] = field(default_factory=dict)
    options: tuple[str, ...] = ()
    new_variables: dict[str, str] = field(default_factory=dict)


def directory(folder: Path) -> Place:
    return Place(str(folder / "disk"))


def sftp(sshd: Sshd) -> Place:
    return Place(
        f"sftp://{sshd.user}@127.0.0.1:{sshd.port}{sshd.files}/lab",
        {"HOST_KEY": sshd.host_key, "IDENTITY_FILE": str(sshd.identity_file)},
        ("--host-key", sshd.host_key, "--ssh-identity-file", str(sshd.identity_file)),
    )


def bucket(s3: S3, name: str) -> Place:
    secrets = {"ACCESS_KEY": KEYS["aws_access_key_id"], "SECRET_KEY": KEYS["aws_secret_access_key"]}
    return Place(
        f"s3://{name}/rack",
        {"ENDPOINT": s3.endpoint, "REGION": "us-east-1", **secrets},
        ("--endpoint", s3.endpoint, "--region", "us-east-1"),
        {"AWS_ACCESS_KEY_ID": secrets["ACCESS_KEY"], "AWS_SECRET_ACCESS_KEY": secrets["SECRET_KEY"]},
    )


@pytest.fixture(params=["sftp", pytest.param("s3", marks=pytest.mark.slow)])
def place(request: pytest.FixtureRequest) -> Place:
    if request.param == "sftp":
        return sftp(request.getfixturevalue("sshd"))
    s3 = request.getfixturevalue("s3")
    return bucket(s3, s3.make_bucket())


@dataclass
class Site:
    """A lab that copies its encrypted backups to `place`, until the machine is lost."""

    lab: Lab
    place: Place
    encrypted: bool = True

    @property
    def variables(self) -> dict[str, str]:
        named = {f"BACKUP_LOCATION_FAR_{name}": value for name, value in self.place.variables.items()}
        return {
            "BACKUP_LOCATIONS": "far",
            "BACKUP_LOCATION_FAR": self.place.address,
            "BACKUP_LOCATION_FAR_ENCRYPTED": str(self.encrypted),
            "BACKUP_AGE_IDENTITY": MACHINE,
            "BACKUP_AGE_RECIPIENTS": recipient_of(KIT),
            "BACKUP_SIGNING_KEY": SIGNING_KEY,
            **named,
        }

    def back_up(self) -> str:
        """Make a backup, which the command copies as well."""
        made = self.lab.run_json("backup_database", **self.variables)
        assert made["copies"]["locations"]["far"]["error"] == ""
        return str(made["backup"])

    def lose(self) -> None:
        """The machine is gone. The new one has an empty database, and nothing in BACKUP_DIR."""
        shutil.rmtree(self.lab.backups)
        if self.lab.database:
            support.server().rows(f'DROP DATABASE "{self.lab.name}" WITH (FORCE)')
            support.server().rows(f'CREATE DATABASE "{self.lab.name}" OWNER "{ROLES[self.lab.kind]}"')
        else:
            for path in self.lab.folder.glob("lab.db*"):
                if path.is_dir():
                    shutil.rmtree(path)
                else:
                    path.unlink()

    def kit(self, *, secret_key: str = KIT, signing_key: str = SIGNING_KEY) -> str:
        """A file as a person writes it from the paper."""
        file = self.lab.folder / "kit.txt"
        file.write_text(f"# The recovery kit\n{secret_key}\nBACKUP_SIGNING_KEY={signing_key}\n")
        return str(file)

    def new_machine(self) -> dict[str, str]:
        return {
            "BACKUP_AGE_IDENTITY": NEW_MACHINE,
            "BACKUP_SIGNING_KEY": NEW_SIGNING_KEY,
            "HOME": str(self.lab.folder),
            **self.place.new_variables,
        }

    def recover(self, *arguments: str, kit: str = "", **how: Any) -> Outcome:
        options = ["--from", self.place.address, *self.place.options, "--identity-file", kit or self.kit(), *arguments]
        return self.lab.manage("recover", *options, **self.new_machine(), **how)

    def recovered(self, *arguments: str, **how: Any) -> Outcome:
        outcome = self.recover("--yes", *arguments, **how)
        assert outcome.code == 0, outcome
        return outcome

    def is_untouched(self) -> bool:
        """Whether the new database is still empty."""
        if self.lab.database:
            return bool(
                self.lab.value("SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace") == 0
            )
        return not self.lab.file.exists() or self.lab.value("SELECT count(*) FROM sqlite_master") == 0


@pytest.fixture
def site(lab: Lab, tmp_path: Path) -> Site:
    return Site(lab, directory(tmp_path))


def files_in(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# --- Everything comes back ------------------------------------------------------------------------------------------
def test_recover_brings_back_rows_history_and_backups(lab: Lab, tmp_path: Path) -> None:
    brings_all_back(Site(lab, directory(tmp_path)))


@pytest.mark.slow
def test_recover_works_without_the_right_to_create_databases(make_lab: Callable[[str], Lab], tmp_path: Path) -> None:
    brings_all_back(Site(make_lab("schema"), directory(tmp_path)))


@sqlite_first
def test_recover_works_from_servers(lab: Lab, place: Place) -> None:
    brings_all_back(Site(lab, place))


def brings_all_back(site: Site) -> None:
    lab = site.lab
    older = site.back_up()
    lab.rows(CHANGE)
    before, newer = lab.content(), site.back_up()
    # Without the run that copied, which had not ended.
    runs = lab.runs()[:-1]
    site.lose()

    outcome = site.recovered("--json")

    assert outcome.json["backup"] == newer
    assert outcome.json["recovered_from"] == site.place.address
    assert "verything that was entered since" in outcome.error
    assert lab.content() == before
    assert lab.listed() == [newer, older]
    listed = lab.run_json("list_backups", **site.new_machine())["backups"]
    assert [(each["trust"], each["name"]) for each in listed] == [("signed", newer), ("signed", older)]
    assert lab.runs() == [*runs, ("restore", "succeeded")]
    assert lab.run_json("list_backups", **site.new_machine())["previous"] is None


@sqlite_first
def test_recover_closes_runs_of_the_lost_machine_and_brings_reports(site: Site) -> None:
    lab = site.lab
    site.back_up()
    lab.run("verify_backup", "--latest", "--restore", **site.variables)
    reports = files_in(lab.backups / "reports")
    under_way = lab.start("backup_database", stop_at="dump", **site.variables).until_stopped()
    lab.run("copy_backups", **site.variables)
    under_way.kill()
    site.lose()

    site.recovered()

    assert files_in(lab.backups / "reports") == reports != {}
    assert lab.rows("SELECT kind, error FROM ops_run WHERE status = 'interrupted'") == [
        ("backup", "Its end was not copied to the storage location before the machine was lost.")
    ]
    assert lab.rows("SELECT status FROM ops_run WHERE status = 'running'") == []


@sqlite_first
def test_recovered_machine_copies_to_the_location_again_for_the_same_kit(site: Site) -> None:
    """Its keys are new, but the kit's holder can open what it makes."""
    site.back_up()
    site.lose()
    site.recovered()
    variables = {**site.variables, **site.new_machine(), "BACKUP_AGE_RECIPIENTS": ""}
    site.lab.rows(CHANGE)
    before = site.lab.content()
    newest = str(site.lab.run_json("backup_database", **variables)["backup"])
    site.lose()

    outcome = site.recovered(kit=site.kit(signing_key=NEW_SIGNING_KEY))

    assert f"Recovered {newest}" in outcome.out
    assert site.lab.content() == before


@sqlite_first
def test_recover_writes_nothing_to_the_location(site: Site) -> None:
    site.back_up()
    site.lose()
    folder = Path(site.place.address)
    before = files_in(folder)

    site.recovered()

    assert files_in(folder) == before


@sqlite_first
def test_recover_from_a_plain_location_needs_no_secret_key(lab: Lab, tmp_path: Path) -> None:
    site = Site(lab, directory(tmp_path), encrypted=False)
    site.back_up()
    before = lab.content()
    site.lose()
    variables = site.new_machine() | {"BACKUP_SIGNING_KEY": SIGNING_KEY}

    lab.run("recover", "--from", site.place.address, "--yes", **variables)

    assert lab.content() == before


@sqlite_first
def test_recover_takes_a_configured_location_by_its_name(site: Site) -> None:
    site.back_up()
    site.lose()

    site.lab.run("recover", "--location", "far", "--yes", **site.variables)

    assert site.lab.runs()[-1] == ("restore", "succeeded")


# --- Which backup ---------------------------------------------------------------------------------------------------
@sqlite_first
def test_recover_falls_back_to_the_next_good_backup_and_says_so(site: Site) -> None:
    older = site.back_up()
    before = site.lab.content()
    site.lab.rows(CHANGE)
    newest = site.back_up()
    site.lose()
    file = Path(site.place.address, f"{newest}.age")
    content = bytearray(file.read_bytes())
    content[-100] ^= 1
    file.write_bytes(content)

    outcome = site.recovered()

    assert f"{newest} is damaged and was not used: {newest}.age cannot be decrypted" in outcome.out
    assert f"Recovered {older}" in outcome.out
    assert site.lab.content() == before


@sqlite_first
def test_forged_backup_with_a_date_in_the_future_never_wins(site: Site) -> None:
    """A thief has the machine with its keys, and signs what he wants. The location's clock shows when it came."""
    real = site.back_up()
    before = site.lab.content()
    site.lab.rows(CHANGE)
    forged = site.back_up()
    os.utime(Path(site.place.address, f"{forged}.age"), (0, 0))
    site.lose()

    outcome = site.recovered()

    assert "not used: it is dated in the future: the location got it on 1970-01-01" in outcome.out
    assert f"Recovered {real}" in outcome.out
    assert site.lab.content() == before


@sqlite_first
def test_recover_takes_the_backup_that_is_named(site: Site) -> None:
    older = site.back_up()
    before = site.lab.content()
    site.lab.rows(CHANGE)
    site.back_up()
    site.lose()

    site.recovered("--backup", older)

    assert site.lab.content() == before


@sqlite_first
def test_recover_lists_what_is_there_and_changes_nothing(site: Site) -> None:
    name = site.back_up()
    site.lose()

    outcome = site.recover("--list", "--json")

    assert [backup["name"] for backup in outcome.json["backups"]] == [name]
    assert outcome.json["encrypted"] is True
    assert site.is_untouched()
    assert not site.lab.backups.exists() or site.lab.files() == []


# --- Refused, and nothing is changed ----------------------------------------------------------------------------------
def refused(outcome: Outcome, site: Site, *messages: str, code: int = 1) -> None:
    assert outcome.code == code, outcome
    for message in messages:
        assert message in outcome.error
    assert site.is_untouched()
    assert not site.lab.backups.exists() or site.lab.files() == []


@sqlite_first
def test_wrong_secret_key_is_refused(site: Site) -> None:
    site.back_up()
    site.lose()

    outcome = site.recover("--yes", kit=site.kit(secret_key=new_identity()))

    refused(outcome, site, "The key that was given opens no backup in", "--identity-file FILE")


@sqlite_first
def test_mistyped_secret_key_is_refused_without_being_shown(site: Site) -> None:
    site.back_up()
    site.lose()

    outcome = site.recover("--yes", kit=site.kit(secret_key=KIT[:-1]))

    refused(outcome, site, "a character is wrong or missing")
    assert KIT[20:40] not in outcome.output


@sqlite_first
def test_wrong_signing_key_is_refused_and_rows_alone_can_be_recovered(site: Site) -> None:
    name = site.back_up()
    before = site.lab.project_content()
    site.lose()
    kit = site.kit(signing_key="another")

    refused(site.recover("--yes", kit=kit), site, "No key here has signed the backups", "BACKUP_SIGNING_KEY=…")
    refused(site.recover("--yes", "--backup", name, kit=kit), site, "its origin is unknown", "--untrusted", code=3)

    site.recovered("--backup", name, "--untrusted", kit=kit)
    assert {name: rows for name, (rows, _) in site.lab.project_content().items() if name == "racks"} == {
        "racks": before["racks"][0]
    }


@sqlite_first
def test_database_with_tables_is_refused(site: Site) -> None:
    site.back_up()
    before = site.lab.content()

    outcome = site.recover("--yes")

    assert outcome.code == 1
    assert "is not empty. Only an empty database is recovered. Nothing was changed." in outcome.error
    assert "restore_database" in outcome.error
    assert site.lab.content() == before


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_backup_of_the_other_kind_of_database_names_the_setting(
    make_lab: Callable[[str], Lab], tmp_path: Path, kind: str
) -> None:
    lost = Site(make_lab(kind), directory(tmp_path))
    lost.back_up()
    new = Site(make_lab("postgresql" if kind == "sqlite" else "sqlite"), lost.place)
    shutil.rmtree(new.lab.backups, ignore_errors=True)
    new.lab.backups.mkdir()
    new.lose()

    outcome = new.recover("--yes")

    address = "sqlite:///db.sqlite3" if kind == "sqlite" else "postgres://USER:PASSWORD@HOST:5432/NAME"
    refused(outcome, new, f"Set DATABASE_URL to {address}", code=3)


@sqlite_first
def test_unreachable_location_is_refused(site: Site) -> None:
    site.back_up()
    site.lose()
    site.place = Place("sftp://lab@127.0.0.1:1/lab", options=("--host-key", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA=="))

    outcome = site.recover("--yes")

    refused(outcome, site, "sftp://lab@127.0.0.1:1/lab")


@pytest.mark.slow
def test_backups_of_several_databases_need_a_choice(
    make_lab: Callable[[str], Lab], sqlite_lab: Lab, tmp_path: Path
) -> None:
    lab = sqlite_lab
    site, other = Site(lab, directory(tmp_path)), Site(make_lab("postgresql"), directory(tmp_path))
    site.back_up()
    before = lab.content()
    # The same installation, whose database was another one before.
    (other.lab.backups / "locations").mkdir(parents=True, mode=0o700)
    shutil.copy(lab.backups / "locations" / "local.json", other.lab.backups / "locations")
    other.back_up()
    site.lose()

    outcome = site.recover("--yes")
    refused(outcome, site, "has backups of several databases", "lab (SQLite)", f"{other.lab.name} (PostgreSQL)")

    site.recovered("--database", "lab")
    assert lab.content() == before


# --- A thief, in a bucket with versions -------------------------------------------------------------------------------
@pytest.mark.slow
@sqlite_first
@pytest.mark.parametrize("attack", ["delete", "overwrite"])
def test_recover_reads_earlier_versions_of_what_a_thief_deleted_or_overwrote(lab: Lab, s3: S3, attack: str) -> None:
    name = s3.make_bucket(versioned=True)
    site = Site(lab, bucket(s3, name))
    site.back_up()
    lab.rows(CHANGE)
    newest, before, runs = site.back_up(), lab.content(), lab.runs()[:-1]
    for item in s3.client.list_objects_v2(Bucket=name)["Contents"]:
        if attack == "delete":
            s3.client.delete_object(Bucket=name, Key=item["Key"])
        else:
            s3.client.put_object(Bucket=name, Key=item["Key"], Body=b"x" * item["Size"])
    site.lose()

    outcome = site.recovered()

    word = "deleted" if attack == "delete" else "overwritten"
    assert f"Note: it was {word} in the bucket; an earlier version is read." in outcome.out
    assert f"Recovered {newest}" in outcome.out
    assert lab.content() == before
    assert lab.runs() == [*runs, ("restore", "succeeded")]


# --- Killed, and with a person at the terminal ------------------------------------------------------------------------
@pytest.mark.slow
def test_recovery_that_is_killed_at_any_stage_is_started_again(site: Site) -> None:
    kill_and_start_again(site, "write history", "copy", "load", "compare", "migrate", "cut-over")


@sqlite_first
def test_killed_recovery_is_started_again(site: Site) -> None:
    kill_and_start_again(site, "copy", "cut-over")


def kill_and_start_again(site: Site, *stages: str) -> None:
    site.back_up()
    before = site.lab.content()
    site.lose()
    options = ["--from", site.place.address, "--identity-file", site.kit(), "--yes"]
    for stage in stages:
        command = site.lab.start("recover", *options, stop_at=stage, **site.new_machine()).until_stopped()
        command.kill(signal.SIGKILL)
        assert site.is_untouched(), stage

    site.recovered()

    assert site.lab.content() == before
    assert not [name for name in site.lab.files() if "partial" in name]
    assert [run for run in site.lab.runs() if run[0] == "restore"][-1] == ("restore", "succeeded")
    assert not [run for run in site.lab.runs() if run[1] == "running"]


@sqlite_first
def test_person_types_the_keys_and_confirms(site: Site) -> None:
    """The key as it is on paper: in groups, with small letters, and the first time with a mistake."""
    site.back_up()
    before = site.lab.content()
    site.lose()
    groups = " ".join(KIT.lower()[start : start + 8] for start in range(0, len(KIT), 8))
    answers = [
        ("Secret key of the recovery kit", KIT[:-2]),
        ("Secret key of the recovery kit", groups),
        ("Signing key", f"BACKUP_SIGNING_KEY={SIGNING_KEY}"),
        ("To recover it, type yes: ", "yes"),
    ]

    with site.lab.typing("recover", "--from", site.place.address, **site.new_machine()) as (command, keyboard):
        for number, (question, answer) in enumerate(answers):
            asked = sum(question == earlier for earlier, _ in answers[: number + 1])
            command.until(lambda q=question, n=asked: shown(command).count(q) >= n)
            os.write(keyboard, f"{answer}\n".encode())
        outcome = command.wait()

    assert outcome.code == 0, outcome
    assert "a character is wrong or missing" in outcome.out
    assert site.lab.content() == before
    for secret in (KIT[20:40], SIGNING_KEY):
        assert secret not in outcome.output
        assert secret not in json.dumps(site.lab.events())


@pytest.mark.slow
@sqlite_first
def test_person_types_the_keys_of_a_bucket(lab: Lab, s3: S3) -> None:
    site = Site(lab, bucket(s3, s3.make_bucket()))
    site.back_up()
    before = lab.content()
    site.lose()
    site.place.new_variables = {"AWS_EC2_METADATA_DISABLED": "true"}
    arguments = ["recover", "--from", site.place.address, *site.place.options, "--identity-file", site.kit(), "--yes"]

    with lab.typing(*arguments, **site.new_machine()) as (command, keyboard):
        for question, name in (("Access key", "aws_access_key_id"), ("Secret key", "aws_secret_access_key")):
            command.until(lambda q=question: q in shown(command))
            os.write(keyboard, f"{KEYS[name]}\n".encode())
        outcome = command.wait()

    assert outcome.code == 0, outcome
    assert lab.content() == before


def shown(command: Any) -> str:
    return str(command.out.read_text() + command.error.read_text())


@sqlite_first
def test_unknown_host_key_is_confirmed_by_a_person(lab: Lab, sshd: Sshd) -> None:
    site = Site(lab, sftp(sshd))
    site.back_up()
    before = lab.content()
    site.lose()
    options = ["--from", site.place.address, "--ssh-identity-file", str(sshd.identity_file)]
    refused(
        lab.manage("recover", *options, "--yes", "--identity-file", site.kit(), **site.new_machine()),
        site,
        "host key is not known",
        "--host-key",
    )

    arguments = ["recover", *options, "--yes", "--identity-file", site.kit()]
    with lab.typing(*arguments, **site.new_machine()) as (command, keyboard):
        command.until(lambda: "Is it the right one? Type yes: " in shown(command))
        assert sshd.host_key in shown(command)
        os.write(keyboard, b"yes\n")
        assert command.wait().code == 0

    assert lab.content() == before
